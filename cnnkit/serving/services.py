"""What the handlers of requests share."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from cnnkit.serving.batching.batcher import Batcher
from cnnkit.serving.http.body import decompressed, encoding_of
from cnnkit.serving.http.errors import CLOSE, busy
from cnnkit.serving.http.inflight import InFlight
from cnnkit.serving.http.request import Request
from cnnkit.serving.metrics import Metrics
from cnnkit.serving.repository import Repository
from cnnkit.serving.settings import Settings

T = TypeVar("T")

LARGE_BODY = 2**16
"""Bytes: more is decoded outside the event loop; for less, the way there would cost more."""


@dataclass(frozen=True)
class Services:
    """What the handlers of requests share.

    Attributes:
        settings: of the server.
        repository: of the models.
        metrics: of this process.
        inflight: all connections.
    """

    settings: Settings
    repository: Repository
    metrics: Metrics
    inflight: InFlight

    @property
    def ready(self) -> bool:
        """Whether a load balancer should send requests here."""
        return bool(self.repository.batchers) and not self.inflight.draining

    def batcher(self, request: Request) -> Batcher:
        """Return the batcher of the model that a request is for, or raise HttpError 404."""
        name, version = (*request.params, "")[:2]
        batcher = self.repository.batcher(name)
        request.model = name
        batcher.require_version(version)
        return batcher

    def measure(self) -> None:
        """Bring the gauges up to date."""
        for name, batcher in self.repository.batchers.items():
            self.metrics.queue(name, batcher.in_flight)

    async def call(self, function: Callable[..., T], *arguments: object, beside: bool = True) -> T:
        """Call a function, beside the event loop or on it."""
        if not beside:
            return function(*arguments)
        return await asyncio.get_running_loop().run_in_executor(self.repository.decoders.threads, function, *arguments)

    async def content(self, request: Request) -> bytes:
        """Return the body of a request, decompressed, or raise HttpError."""
        body, encoding = request.body, encoding_of(request)
        if not encoding:
            return bytes(body)
        # However small the body is, its content may take a while.
        content = await self.call(decompressed, body, encoding, request.limit)
        if not self.inflight.hold(request, len(content)):
            raise busy("memory", "The server holds as many bytes of requests as it can. Try again.", CLOSE)
        return content

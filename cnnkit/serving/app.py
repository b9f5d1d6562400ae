"""The application: decides by a request's head, has a handler answer it, and takes note of both."""

import asyncio
import logging
import re
import secrets
from collections.abc import Collection, Coroutine, Sequence
from itertools import count
from time import perf_counter
from typing import Any

from cnnkit.errors import without_frames
from cnnkit.serving import routes
from cnnkit.serving.http import access
from cnnkit.serving.http.body import encoding_of
from cnnkit.serving.http.errors import Headers, HttpError, error_of, too_large
from cnnkit.serving.http.inflight import InFlight
from cnnkit.serving.http.listener import TICK_SECONDS
from cnnkit.serving.http.request import Request
from cnnkit.serving.http.response import Response, error_response
from cnnkit.serving.metrics import Metrics
from cnnkit.serving.repository import Repository
from cnnkit.serving.services import Services
from cnnkit.serving.settings import ModelSource, Settings
from cnnkit.words import counted

_log = logging.getLogger("cnnkit.serving")
_REQUEST_ID = re.compile(rb"[!-~]{1,128}")
_LOGGED_EVERY = 1.0
"""Seconds between two lines that say how many requests were refused."""


class App:
    """Serves models over HTTP.

    Attributes:
        repository: of the models.
        metrics: of this process.
        inflight: all connections.
    """

    def __init__(self, sources: Sequence[ModelSource], settings: Settings, address: str) -> None:
        """Serve sources on an address."""
        self.metrics = Metrics()
        self.repository = Repository(sources, settings, self.metrics)
        self.inflight = InFlight(settings.max_body)
        self._services = Services(settings, self.repository, self.metrics, self.inflight)
        self._settings = settings
        self._loopback = access.is_loopback(address)
        self._keys = access.digests(settings.api_keys)
        # Cheaper than a random number for each request, and as hard to mistake.
        self._prefix, self._numbers = secrets.token_hex(4), count(1)
        self._refusals = 0

    def open(self) -> None:
        """Open the models, or raise CnnkitError; `start` comes after that."""
        self.repository.open()

    def start(self) -> "list[asyncio.Task[None]]":
        """Put the models behind their queues, and return what is to be done all the time, on the event loop."""
        self.repository.serve()
        chores: list[Coroutine[Any, Any, None]] = [self._measure(), self.repository.watch()]
        return [asyncio.get_running_loop().create_task(chore) for chore in chores]

    def close(self) -> None:
        """Let all threads end."""
        self.repository.close()

    def accept(self, request: Request) -> Response | None:
        """Decide by the head: return a response that needs no body, or set the limit of the body and return None."""
        try:
            return self._accept(request)
        except Exception as error:
            return self.failed(request, error)

    def _accept(self, request: Request) -> Response | None:
        self._id(request)
        request.parse_target()
        access.require_host(request, loopback=self._loopback)
        methods = routes.find(request)
        if request.method == "OPTIONS":
            return access.preflight(request, self._settings.cors, _allowed(methods))
        route = methods.get("GET" if request.method == "HEAD" else request.method)
        if route is None:
            message = f"{request.path[:80]} takes {' or '.join(methods)}; got {request.method[:20]}."
            raise HttpError(405, "method", message, ((b"allow", _allowed(methods)),))
        if not route.open:
            access.require_key(request, self._keys)
        request.route = route
        request.limit = self._settings.max_body if route.limit is None else min(route.limit, self._settings.max_body)
        request.patience = self._settings.answer_seconds
        if route.accept is not None:
            route.accept(self._services, request)
        if int(request.headers.get(b"content-length", b"0")) > request.limit:
            raise too_large(request.limit)
        encoding_of(request)
        return None

    async def answer(self, request: Request) -> Response:
        """Answer a complete request, errors included."""
        try:
            response: Response = await request.route.handler(self._services, request)
        except Exception as error:
            response = self.failed(request, error)
            without_frames(error)  # which hold the request, which holds it
        return response

    def failed(self, request: Request, error: Exception) -> Response:
        """Return the response to a request that ended in an error."""
        found = error_of(error)
        if found.code == "internal":
            extra = {"event": "bug", "request_id": self._id(request), "path": request.path}
            _log.error("internal error", exc_info=error, extra=extra)
        if found.status == 503 and request.model:
            self.metrics.refused(request.model, found.code)
            self._refusals += 1
        return error_response(found, self._id(request), flat=request.is_below("v2"))

    def headers(self, request: Request) -> Headers:
        """Return the headers that a response has because of its request."""
        own: Headers = ((b"x-request-id", self._id(request).encode()),)
        if self._settings.cors and not request.is_below("admin"):
            own += access.cors_headers(request, self._settings.cors)
        return own

    def _id(self, request: Request) -> str:
        if not request.id:
            given = request.headers.get(b"x-request-id", b"")
            known = _REQUEST_ID.fullmatch(given)
            request.id = given.decode() if known else f"{self._prefix}-{next(self._numbers):x}"
        return request.id

    def answered(self, request: Request, response: Response, seconds: float) -> None:
        """Take note of a response that was sent."""
        endpoint = request.route.endpoint if request.route is not None else "other"
        model = request.model
        self.metrics.answered(endpoint, model, response.status, seconds)
        refused = response.status == 503 and model
        if model and endpoint != "other":
            timings = request.timings if response.status < 400 else None
            self.repository.batchers[model].statistics.request(seconds, timings)
        # A line for each refusal would make an overload worse.
        if self._settings.access_log or (response.status >= 400 and not refused):
            self._log_request(request, response, seconds)

    def _log_request(self, request: Request, response: Response, seconds: float) -> None:
        extra = {
            **({"event": "request"} if request.target else {"event": "refused-connection"}),
            "request_id": request.id,
            "status": response.status,
            **({"code": response.code} if response.code else {}),
            "ms": round(seconds * 1000, 2),
            "client": request.client,
        }
        level = logging.WARNING if response.status >= 400 else logging.INFO
        _log.log(level, "%s %s", request.method or "no request", request.path, extra=extra)

    async def _measure(self) -> None:
        """Say now and then what only changes with every request: lengths of queues, refusals."""
        said = perf_counter()
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self._services.measure()
            if self._refusals and perf_counter() - said >= _LOGGED_EVERY:
                _log.warning("refused %s", counted(self._refusals, "request"), extra={"event": "refused"})
                self._refusals, said = 0, perf_counter()


def _allowed(methods: Collection[str]) -> bytes:
    """Return the methods of a path, as the header `Allow` has them."""
    return ", ".join([*methods, *(["HEAD"] if "GET" in methods else []), "OPTIONS"]).encode()

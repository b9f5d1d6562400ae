"""How a server runs."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cnnkit.runtime.foreign.options import ForeignOptions

FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
"""Of the images that are taken: those that a browser or a camera sends."""


@dataclass(frozen=True)
class ModelSource:
    """A model to serve.

    Attributes:
        name: in the URLs.
        ref: as the user wrote it.
        path: the ONNX file, watched for changes; None for a zoo entry.
        options: how to use a file without a card.
    """

    name: str
    ref: str
    path: Path | None = None
    options: ForeignOptions = field(default_factory=ForeignOptions)


@dataclass(frozen=True)
class Settings:
    """How a server runs; the defaults are those of the command line.

    Attributes:
        host: address to listen on.
        port: 0 for a free one.
        workers: processes behind the port.
        device: as in `cnnkit.runtime.session.open_session`.
        threads: of a session on the CPU inside one operator; None for what suits the network and the machine.
        max_batch: images that go through a network together.
        max_delay_ms: how long the first image of a batch waits for others, in milliseconds.
        queue_size: requests for one model that may be unanswered at a time; those beyond it are refused.
        receive_seconds: within which the headers, and then the body, of a request must be received.
        answer_seconds: within which a request that was received must be answered.
        max_body: bytes of a request's body, compressed or not.
        max_pixels: of an image.
        drain_seconds: for the requests that are there when the server is told to stop.
        watch: load a model file again when it changes.
        cors: origins of web pages that may read the responses, such as `https://example.org`; `*` for all.
        api_keys: one of them is required of every request but those for health and for the page; empty for none.
        admin: offer `POST /admin/reload` to clients on this machine.
        access_log: a line for each request, not only for those that fail.
        log_format: of the lines on standard error.
        shared: folder where several workers leave what all of them should know.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    device: str = "auto"
    threads: int | None = None
    max_batch: int = 32
    max_delay_ms: float = 0.0
    queue_size: int = 256
    receive_seconds: float = 10.0
    answer_seconds: float = 30.0
    max_body: int = 16 * 2**20
    max_pixels: int = 50_000_000
    drain_seconds: float = 30.0
    watch: bool = True
    cors: tuple[str, ...] = ()
    api_keys: tuple[str, ...] = field(default=(), repr=False)
    admin: bool = False
    access_log: bool = False
    log_format: Literal["text", "json"] = "text"
    shared: Path | None = None

"""How a server runs."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from cnnkit.arguments import Device
from cnnkit.options import Option
from cnnkit.runtime.foreign.options import ForeignOptions

LISTENING, BATCHING, LIMITS, ACCESS, RUNNING = "Listening", "Batching", "Limits", "Access", "Reloading and log"
"""Panels of the help."""

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

    host: Annotated[str, Option("Address to listen on; 0.0.0.0 takes requests from the network.", LISTENING)] = (
        "127.0.0.1"
    )
    port: Annotated[int, Option("Port to listen on; 0 takes a free one.", LISTENING, ge=0, le=65535)] = 8000
    workers: Annotated[int, Option("Processes that share the port.", LISTENING, ge=1, le=256)] = 1
    device: Device = "auto"
    max_batch: Annotated[int, Option("Most images of a batch, and of one /v2 request.", BATCHING, ge=1, le=4096)] = 32
    max_delay_ms: Annotated[
        float, Option("Milliseconds that the first image of a batch waits for others.", BATCHING, ge=0, le=10_000)
    ] = 0.0
    threads: Annotated[
        int | None,
        Option("Threads of a network on the CPU. Default: what suits it and the machine.", BATCHING, ge=1, le=1024),
    ] = None
    queue_size: Annotated[
        int, Option("Most unanswered requests for a model; more are refused.", LIMITS, ge=1, le=100_000)
    ] = 256
    receive_seconds: Annotated[
        float, Option("Time for a request's headers to come, and again for its body.", LIMITS, ge=0.1, le=3600)
    ] = 10.0
    answer_seconds: Annotated[float, Option("Time for an answer to be ready.", LIMITS, ge=0.1, le=3600)] = 30.0
    max_body: int = 16 * 2**20
    max_pixels: Annotated[int, Option("Most pixels of an image.", LIMITS, ge=1, le=500_000_000)] = 50_000_000
    drain_seconds: Annotated[
        float, Option("Time to answer what was accepted, once SIGTERM comes.", LIMITS, ge=0, le=3600)
    ] = 30.0
    cors: Annotated[
        tuple[str, ...],
        Option(
            "Origin of web pages that may use the server, such as https://example.org. Repeatable.",
            ACCESS,
            repeated=True,
        ),
    ] = ()
    api_keys: tuple[str, ...] = field(default=(), repr=False)
    watch: Annotated[bool, Option("Load a model file again when it changes.", RUNNING)] = True
    admin: Annotated[bool, Option("Offer POST /admin/reload to this machine.", RUNNING)] = False
    access_log: Annotated[bool, Option("Log each request in a line.", RUNNING)] = False
    log_format: Annotated[Literal["text", "json"], Option("Form of the log on standard error.", RUNNING)] = "text"
    shared: Path | None = None

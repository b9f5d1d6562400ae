"""A request: its head as parsed, and its body once all of it is there."""

from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import httptools

from cnnkit.serving.http.errors import HttpError

if TYPE_CHECKING:
    from cnnkit.serving.http.response import Response


@dataclass(slots=True, eq=False)
class Request:
    """A request.

    Attributes:
        method: such as `POST`.
        target: as it stands in the request line.
        headers: by lower-case name; fields of one name are joined by commas, as RFC 9110 has it.
        client: the address that connected.
        version: of HTTP, `1.0` or `1.1`.
        keep_alive: the client may send another request on the connection.
        segments: of the path, decoded; none of `OPTIONS *`.
        query: after the question mark, as sent.
        authority: the host and port that the request is for.
        id: for the log, and sent back.
        route: of the application, once it is known.
        params: the parts of the path that the route leaves open.
        model: that it is for, where there is one of that name.
        timings: of the stages of its answer.
        limit: of the body in bytes.
        body: once `complete`.
        complete: all of the body was received.
        response: decided before the body was received.
        held: bytes of its body that are counted.
        arrived: when its head was there, by `perf_counter`.
        received: when all of it was there.
        patience: seconds from then on for its answer.
    """

    method: str
    target: bytes
    headers: dict[bytes, bytes]
    client: str
    version: str
    keep_alive: bool
    segments: tuple[str, ...] = ()
    query: bytes = b""
    authority: bytes = b""
    id: str = ""
    route: Any = None
    params: tuple[str, ...] = ()
    model: str = ""
    timings: Any = None
    limit: int = 0
    body: bytes | bytearray = b""
    complete: bool = False
    response: "Response | None" = None
    held: int = 0
    arrived: float = field(default_factory=perf_counter)
    received: float = 0.0
    patience: float = float("inf")

    @property
    def path(self) -> str:
        """The path for the log and for messages, where it must not make lines of its own."""
        return str(self.target.partition(b"?")[0][:200], "latin-1")

    @property
    def media_type(self) -> bytes:
        """Of the body, without its parameters."""
        return self.headers.get(b"content-type", b"").partition(b";")[0].strip().lower()

    def is_below(self, first: str) -> bool:
        """Whether the path begins with a segment."""
        return self.segments[:1] == (first,)

    def parse_target(self) -> None:
        """Take the target apart, or raise HttpError 400; this is the only place that does."""
        target = self.target
        self.authority = self.headers.get(b"host", b"")
        if target == b"*" and self.method == "OPTIONS":
            return  # asks what the server takes at any path (RFC 9110, section 9.3.7)
        if not target.startswith(b"/"):
            if not target.lower().startswith((b"http://", b"https://")):
                raise HttpError(400, "http", "the request target must be a path or an http URI.")
            try:
                url = httptools.parse_url(target)
            except httptools.HttpParserInvalidURLError:
                raise HttpError(400, "http", "the request target is no valid http URI.") from None
            # Of the absolute form, RFC 9112 has the server ignore Host.
            self.authority = target.split(b"/", 3)[2].partition(b"?")[0]
            target = (url.path or b"/") + (b"?" + url.query if url.query else b"")
        path, _, query = target.partition(b"#")[0].partition(b"?")
        self.query = query
        self.segments = tuple(str(path[1:], "latin-1").split("/"))
        if b"%" in path:
            # Each by itself, so that an encoded slash is part of a name.
            self.segments = tuple(unquote(segment) for segment in self.segments)

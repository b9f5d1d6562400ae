"""The server's HTTP connections: uvicorn's, with limits to what comes before a request reaches the application.

uvicorn itself waits for ever for the rest of a request's headers, and lets them be of any size.
"""

import asyncio
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from cnnkit.serving.problems import Problem
from cnnkit.serving.replies import JSON

if TYPE_CHECKING:
    from cnnkit.serving.settings import Settings

MAX_HEAD = 32 * 2**10
"""Bytes of a request line and its headers."""


class Connection(HttpToolsProtocol):
    """One client's connection."""

    def __init__(self, *args: Any, settings: "Settings", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._settings = settings
        self._deadline: asyncio.TimerHandle | None = None
        self._head: int | None = 0
        self._completed = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request, but not for ever."""
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the deadline."""
        self._stop_waiting()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Start the deadline of another request's headers."""
        super().on_message_begin()
        self._expect_head()

    def on_headers_complete(self) -> None:
        """Hand the request over; what comes from now on is its body, which the application looks after."""
        self._stop_waiting()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Notice that what follows is another request."""
        self._completed = True
        super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        """Count what belongs to the headers, and parse."""
        self._completed = False
        super().data_received(data)
        if self._head is not None:
            # Where in the data an earlier request ended, the parser does not say.
            self._head += 1 if self._completed else len(data)
        if self._head is not None and self._head > MAX_HEAD:
            self._refuse(Problem(413, "headers-too-large", f"the headers are larger than {MAX_HEAD // 1024} KiB."))

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP in the form of all errors."""
        self._refuse(Problem(400, "http", f"{msg} Expected HTTP/1.1, RFC 9112."))

    def _expect_head(self) -> None:
        self._stop_waiting()
        self._head = 0
        self._deadline = self.loop.call_later(self._settings.receive_seconds, self._too_slow)

    def _stop_waiting(self) -> None:
        self._head = None
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        if self._head:
            seconds = self._settings.receive_seconds
            self._refuse(Problem(408, "slow-request", f"the headers did not come within {seconds:g} seconds."))
        else:
            self.transport.close()

    def _refuse(self, problem: Problem) -> None:
        self._stop_waiting()
        if self.transport.is_closing():
            return
        # An earlier request of this connection may still wait for its answer, which must come first.
        if self.cycle is None or self.cycle.response_complete:
            body = problem.body("")
            head = b"content-type: %s\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % (JSON, len(body))
            self.transport.write(STATUS_LINE[problem.status] + head + body)
        self.transport.close()

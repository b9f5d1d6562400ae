"""The server's HTTP connections: uvicorn's, with limits to what comes before a request reaches the application.

uvicorn itself waits for ever for the rest of a request's headers, and lets them be of any size.
"""

import asyncio
import logging
import secrets
from functools import partial
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from cnnkit.serving.problems import Problem
from cnnkit.serving.replies import JSON

if TYPE_CHECKING:
    from cnnkit.serving.metrics import Metrics
    from cnnkit.serving.settings import Settings

MAX_HEAD = 32 * 2**10
"""Bytes of a request line and its headers."""
_LAST_LOOK_SECONDS = 0.05
_TOO_LARGE = Problem(413, "headers-too-large", f"the headers are larger than {MAX_HEAD // 1024} KiB.")

_log = logging.getLogger("cnnkit.serving")


class Connection(HttpToolsProtocol):
    """One client's connection."""

    def __init__(self, *args: Any, settings: "Settings", metrics: "Metrics", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._settings = settings
        self._metrics = metrics
        self._deadline: asyncio.TimerHandle | None = None
        self._head: int | None = 0
        self._arrived = 0
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
        if self._is_too_large():
            raise ValueError  # the parser stops, and has `send_400_response` say so
        self._stop_waiting()
        super().on_headers_complete()

    def _is_too_large(self) -> bool:
        # Most requests come in one piece that is too small for that; the others are looked at.
        if self._head is None or self._head + self._arrived <= MAX_HEAD:
            return False
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > MAX_HEAD

    def on_message_complete(self) -> None:
        """Notice that what follows is another request."""
        self._completed = True
        super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        """Count what belongs to the headers, and parse."""
        self._completed = False
        self._arrived = len(data)
        super().data_received(data)
        if self._head is not None:
            # Where in the data an earlier request ended, the parser does not say.
            self._head += 1 if self._completed else len(data)
        if self._head is not None and self._head > MAX_HEAD:
            self._refuse(_TOO_LARGE)

    def send_400_response(self, msg: str) -> None:
        """Answer what the parser stopped at in the form of all errors."""
        too_large = self.headers is not None and self._is_too_large()
        self._refuse(_TOO_LARGE if too_large else Problem(400, "http", f"{msg} Expected HTTP/1.1, RFC 9112."))

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
        # Where the event loop itself was late, what the client sent lies unread: one more look at it.
        self._deadline = self.loop.call_later(_LAST_LOOK_SECONDS, self._give_up)

    def _give_up(self) -> None:
        if self._head:
            seconds = self._settings.receive_seconds
            self._refuse(Problem(408, "slow-request", f"the headers did not come within {seconds:g} seconds."))
        else:
            self.transport.close()

    def _refuse(self, problem: Problem) -> None:
        self._stop_waiting()
        if self.transport.is_closing():
            return
        self._metrics.answered("other", "", problem.status, 0)
        client = self.client[0] if self.client else ""
        _log.warning(problem.message, extra={"event": "refused-connection", "code": problem.code, "client": client})
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            self._say(problem)
        elif not cycle.more_body:
            # It is complete, and so are those before it: they are answered, and then the connection ends.
            cycle.keep_alive = False
            self.flow.pause_reading()
            return
        elif self.pipeline:
            # Those before it are answered first.
            self.pipeline[0] = (cycle, partial(_refuse_cycle, problem))
            cycle.keep_alive = False
            self.flow.pause_reading()
            return
        elif not cycle.response_started:
            cycle.disconnected = True
            cycle.message_event.set()
            self._say(problem)
        self.transport.close()

    def _say(self, problem: Problem) -> None:
        body = problem.body(secrets.token_hex(4))
        head = b"content-type: %s\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % (JSON, len(body))
        self.transport.write(STATUS_LINE[problem.status] + head + body)


async def _refuse_cycle(problem: Problem, scope: Any, receive: Any, send: Any) -> None:
    body = problem.body(secrets.token_hex(4))
    headers = [(b"content-type", JSON), (b"content-length", str(len(body)).encode()), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

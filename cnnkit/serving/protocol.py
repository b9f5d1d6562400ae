"""The server's HTTP connections: uvicorn's, with limits to whatever the application does not see.

uvicorn itself waits for ever for the rest of a request's headers, or of a body that was answered before it was read;
lets headers be of any size, takes any number of requests ahead, and resets connections whose clients still send.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from cnnkit.serving.holding import Holding
from cnnkit.serving.problems import CLOSE, Headers, Problem
from cnnkit.serving.receiving import RECEIVED
from cnnkit.serving.replies import JSON
from cnnkit.words import counted

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application

    from cnnkit.serving.app import App
    from cnnkit.serving.settings import Settings

MAX_HEAD = 32 * 2**10
"""Bytes of a request line and its headers."""
_TOO_LARGE = Problem(413, "headers-too-large", f"the headers are larger than {MAX_HEAD // 1024} KiB.")
MAX_AHEAD = 64
"""Requests that a client may send before the first of them is answered."""
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_LAST_LOOK_SECONDS = 0.05
_LINGER_SECONDS = 2
"""For a client that still sends to see that it was answered."""
_STALL_SECONDS = 60
"""For a client to take some of its answer."""


_log = logging.getLogger("cnnkit.serving")


class Connection(HttpToolsProtocol):
    """One client's connection."""

    def __init__(self, *args: Any, settings: "Settings", served: "App", holding: Holding, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._settings = settings
        self._served = served
        self._holding = holding
        self._deadline: asyncio.TimerHandle | None = None
        self._stall: asyncio.TimerHandle | None = None
        # Bytes of the headers that are coming; None while none are.
        self._head: int | None = 0
        self._arrived = 0
        # Nothing of the last request is still to come; and that changed with the data at hand.
        self._complete = True
        self._completed = False
        # Whatever else comes is of no interest.
        self._deaf = False
        # The request whose turn it is; `cycle` is the one that came last.
        self._turn: RequestResponseCycle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request, but not for ever."""
        super().connection_made(transport)
        self._socket = transport
        self._written = self.transport = _Transport(transport, self._hang_up)
        self._start_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the deadlines, and tell whoever answers, of which uvicorn knows only the request that came last."""
        self._stop_waiting()
        self._stop_stalling()
        if self._turn is not None:
            self._turn.disconnected = True
            self._turn.message_event.set()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Start to count another request's headers.

        Raises:
            ValueError: there are too many requests already; the parser stops.
        """
        if len(self.pipeline) >= MAX_AHEAD:
            raise ValueError
        super().on_message_begin()
        self._stop_waiting()
        self._head = 0
        self._complete = False

    def on_headers_complete(self) -> None:
        """Hand the request over; what comes from now on is its body, which the application looks after."""
        if self._is_too_large():
            raise ValueError  # the parser stops, and has `send_400_response` say so
        self._stop_waiting()
        self._head = None
        super().on_headers_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: "ASGI3Application") -> None:
        self._turn = cycle
        scope: Any = cycle.scope
        if app is self.app and self._served.is_full(scope):
            self._holding.hold(partial(self._admit, cycle, app, perf_counter()))
        else:
            super()._start_asgi_task(cycle, app)

    def _admit(self, cycle: RequestResponseCycle, app: "ASGI3Application", came: float) -> None:
        """Let a request in that was held, or refuse it where its model still takes no more."""
        scope: Any = cycle.scope
        if self.transport.is_closing():
            self._served.metrics.left()
        elif self.flow.write_paused or not self._served.is_full(scope):  # only a task can wait for a client to read
            super()._start_asgi_task(cycle, app)
        else:
            reply, headers = self._served.refuse(scope, came)
            if not cycle.keep_alive and CLOSE[0] not in headers:
                headers += CLOSE
            cycle.keep_alive = CLOSE[0] not in headers
            cycle.response_started = cycle.response_complete = True
            cycle.body.clear()  # which would stay for as long as the connection is idle
            self._socket.write(self._whole(reply.status, headers, reply.body))
            if not cycle.keep_alive:
                self.transport.close()
            cycle.on_response()

    def _whole(self, status: int, headers: Headers, body: bytes) -> bytes:
        lines = [b"%s: %s\r\n" % header for header in (*self.server_state.default_headers, *headers)]
        return b"".join((STATUS_LINE[status], *lines, b"\r\n", body))

    def _is_too_large(self) -> bool:
        # Most requests come in one piece that is too small for that; the others are looked at.
        if self._head is None or self._head + self._arrived <= MAX_HEAD:
            return False
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > MAX_HEAD

    def on_message_complete(self) -> None:
        """Notice that what follows is another request."""
        self._stop_waiting()
        self._complete = self._completed = True
        self.scope[RECEIVED] = True  # type: ignore[literal-required]
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait for the rest of a body that nobody will read, but not for ever."""
        self._written.flush()
        super().on_response_complete()
        if not (self._complete or self._deaf) and self.cycle.response_complete:
            self._start_waiting()

    def data_received(self, data: bytes) -> None:
        """Parse, and see that there is a deadline for what is still to come."""
        if self._deaf:
            return
        self._completed = False
        self._arrived = len(data)
        super().data_received(data)
        if self._deaf:
            return
        if self._head is not None:
            # Where in the data an earlier request ended, the parser does not say.
            self._head += 1 if self._completed else len(data)
            if self._head > MAX_HEAD:
                self._refuse(_TOO_LARGE)
            else:
                self._start_waiting()
        elif self.cycle.response_complete and self.timeout_keep_alive_task is None:
            if self._completed:
                self.timeout_keep_alive_task = self.loop.call_later(
                    self.timeout_keep_alive, self.timeout_keep_alive_handler
                )
            else:  # a body that nobody reads, or blank lines
                self._start_waiting()

    def send_400_response(self, msg: str) -> None:
        """Answer what the parser stopped at in the form of all errors."""
        too_large = self.headers is not None and self._is_too_large()
        self._refuse(_TOO_LARGE if too_large else Problem(400, "http", f"{msg} Expected HTTP/1.1, RFC 9112."))

    def pause_writing(self) -> None:
        """Wait for a client that does not take its answer, but not for ever."""
        super().pause_writing()
        self._stall = self.loop.call_later(_STALL_SECONDS, self._socket.abort)

    def resume_writing(self) -> None:
        """Go on with the answer."""
        self._stop_stalling()
        super().resume_writing()

    def _start_waiting(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(self._settings.receive_seconds, self._too_slow)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _stop_stalling(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    def _too_slow(self) -> None:
        # Where the event loop itself was late, what the client sent lies unread: one more look at it.
        self._deadline = self.loop.call_later(_LAST_LOOK_SECONDS, self._give_up)

    def _give_up(self) -> None:
        if self._head:
            seconds = self._settings.receive_seconds
            self._refuse(Problem(408, "slow-request", f"the headers did not come within {counted(seconds, 'second')}."))
        else:
            self.transport.close()

    def _refuse(self, problem: Problem) -> None:
        """End the connection, with an answer to what came last if no other request of it waits for one."""
        self._stop_waiting()
        self._deaf = True
        cycle = self.cycle
        if self.transport.is_closing():
            return
        self._served.metrics.answered("other", "", problem.status, 0)
        client = self.client[0] if self.client else ""
        _log.warning(problem.message, extra={"event": "refused-connection", "code": problem.code, "client": client})
        if cycle is not None and not cycle.response_complete:
            if self.pipeline and cycle.more_body:
                self.pipeline[0] = (cycle, partial(_answer, problem))
            if self.pipeline or not cycle.more_body or cycle.response_started:
                cycle.keep_alive = False
                return
            # Its body is what cannot be read; the application hears that there is no client.
            cycle.disconnected = True
            cycle.message_event.set()
        body = problem.body(secrets.token_hex(4))
        self.transport.write(self._whole(problem.status, _headers(body), body))
        self._complete = False
        self.transport.close()

    def _hang_up(self) -> None:
        """Close the connection, if need be only once the client has stopped sending."""
        self._stop_waiting()
        self._deaf = True
        if self._complete:
            self._socket.close()
            if self._socket.get_write_buffer_size():
                self._deadline = self.loop.call_later(_STALL_SECONDS, self._socket.abort)
        else:
            self._socket.write_eof()
            self.flow.resume_reading()
            self._deadline = self.loop.call_later(_LINGER_SECONDS, self._socket.abort)


async def _answer(problem: Problem, scope: Any, receive: Any, send: Any) -> None:
    """Be the application for a request that cannot be read, once those before it are answered."""
    body = problem.body(secrets.token_hex(4))
    await send({"type": "http.response.start", "status": problem.status, "headers": _headers(body)})
    await send({"type": "http.response.body", "body": body})


def _headers(body: bytes) -> Headers:
    return ((b"content-type", JSON), (b"content-length", str(len(body)).encode()), *CLOSE)


class _Transport(asyncio.Transport):
    """What answers are written to: in one piece each, and closing it does not reset a client that still sends.

    uvicorn writes head and body one after the other, which would cost a call of the system each, and wake the client
    twice. The reset would overtake the answer (RFC 9112, section 9.6).
    """

    def __init__(self, transport: asyncio.Transport, hang_up: Callable[[], None]) -> None:
        super().__init__()
        self._transport = transport
        self._hang_up = hang_up
        self._closing = False
        self._head = b""

    def write(self, data: bytes) -> None:  # type: ignore[override]
        if not self._head and data.startswith(b"HTTP/1.1 ") and data != _CONTINUE:
            self._head = data
        else:
            self._transport.write(self._head + data)
            self._head = b""

    def flush(self) -> None:
        """Write a head that has no body, as the answer to HEAD."""
        if self._head:
            self.write(b"")

    def is_closing(self) -> bool:
        return self._closing or self._transport.is_closing()

    def close(self) -> None:
        if not self.is_closing():
            self.flush()
            self._closing = True
            self._hang_up()

    def abort(self) -> None:
        self._transport.abort()

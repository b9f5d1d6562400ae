"""One client's connection: HTTP/1.1 (RFC 9112) on httptools' parser and an asyncio transport."""

import asyncio
from collections import deque
from time import perf_counter
from typing import Any, cast

from cnnkit.serving.http.errors import CLOSE, Headers, HttpError, busy, late, too_large
from cnnkit.serving.http.inflight import InFlight
from cnnkit.serving.http.parsing import RequestParser
from cnnkit.serving.http.request import Request
from cnnkit.serving.http.response import Response
from cnnkit.words import counted

MAX_AHEAD = 64
"""Requests that a client may send before the first of them is answered."""
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
KEEP_ALIVE_SECONDS = 75
"""Longer than load balancers keep a connection: the one who closes first must not be the one who is sent requests."""
_LINGER_SECONDS = 2
"""For a client that still sends to see its response before the connection is reset (RFC 9112, section 9.6)."""
_STALL_SECONDS = 60
"""For a client to read some of its response."""
_NEVER = float("inf")
_SHED_SECONDS = 0.03
"""From a refusal to the next look at its client: one that asks again at once must not take the time of the others."""


class Connection(asyncio.Protocol):
    """Reads requests, has the application (`cnnkit.serving.app.App`) answer them in order, and writes the responses.

    Deadlines are looked at by `check`, a few times a second for all connections: a timer for each would cost more.
    """

    def __init__(self, app: Any, inflight: InFlight, receive_seconds: float) -> None:
        self._app = app
        self._inflight = inflight
        self._receive_seconds = receive_seconds
        self._loop = asyncio.get_running_loop()
        self._parser = RequestParser(self)
        self._transport: asyncio.Transport
        self._deadline = perf_counter() + receive_seconds
        # Those that wait for their turn, and the one that has it.
        self._queue: deque[Request] = deque()
        self._answering: Request | None = None
        self._task: asyncio.Task[None] | None = None
        # Nothing after this is of interest; and the connection is about to end.
        self._deaf = self._closing = False
        self._paused = False
        self._stalled = _NEVER  # or the end of the patience with a client that does not read

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the first request."""
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self._parser.client = str(peer[0]) if peer else ""
        self._inflight.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop what is done for a client that is gone."""
        self._deaf = self._closing = True
        self._inflight.connections.discard(self)
        if self._task is not None:
            self._task.cancel()
            self._app.metrics.left()
        for request in (self._parser.receiving, self._answering, *self._queue):
            if request is not None:
                self._inflight.release(request)
        self._queue.clear()

    def data_received(self, data: bytes) -> None:
        """Parse what was received."""
        if self._deaf:
            return
        known = self._parser.feed(data)
        if self._deaf:
            return  # a request that was to be the last is complete
        if self._parser.error is not None:
            self._refuse(self._parser.error)
        elif not known and self.is_free:  # blank lines
            self._deadline = min(self._deadline, perf_counter() + self._receive_seconds)
        if len(self._queue) > 1 and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def pause_writing(self) -> None:
        """Wait for a client that does not read its response, but not for ever."""
        self._stalled = perf_counter() + _STALL_SECONDS

    def resume_writing(self) -> None:
        """Go on to the next response."""
        self._stalled = _NEVER
        self._advance()

    # What the parser calls.

    def begun(self) -> bool:
        """Give a request some time to be received, unless too many wait already."""
        if len(self._queue) >= MAX_AHEAD:
            self._deaf = True
            self._queue[-1].keep_alive = False
        self._deadline = perf_counter() + self._receive_seconds
        return not self._deaf

    def head_received(self, request: Request) -> None:
        """Decide by the head whether the body is wanted."""
        self._deadline = request.arrived + self._receive_seconds
        if (response := self._app.accept(request)) is not None:
            self._respond(request, response)
        elif (
            request.headers.get(b"expect", b"").lower() == b"100-continue" and self.is_free and request.version == "1.1"
        ):
            self._transport.write(_CONTINUE)

    def body_received(self, request: Request) -> None:
        """Hold a body to the limits of its size and of all that are in memory."""
        if len(request.body) > request.limit:
            self._respond(request, self._app.failed(request, too_large(request.limit)))
        elif not self._inflight.hold(request, len(request.body)):
            error = busy("memory", "The server holds as many bytes of requests as it can. Try again.", CLOSE)
            self._respond(request, self._app.failed(request, error))

    def completed(self, request: Request) -> None:
        """Answer a request in its turn."""
        request.received = perf_counter()
        self._deaf |= not request.keep_alive
        if request.response is None:
            self._queue.append(request)
            self._advance()
        elif self.is_free and not self._closing:
            self._deadline = request.received + KEEP_ALIVE_SECONDS

    # Answering.

    def _respond(self, request: Request, response: Response) -> None:
        """Answer, in its turn, a request whose body is not wanted."""
        request.response = response
        self._inflight.release(request)
        self._queue.append(request)
        self._advance()

    def _advance(self) -> None:
        while self._queue and self._answering is None and self._stalled == _NEVER and not self._closing:
            request = self._queue.popleft()
            if request.response is not None:
                self._write(request, request.response)
            else:
                self._answering = request
                self._task = self._loop.create_task(self._answer(request))
        if self._paused and not self._queue and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()

    async def _answer(self, request: Request) -> None:
        response = await self._app.answer(request)
        self._finish(request, response)

    def _finish(self, request: Request, response: Response) -> None:
        self._answering = self._task = None
        if not self._closing:
            self._write(request, response)
            self._advance()

    def _write(self, request: Request, response: Response) -> None:
        headers, now = request.headers, perf_counter()
        # A body that is not read, and that may never come or has no known end.
        endless = not request.complete and (b"expect" in headers or b"transfer-encoding" in headers)
        last = not request.keep_alive or (self._inflight.draining and not self._queue)
        close = last or endless or CLOSE[0] in response.headers
        more: Headers = (*self._app.headers(request), *self._inflight.always)
        if close and CLOSE[0] not in response.headers:
            more += CLOSE
        elif not close and request.version == "1.0":
            more += ((b"connection", b"keep-alive"),)
        self._deadline = now + (
            KEEP_ALIVE_SECONDS if request.complete and not self._parser.in_head else self._receive_seconds
        )
        self._transport.write(response.encoded(more, body=request.method != "HEAD"))
        self._inflight.release(request)
        self._app.answered(request, response, now - request.arrived)
        if close:
            self._close(unread=not request.complete)
        elif response.shed:
            self._transport.pause_reading()
            self._loop.call_later(_SHED_SECONDS, self._resume)

    def _resume(self) -> None:
        if not self._paused and not self._transport.is_closing():
            self._transport.resume_reading()

    def _close(self, *, unread: bool = False) -> None:
        """Close the connection; where its client still sends, only once it has stopped or some time is over."""
        self._deaf = self._closing = True
        while self._queue:
            self._inflight.release(self._queue.popleft())
        if unread and self._transport.can_write_eof():
            self._transport.write_eof()
            self._transport.resume_reading()
            self._deadline = perf_counter() + _LINGER_SECONDS
        else:
            self._transport.close()
            self._deadline = perf_counter() + _STALL_SECONDS

    def _refuse(self, error: HttpError) -> None:
        """End the connection with an error for what cannot be received, after the responses to earlier requests."""
        request = self._parser.stop() or Request("", b"", {}, self._parser.client, "1.1", keep_alive=False)
        self._deaf, request.keep_alive = True, False
        if request.response is None:
            self._respond(request, self._app.failed(request, error))
        elif request not in self._queue:
            self._close(unread=True)

    # What the server calls.

    @property
    def is_free(self) -> bool:
        """Whether no request waits for its response."""
        return self._answering is None and not self._queue

    def close_if_idle(self) -> None:
        """Close the connection unless a request is under way."""
        if self.is_free and self._parser.receiving is None and not self._parser.in_head and not self._closing:
            self._close()

    def abort(self) -> None:
        """End the connection at once."""
        self._transport.abort()

    def interrupt(self, error: HttpError) -> None:
        """Answer with an error instead what is being answered or received."""
        receiving = self._parser.receiving
        if self._answering is not None and self._task is not None:
            request = self._answering
            self._task.cancel()
            self._finish(request, self._app.failed(request, error))
        elif receiving is not None and receiving.response is None:
            self._refuse(error)

    def check(self, now: float) -> None:
        """See to the deadline of what is under way."""
        request, receiving = self._answering, self._parser.receiving
        if now > self._stalled:
            self._transport.abort()
        elif request is not None:
            if now > request.received + request.patience:
                self.interrupt(late(request.patience))
        elif now <= self._deadline:
            return
        elif self._closing:
            self._transport.abort()
        elif receiving is not None and receiving.response is None:
            size, seconds = counted(len(receiving.body), "byte"), counted(self._receive_seconds, "second")
            self._refuse(_slow(f"the body was not received within {seconds}, only {size} of it."))
        elif self._parser.in_head:
            self._refuse(_slow(f"the headers were not received within {counted(self._receive_seconds, 'second')}."))
        else:
            self._close(unread=receiving is not None)


def _slow(message: str) -> HttpError:
    return HttpError(408, "slow-request", message, CLOSE)

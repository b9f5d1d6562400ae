"""One client's connection: HTTP/1.1 (RFC 9112) on httptools' parser and an asyncio transport."""

import asyncio
from collections import deque
from time import perf_counter
from typing import Protocol, cast

import httptools

from cnnkit.serving.http.errors import CLOSE, Headers, HttpError, busy, late, too_large
from cnnkit.serving.http.inflight import InFlight
from cnnkit.serving.http.request import Request
from cnnkit.serving.http.response import Response
from cnnkit.words import counted

MAX_HEAD = 32 * 2**10
"""Bytes of a request line and its headers."""
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
_SHED_SECONDS = 0.025
"""From a refusal to the next look at its client: one that asks again at once must not take the time of the others."""


class Application(Protocol):
    """What answers requests."""

    def accept(self, request: Request) -> Response | None:
        """Decide by the head: return a response that needs no body, or set the limit of the body and return None."""

    async def answer(self, request: Request) -> Response:
        """Answer a complete request, errors included."""

    def failed(self, request: Request, error: Exception) -> Response:
        """Return the response to a request that ended in an error."""

    def headers(self, request: Request) -> Headers:
        """Return the headers that a response has because of its request."""

    def answered(self, request: Request, response: Response, seconds: float) -> None:
        """Take note of a response that was sent."""

    def left(self) -> None:
        """Take note of a client that left before its response."""


class Connection(asyncio.Protocol):
    """Reads requests, has the application answer them in their order, and writes the responses.

    Deadlines are looked at by `check`, a few times a second for all connections: a timer for each would cost more.
    """

    def __init__(self, app: Application, inflight: InFlight, receive_seconds: float) -> None:
        self._app = app
        self._inflight = inflight
        self._receive_seconds = receive_seconds
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._client = ""
        self._deadline = perf_counter() + receive_seconds
        # The request that is being received: its head so far, its bytes, and from the end of its head on itself.
        self._url, self._headers = b"", dict[bytes, bytes]()
        self._size = 0
        self._in_head = self._upgrading = self._completed = False
        self._receiving: Request | None = None
        self._problem: HttpError | None = None
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
        self._client = str(peer[0]) if peer else ""
        self._inflight.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop what is done for a client that is gone."""
        self._deaf = self._closing = True
        self._inflight.connections.discard(self)
        if self._task is not None:
            self._task.cancel()
            self._app.left()
        for request in (self._receiving, self._answering, *self._queue):
            if request is not None:
                self._inflight.release(request)
        self._queue.clear()

    def data_received(self, data: bytes) -> None:
        """Parse what was received."""
        if self._deaf:
            return
        self._completed = False
        self._feed(data)
        # Where in the data an earlier request ended, the parser does not say.
        self._size += 1 if self._completed else len(data)
        if self._problem is not None:
            self._refuse(self._problem)
        elif self._in_head and self._size > MAX_HEAD:
            self._refuse(_head_too_large())
        elif self._receiving is not None and self._size > 2 * self._receiving.limit + 4 * MAX_HEAD:
            self._refuse(too_large(self._receiving.limit))  # by the overhead of its chunks, or by its trailer
        elif self.is_free and not self._in_head and not self._completed:  # blank lines
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

    def _feed(self, data: bytes) -> None:
        while data:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                # RFC 9110, section 7.8: a server may ignore it. The parser does not, so it gets the head without it.
                lines = [b"%s: %s\r\n" % item for item in self._headers.items() if item[0] != b"upgrade"]
                start = b"%s %s HTTP/%s\r\n" % (self._parser.get_method(), self._url, self._version().encode())
                data = b"".join((start, *lines, b"\r\n", data[upgrade.args[0] :]))
                self._parser = httptools.HttpRequestParser(self)
                self._upgrading = False
            except httptools.HttpParserError as error:
                if self._problem is None and not self._deaf:
                    self._problem = HttpError(400, "http", f"{error}. Expected HTTP/1.1 (RFC 9112).", CLOSE)
                return
            else:
                return

    # What the parser calls.

    def on_message_begin(self) -> None:
        """Begin another request.

        Raises:
            ValueError: too many wait already; the parser stops.
        """
        if len(self._queue) >= MAX_AHEAD:
            self._deaf = True
            self._queue[-1].keep_alive = False
            raise ValueError
        self._url, self._headers, self._size, self._in_head = b"", {}, 0, True
        self._deadline = perf_counter() + self._receive_seconds

    def on_url(self, url: bytes) -> None:
        """Keep the target, which may come in pieces."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; those of a trailer are not of interest."""
        if self._receiving is None:
            name = name.lower()
            self._headers[name] = self._headers[name] + b", " + value if name in self._headers else value

    def on_headers_complete(self) -> None:
        """Decide by the head whether the body is wanted.

        Raises:
            ValueError: the head is none of HTTP/1.1; the parser stops.
        """
        method = self._parser.get_method()
        if self._parser.should_upgrade() and method != b"CONNECT":
            self._upgrading = True
            return
        self._problem = _problem_of(method, self._version(), self._headers)
        if self._problem is not None:
            raise ValueError
        keep_alive = self._parser.should_keep_alive()
        request = Request(method.decode(), self._url, self._headers, self._client, self._version(), keep_alive)
        self._receiving, self._in_head = request, False
        self._deadline = request.arrived + self._receive_seconds
        size = len(self._url) + sum(map(len, self._headers)) + sum(map(len, self._headers.values()))
        if size + 4 * len(self._headers) > MAX_HEAD:
            self._respond(request, self._app.failed(request, _head_too_large()))
        elif (response := self._app.accept(request)) is not None:
            self._respond(request, response)
        elif b"expect" in self._headers and self._headers[b"expect"].lower() == b"100-continue" and self.is_free:
            self._transport.write(_CONTINUE)

    def on_body(self, piece: bytes) -> None:
        """Keep some of the body, within the limits of its size and of all that are in memory."""
        request = self._receiving
        if request is None or request.response is not None:
            return
        if not request.body:
            request.body = piece
        else:
            request.body = request.body if isinstance(request.body, bytearray) else bytearray(request.body)
            request.body += piece
        if len(request.body) > request.limit:
            self._respond(request, self._app.failed(request, too_large(request.limit)))
        elif not self._inflight.hold(request, len(request.body)):
            self._respond(request, self._app.failed(request, _memory()))

    def on_message_complete(self) -> None:
        """Answer the request in its turn."""
        request = self._receiving
        if self._upgrading or request is None:
            return
        request.complete, request.received = True, perf_counter()
        self._receiving, self._completed = None, True
        self._deaf |= not request.keep_alive
        if request.response is None:
            self._queue.append(request)
            self._advance()
        elif self.is_free and not self._closing:
            self._deadline = request.received + KEEP_ALIVE_SECONDS

    def _version(self) -> str:
        return self._parser.get_http_version()

    # Answering.

    def _respond(self, request: Request, response: Response) -> None:
        """Answer, in its turn, a request whose body is not wanted."""
        request.response, request.body = response, b""
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
        self._deadline = now + (KEEP_ALIVE_SECONDS if request.complete and not self._in_head else self._receive_seconds)
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
        """End the connection with an error for what cannot be received, after the responses to what came before."""
        request = self._receiving or Request("", b"", {}, self._client, "1.1", keep_alive=False)
        self._receiving, self._in_head, self._problem, self._deaf = None, False, None, True
        request.keep_alive = False
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
        if self.is_free and self._receiving is None and not self._in_head and not self._closing:
            self._close()

    def abort(self) -> None:
        """End the connection at once."""
        self._transport.abort()

    def interrupt(self, error: HttpError) -> None:
        """Answer with an error instead what is being answered."""
        if self._answering is not None and self._task is not None:
            request = self._answering
            self._task.cancel()
            self._finish(request, self._app.failed(request, error))

    def check(self, now: float) -> None:
        """See to the deadline of what is under way."""
        request = self._answering
        if now > self._stalled:
            self._transport.abort()
        elif request is not None:
            if now > request.received + request.patience:
                self.interrupt(late(request.patience))
        elif now <= self._deadline:
            return
        elif self._closing:
            self._transport.abort()
        elif self._receiving is not None and self._receiving.response is None:
            size, seconds = counted(len(self._receiving.body), "byte"), counted(self._receive_seconds, "second")
            self._refuse(_slow(f"the body was not received within {seconds}, only {size} of it."))
        elif self._in_head:
            self._refuse(_slow(f"the headers were not received within {counted(self._receive_seconds, 'second')}."))
        else:
            self._close(unread=self._receiving is not None)


def _problem_of(method: bytes, version: str, headers: dict[bytes, bytes]) -> HttpError | None:
    """Return what the parser lets through and this server does not."""
    if method == b"CONNECT":
        return HttpError(405, "method", "CONNECT is for proxies; this is none.", CLOSE)
    if version not in {"1.0", "1.1"}:
        return HttpError(400, "http", f"HTTP/{version} is not known here; use HTTP/1.1.", CLOSE)
    coding = headers.get(b"transfer-encoding", b"chunked").strip().lower()
    if coding != b"chunked" or (version == "1.0" and b"transfer-encoding" in headers):
        return HttpError(400, "http", "the only Transfer-Encoding is chunked, in HTTP/1.1.", CLOSE)
    return None


def _head_too_large() -> HttpError:
    said = f"the request line and headers are larger than {MAX_HEAD // 1024} KiB."
    return HttpError(431, "headers-too-large", said, CLOSE)


def _slow(message: str) -> HttpError:
    return HttpError(408, "slow-request", message, CLOSE)


def _memory() -> HttpError:
    return busy("memory", "The server holds as many bytes of requests as it can. Try again.", CLOSE)

"""Load on a server from one event loop: closed (each client waits for its answer) or open (a constant rate).

Every request is counted: `sent` is what the sum of the answers by status and of the lost ones has to be. Latencies of
the open loop count from the moment that a request was due, not from when a connection was free to send it, so that a
server which stalls cannot hide it (Tene, "How NOT to measure latency", 2013).
"""

import asyncio
import selectors
import time
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, cast

import httptools

from serving.tally import Tally

CLOCK = time.perf_counter
LAST_ANSWERS = 60.0
"""Seconds that the last answers are waited for; a request without one by then counts as lost."""


class Connection(asyncio.Protocol):
    """One keep-alive connection with at most one request on it."""

    __slots__ = ("_body", "_parser", "_transport", "asked", "busy", "load", "retry_after")

    def __init__(self, load: "Load") -> None:
        self.load = load
        self.busy = False
        self.asked = 0.0
        self.retry_after = False
        self._body = b""
        self._parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def send(self, request: bytes, asked: float) -> None:
        """Send a request whose latency counts from `asked`."""
        self.busy, self.asked, self._body, self.retry_after = True, asked, b"", False
        self.load.tally.sent += 1
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Feed the parser, which calls the methods below."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.load.tally.problems[f"not HTTP: {error}"] += 1
            self._transport.abort()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Notice that the server says when to come again."""
        if name.lower() == b"retry-after":
            self.retry_after = value.isdigit()

    def on_body(self, body: bytes) -> None:
        """Keep the body."""
        self._body += body

    def on_message_complete(self) -> None:
        """Hand the answer over."""
        if not self.busy:
            self.load.tally.problems["an answer to no request"] += 1
            return
        self.busy = False
        stays = self._parser.should_keep_alive()
        if not stays:
            self._transport.close()
        self.load.answered(self, self._parser.get_status_code(), self._body, stays=stays)

    def connection_lost(self, error: Exception | None) -> None:
        """Report the end of the connection, and of the request on it."""
        self.load.connections.discard(self)
        if self.busy:
            self.busy = False
            what = type(error).__name__ if error else "closed"
            self.load.tally.lost[f"{what}, {'in' if self._body else 'before'} the answer"] += 1
            self.load.vanished()

    def close(self) -> None:
        """Close it."""
        self._transport.close()


class Load:
    """What both kinds of load have in common: connections, and the tally."""

    def __init__(self, port: int, request: bytes, expected: Callable[[bytes], str]) -> None:
        self.port, self.request, self.expected = port, request, expected
        self.tally = Tally()
        self.connections: set[Connection] = set()
        self.began = CLOCK()
        self._tasks: set[asyncio.Task[None]] = set()
        self._checked: set[bytes] = set()

    async def connect(self) -> Connection | None:
        """Make a connection; None where the server does not take it."""
        try:
            loop = asyncio.get_running_loop()
            _, connection = await loop.create_connection(lambda: Connection(self), "127.0.0.1", self.port)
        except OSError as error:
            self.tally.unconnected[type(error).__name__] += 1
            return None
        self.connections.add(connection)
        return connection

    def answered(self, connection: Connection, status: int, body: bytes, *, stays: bool) -> None:
        """Count a complete answer."""
        now = CLOCK()
        tally = self.tally
        tally.latencies[status].append(now - connection.asked)
        if status == 200:
            tally.ended.append(now - self.began)
            # Looking into each would make the generator the slowest part; the first thousand show what there is.
            if len(tally.ended) <= 1000 and (wrong := self.expected(body)):
                tally.problems[wrong] += 1
        elif status != 503:
            tally.problems[f"status {status}: {body[:200]!r}"] += 1
        elif not connection.retry_after:
            tally.problems["503 without Retry-After"] += 1
        self.free(connection, now, stays=stays)

    def free(self, connection: Connection, now: float, *, stays: bool) -> None:
        """Go on after an answer."""
        raise NotImplementedError

    def vanished(self) -> None:
        """Go on after a lost request."""

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something beside."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def finish(self) -> Tally:
        """Wait for the answers that are still due, and close the connections."""
        until = CLOCK() + LAST_ANSWERS
        while any(connection.busy for connection in self.connections) and CLOCK() < until:
            await asyncio.sleep(0.01)
        for task in self._tasks:
            task.cancel()
        for connection in tuple(self.connections):
            connection.close()
        while self.connections:
            await asyncio.sleep(0.001)
        return self.tally


class ClosedLoop(Load):
    """So many clients, each of which asks again as soon as it has its answer; polite ones wait after a refusal."""

    polite: set[Connection]

    async def run(self, clients: int, seconds: float, *, polite: bool = False) -> Tally:
        """Ask for so long, then wait for the rest; with `polite`, every other client honours `Retry-After: 1`."""
        self.began, cpu = CLOCK(), time.process_time()
        self.until = self.began + seconds
        self.polite = set()
        for index in range(clients):
            await self._join(polite=polite and index % 2 == 1)
        await asyncio.sleep(max(0.0, self.until - CLOCK()))
        await self.finish()
        self.tally.cpu_seconds = time.process_time() - cpu
        return self.tally

    async def _join(self, *, polite: bool = False) -> None:
        while CLOCK() < self.until:
            if connection := await self.connect():
                if polite:
                    self.polite.add(connection)
                connection.send(self.request, CLOCK())
                return
            await asyncio.sleep(0.01)

    def free(self, connection: Connection, now: float, *, stays: bool) -> None:
        """Ask again."""
        if now >= self.until:
            return
        polite = connection in self.polite
        if polite and connection.retry_after:
            asyncio.get_running_loop().call_later(1.0, self._again, connection, stays)
        elif stays:
            connection.send(self.request, now)
        else:
            self.start(self._join(polite=polite))

    def _again(self, connection: Connection, stays: bool) -> None:
        if CLOCK() < self.until:
            if stays and connection in self.connections:
                connection.send(self.request, CLOCK())
            else:
                self.start(self._join(polite=True))

    def vanished(self) -> None:
        """Come again with a new connection, by now in a hurry."""
        if CLOCK() < self.until:
            self.start(self._join())


class OpenLoop(Load):
    """A constant rate, whatever the server makes of it; connections are added as they are needed."""

    async def run(self, rate: float, seconds: float, *, connections: int, most: int, step: float) -> Tally:
        """Send `rate` requests a second for so long, on at first `connections` and at most `most` connections.

        Those that are due within `step` seconds are sent together.
        """
        self.most, self.connecting = most, 0
        self.idle: deque[Connection] = deque()
        self.waiting: deque[float] = deque()
        for _ in range(connections):
            if connection := await self.connect():
                self.idle.append(connection)
        self.began, cpu = CLOCK(), time.process_time()
        for turn in range(int(rate * seconds)):
            due = self.began + turn / rate
            # A loop that is late goes on without a pause, but lets answers in.
            if (pause := due - CLOCK()) > 0:
                await asyncio.sleep(max(pause, step))
            elif turn % 16 == 0:
                await asyncio.sleep(0)
            self._send(due)
        while self.waiting and CLOCK() < self.began + seconds + LAST_ANSWERS:
            await asyncio.sleep(0.001)
        await self.finish()
        self.tally.cpu_seconds = time.process_time() - cpu
        return self.tally

    def _send(self, due: float) -> None:
        while self.idle:
            connection = self.idle.pop()
            if connection in self.connections:
                self.tally.lateness.append(CLOCK() - due)
                connection.send(self.request, due)
                return
        self.waiting.append(due)
        if len(self.connections) + self.connecting < self.most:
            self.connecting += 1
            self.start(self._add())

    async def _add(self) -> None:
        connection = await self.connect()
        self.connecting -= 1
        if connection is not None:
            self._next(connection)

    def free(self, connection: Connection, now: float, *, stays: bool) -> None:
        """Send what has been waiting longest."""
        if stays:
            self._next(connection)

    def _next(self, connection: Connection) -> None:
        self.idle.append(connection)
        if self.waiting:
            self._send(self.waiting.popleft())


def precise_loop() -> asyncio.AbstractEventLoop:
    """Return an event loop whose pauses are right to some 0.1 ms; epoll's, and uvloop's, are whole milliseconds."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


def fast_loop() -> asyncio.AbstractEventLoop:
    """Return the event loop with the least work for a request."""
    import uvloop

    return uvloop.new_event_loop()


def closed_loop(
    port: int,
    request: bytes,
    expected: Callable[[bytes], str],
    clients: int,
    seconds: float,
    *,
    polite: bool = False,
) -> Tally:
    """Run a closed loop to its end; with `polite`, every other client waits as a refusal says."""
    with asyncio.Runner(loop_factory=fast_loop) as runner:
        return runner.run(ClosedLoop(port, request, expected).run(clients, seconds, polite=polite))


def open_loop(
    port: int,
    request: bytes,
    expected: Callable[[bytes], str],
    rate: float,
    seconds: float,
    connections: int,
    most: int,
    step: float = 0.0,
) -> Tally:
    """Run an open loop to its end; with a `step` it is less precise, and takes less of the processor."""
    with asyncio.Runner(loop_factory=fast_loop if step else precise_loop) as runner:
        load = OpenLoop(port, request, expected)
        return runner.run(load.run(rate, seconds, connections=connections, most=most, step=step))

"""The socket that clients connect to, from its first to its last connection."""

import asyncio
import contextlib
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Any

from cnnkit.errors import ServerError
from cnnkit.serving.http.connection import Connection
from cnnkit.serving.http.errors import CLOSE, busy
from cnnkit.serving.http.inflight import InFlight

TICK_SECONDS = 0.1
"""Between two looks at the deadlines."""
_BACKLOG = 2048
_LINGER_SECONDS = 0.05
"""For what clients sent before they could see that the socket is closed."""


def bind(host: str, port: int) -> socket.socket:
    """Return a socket at an address that nobody can connect to yet.

    Raises:
        ServerError: the address cannot be used.
    """
    try:
        kind, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        bound = socket.socket(kind)
        try:
            if sys.platform != "win32":  # there it would let two servers share the port
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
        except OSError:
            bound.close()
            raise
    except OSError as error:
        raise ServerError(
            f"cannot listen on {host} port {port}: {error.strerror or error}. "
            "Choose another with --host and --port; --port 0 takes a free one."
        ) from error
    return bound


class Listener:
    """Accepts connections on a bound socket, until it drains."""

    def __init__(self, bound: socket.socket, app: Any, inflight: InFlight, receive_seconds: float) -> None:
        self._socket = bound
        self._inflight = inflight
        self._connection: Callable[[], Connection] = lambda: Connection(app, inflight, receive_seconds)
        self._server: asyncio.Server
        self._ticking: asyncio.Task[None]

    async def open(self) -> None:
        """Accept connections.

        Raises:
            ServerError: another server was quicker.
        """
        try:
            self._socket.listen(_BACKLOG)  # uvloop would not say that it cannot
        except OSError as error:
            raise ServerError(f"cannot listen: {error.strerror or error}. Choose another --port.") from error
        self._inflight.check(perf_counter())
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._connection, sock=self._socket, backlog=_BACKLOG)
        self._ticking = loop.create_task(self._tick())

    async def _tick(self) -> None:
        before = perf_counter()
        while True:
            await asyncio.sleep(TICK_SECONDS)
            now = perf_counter()
            # Where the event loop itself was late, what the clients sent lies unread: it is read first.
            if now - before < 3 * TICK_SECONDS:
                self._inflight.check(now)
            before = now

    async def drain(self, notice: float, deadline: float, hurried: Callable[[], bool]) -> None:
        """Say that the server stops, then accept no more, then answer what was accepted.

        Args:
            notice: seconds for load balancers and clients to see that the server is not ready any more.
            deadline: by `perf_counter`; what is not answered then is refused.
            hurried: whether to wait no longer.
        """
        self._inflight.draining = True
        await self._until(lambda: False, min(perf_counter() + notice, deadline), hurried)
        _drop_new_connections(self._socket)
        await asyncio.sleep(_LINGER_SECONDS)
        # The kernel has connected some clients already: they are accepted.
        accepted = list(_unaccepted(self._socket))
        self._server.close()
        self._socket.close()
        for client in accepted:
            await asyncio.get_running_loop().connect_accepted_socket(self._connection, client)
        await asyncio.sleep(_LINGER_SECONDS)
        for connection in list(self._inflight.connections):
            connection.close_if_idle()
        await self._until(self._is_empty, deadline, hurried)
        stopping = busy("stopping", "The server is stopping. Send the request to another server.", CLOSE)
        for connection in list(self._inflight.connections):
            connection.interrupt(stopping)
        await self._until(self._is_empty, perf_counter() + 2 * TICK_SECONDS, hurried)
        self._ticking.cancel()
        for connection in list(self._inflight.connections):
            connection.abort()

    def _is_empty(self) -> bool:
        return not self._inflight.connections

    @staticmethod
    async def _until(done: Callable[[], bool], deadline: float, hurried: Callable[[], bool]) -> None:
        while not done() and not hurried() and perf_counter() < deadline:
            await asyncio.sleep(0.02)


# ldb [13]; jset #SYN, 0, 1; ret #0; ret #-1: of what arrives, drop what begins a connection.
_DROP_SYN = struct.pack("HBBI" * 4, 0x30, 0, 0, 13, 0x45, 0, 1, 0x02, 0x06, 0, 0, 0, 0x06, 0, 0, 0xFFFFFFFF)
_SO_ATTACH_FILTER = 26


def _drop_new_connections(bound: socket.socket) -> None:
    """Have Linux connect no more clients to a socket; those that it has connected are not lost by its close.

    Clients ask again after a second, and are refused then. Elsewhere a client may be connected at the very moment of
    the close, and is reset. Source: Linux, Documentation/networking/filter.rst.
    """
    if sys.platform == "linux":
        import ctypes

        program = ctypes.create_string_buffer(_DROP_SYN)
        with contextlib.suppress(OSError):
            bound.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", 4, ctypes.addressof(program)))


def _unaccepted(bound: socket.socket) -> Iterator[socket.socket]:
    """Yield the clients that the kernel has connected and nobody has accepted."""
    bound.setblocking(False)
    with contextlib.suppress(OSError):
        while True:
            client, _ = bound.accept()
            client.setblocking(False)
            yield client

"""Runs the application on uvicorn: one process from its first model to its last answer."""

import asyncio
import contextlib
import gc
import logging
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from time import perf_counter
from types import FrameType

import uvicorn

from cnnkit.errors import ServerError
from cnnkit.serving import logs
from cnnkit.serving.app import App
from cnnkit.serving.holding import Holding
from cnnkit.serving.protocol import Connection
from cnnkit.serving.settings import ModelSource, Settings
from cnnkit.serving.signals import handling

NOTICE_SECONDS = 1.0
"""Between the readiness that is withdrawn and the door that is closed: load balancers look now and then only."""
_LINGER_SECONDS = 0.05
"""For what clients sent before they could see that the door is closed."""
_KEEP_ALIVE_SECONDS = 75
"""Longer than load balancers keep a connection: whoever closes it first must not be the one that is sent requests."""
_SWITCH_SECONDS = 0.0005
"""Python's own 5 ms would keep the event loop waiting while a batch is decoded."""

_log = logging.getLogger(logs.LOGGER)


def run(sources: Sequence[ModelSource], settings: Settings) -> None:
    """Serve models in one process or several until a signal ends it.

    Raises:
        CnnkitError: a model cannot be served, the address cannot be used, or workers die.
    """
    with bind(settings) as door:
        address = _address(door)
        if settings.workers == 1:
            serve(sources, settings, door, lambda app: _announce(address, sources, engines=app.engines))
            return
        from cnnkit.serving.workers import Workers

        Workers(sources, settings, door, lambda: _announce(address, sources, workers=settings.workers)).run()


def _address(door: socket.socket) -> str:
    host, port = door.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _announce(address: str, sources: Sequence[ModelSource], **extra: object) -> None:
    names = ", ".join(source.name for source in sources)
    _log.info("serving %s at %s", names, address, extra={"event": "serving", "url": address, **extra})


def bind(settings: Settings) -> socket.socket:
    """Return a socket at the server's address that nobody can connect to yet.

    Raises:
        ServerError: the address cannot be used.
    """
    try:
        kind, _, _, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        door = socket.socket(kind)
        try:
            if sys.platform != "win32":  # there it would let two servers share the port
                door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            door.bind(address)
        except OSError:
            door.close()
            raise
    except OSError as error:
        raise ServerError(
            f"cannot listen on {settings.host} port {settings.port}: {error.strerror or error}. "
            "Choose another with --host and --port; --port 0 takes a free one."
        ) from error
    return door


def serve(
    sources: Sequence[ModelSource], settings: Settings, door: socket.socket, started: Callable[[App], None]
) -> None:
    """Open the models and answer requests until a signal ends it.

    Args:
        sources: models.
        settings: as they are.
        door: a bound socket; closed at the end.
        started: called once requests are answered.

    Raises:
        CnnkitError: a model cannot be served.
    """
    _raise_file_limit()
    sys.setswitchinterval(_SWITCH_SECONDS)
    app = App(sources, settings)
    app.open()
    # What is loaded now stays; looking through all of it for garbage would hold requests up for some milliseconds.
    gc.collect()
    gc.freeze()
    config = uvicorn.Config(
        app,
        http=partial(Connection, settings=settings, served=app, holding=Holding()),  # type: ignore[arg-type]
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
    )
    Server(config, app, settings, started).run([door])


def _raise_file_limit() -> None:
    """Let the process have as many connections as the system allows it; the usual default is about a thousand."""
    if sys.platform != "win32":
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


class Server(uvicorn.Server):
    """uvicorn's server, which here says first that it will stop, then closes the door, and then finishes its work."""

    def __init__(self, config: uvicorn.Config, app: App, settings: Settings, started: Callable[[App], None]) -> None:
        super().__init__(config)
        self._say_started = started
        self._app = app
        self._settings = settings
        self._signal = 0

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop when asked to; a server that has drained has done its job, and ends with 0."""
        with handling(self.handle_exit):
            yield

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Withdraw readiness at once; a second Ctrl-C does not wait any more."""
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True
        self._app.stopping = True
        self._signal = sig

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the door, and say so.

        Raises:
            ServerError: another server was quicker.
        """
        for each in sockets or []:
            try:
                each.listen(self.config.backlog)  # uvloop would not say that it cannot
            except OSError as error:
                raise ServerError(f"cannot listen: {error.strerror or error}. Choose another --port.") from error
        await super().startup(sockets)
        self._say_started(self._app)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the door, answer what is inside, and close the models."""
        deadline = perf_counter() + self._settings.drain_seconds
        _log.info("stopping", extra={"event": "stopping", "waiting": self._app.waiting})
        if self._signal != signal.SIGINT:  # somebody at a terminal balances no load
            await self._until(lambda: False, min(deadline, perf_counter() + NOTICE_SECONDS))
        # Whoever has connected already is inside; closing the door in the same breath leaves nobody between the two.
        accepted = [client for each in sockets or [] for client in _waiting_outside(each)]
        for server in self.servers:
            server.close()
        for each in sockets or []:
            each.close()
        loop = asyncio.get_running_loop()
        for client in accepted:
            await loop.connect_accepted_socket(self._connection, client)
        await asyncio.sleep(_LINGER_SECONDS)
        for connection in list(self.server_state.connections):
            connection.shutdown()
        await self._until(self._is_empty, deadline)
        if not self._is_empty():
            self._app.refuse_waiting()
            await self._until(self._is_empty, perf_counter() + 1)
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await self.lifespan.shutdown()
        _log.info("stopped", extra={"event": "stopped"})

    def _connection(self) -> asyncio.Protocol:
        return self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )

    def _is_empty(self) -> bool:
        return not self.server_state.connections and not self.server_state.tasks

    async def _until(self, done: Callable[[], bool], deadline: float) -> None:
        while not done() and not self.force_exit and perf_counter() < deadline:
            await asyncio.sleep(0.02)


def _waiting_outside(door: socket.socket) -> Iterator[socket.socket]:
    """Yield the clients that the kernel has let in and nobody has accepted."""
    door.setblocking(False)
    with contextlib.suppress(OSError):
        while True:
            client, _ = door.accept()
            client.setblocking(False)
            yield client

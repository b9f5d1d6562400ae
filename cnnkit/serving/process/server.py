"""One server process, from its first model to its last response."""

import asyncio
import contextlib
import gc
import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from time import perf_counter
from types import FrameType

from cnnkit.runtime import guard
from cnnkit.serving.app import App
from cnnkit.serving.http.listener import Listener, bind
from cnnkit.serving.process import logs
from cnnkit.serving.process.signals import handling
from cnnkit.serving.process.workers import Workers
from cnnkit.serving.settings import ModelSource, Settings

NOTICE_SECONDS = 1.0
"""Between the readiness that is withdrawn and the last accepted connection: load balancers look now and then only."""
_SWITCH_SECONDS = 0.0005
"""Python's own 5 ms would keep the event loop waiting while a batch is decoded."""
_THREADS_SECONDS = 0.3
"""For threads to end once everything is answered."""

_log = logging.getLogger(logs.LOGGER)


def run(sources: Sequence[ModelSource], settings: Settings) -> None:
    """Serve models in one process or several until a signal ends it.

    Where a thread is stuck in the end, in an image or a network, the process ends without it: with exit code 0, as
    everything was answered.

    Raises:
        CnnkitError: a model cannot be served, the address cannot be used, or workers die.
    """
    with bind(settings.host, settings.port) as bound:
        host, port = bound.getsockname()[:2]
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        names = ", ".join(source.name for source in sources)

        def announce(**extra: object) -> None:
            _log.info("serving %s at %s", names, url, extra={"event": "serving", "url": url, **extra})

        if settings.workers == 1:
            serve(sources, settings, bound, lambda app: announce(engines=app.engines))
        else:
            Workers(serve, sources, settings, bound, lambda: announce(workers=settings.workers)).run()


def serve(
    sources: Sequence[ModelSource], settings: Settings, bound: socket.socket, started: Callable[[App], None]
) -> None:
    """Open the models and answer requests until a signal ends it.

    Args:
        sources: models.
        settings: as they are.
        bound: a socket that does not listen yet; closed at the end.
        started: called once requests are answered.

    Raises:
        CnnkitError: a model cannot be served.
    """
    _raise_file_limit()
    sys.setswitchinterval(_SWITCH_SECONDS)
    app = App(sources, settings, str(bound.getsockname()[0]))
    app.open()
    # What is loaded now stays; looking through all of it for garbage would hold requests up for some milliseconds.
    gc.collect()
    gc.freeze()
    _trim_memory()
    loop = _new_loop()
    try:
        # Not `asyncio.run`, which would wait for threads however long they take.
        loop.run_until_complete(_Serving(app, settings, bound).until_stopped(started))
    finally:
        loop.close()
    _end_threads()
    guard.allow()  # the program may go on without the server


def _new_loop() -> asyncio.AbstractEventLoop:
    if sys.platform == "win32":
        return asyncio.new_event_loop()
    import uvloop

    return uvloop.new_event_loop()


def _raise_file_limit() -> None:
    """Let the process have as many connections as the system allows it; the usual default is about a thousand."""
    if sys.platform != "win32":
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _trim_memory() -> None:
    """Give the system back what opening the models took: glibc would keep it."""
    if sys.platform == "linux":
        import ctypes

        with contextlib.suppress(AttributeError, OSError):  # another C library
            ctypes.CDLL(None).malloc_trim(0)


def _end_threads() -> None:
    """End the process where a thread or a child does not end by itself."""
    deadline = perf_counter() + _THREADS_SECONDS
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join(max(0.0, deadline - perf_counter()))
            if thread.is_alive():
                for child in multiprocessing.active_children():
                    child.kill()
                logging.shutdown()
                os._exit(0)


class _Serving:
    """The event loop's part of a server."""

    def __init__(self, app: App, settings: Settings, bound: socket.socket) -> None:
        self._app = app
        self._settings = settings
        self._bound = bound
        self._stop = asyncio.Event()
        self._signal = 0
        self._hurried = False

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        """Stop; a second Ctrl-C does not wait any more."""
        self._hurried = bool(self._signal) and number == signal.SIGINT
        self._signal = number
        self._app.inflight.draining = True
        self._loop.call_soon_threadsafe(self._stop.set)

    async def until_stopped(self, started: Callable[[App], None]) -> None:
        """Answer requests until a signal comes and everything that was accepted is answered."""
        self._loop = asyncio.get_running_loop()
        listener = Listener(self._bound, self._app, self._app.inflight, self._settings.receive_seconds)
        with handling(self._on_signal):
            chores = self._app.start()
            await listener.open()
            started(self._app)
            await self._stop.wait()
            _log.info("stopping", extra={"event": "stopping", "waiting": self._app.waiting})
            self._app.repository.stop_loading()
            # Somebody at a terminal balances no load.
            notice = 0.0 if self._signal == signal.SIGINT else NOTICE_SECONDS
            deadline = perf_counter() + self._settings.drain_seconds
            await listener.drain(notice, deadline, lambda: self._hurried)
            for chore in chores:
                chore.cancel()
            await asyncio.gather(*chores, return_exceptions=True)
            self._app.close()
        _log.info("stopped", extra={"event": "stopped"})

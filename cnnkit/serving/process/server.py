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
from cnnkit.serving.process.workers import Workers, handling
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

        def announce(app: App | None = None) -> None:
            batchers = app.repository.batchers.values() if app is not None else ()
            engines = ", ".join(sorted({batcher.model.classifier.engine for batcher in batchers}))
            how = {"engines": engines} if engines else {"workers": settings.workers}
            _log.info("serving %s at %s", names, url, extra={"event": "serving", "url": url, **how})

        if settings.workers == 1:
            serve(sources, settings, bound, announce)
        else:
            Workers(serve, sources, settings, bound, announce).run()


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
        loop.run_until_complete(_until_stopped(app, settings, bound, started))
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


async def _until_stopped(app: App, settings: Settings, bound: socket.socket, started: Callable[[App], None]) -> None:
    """Answer requests until a signal is sent and everything that was accepted is answered."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    signals: list[int] = []

    def on_signal(number: int, _: FrameType | None) -> None:
        signals.append(number)
        app.inflight.draining = True
        loop.call_soon_threadsafe(stop.set)

    def is_hurried() -> bool:
        return len(signals) > 1 and signals[-1] == signal.SIGINT  # the second Ctrl-C of somebody who waits no longer

    listener = Listener(bound, app, app.inflight, settings.receive_seconds)
    with handling(on_signal):
        chores = app.start()
        await listener.open()
        started(app)
        await stop.wait()
        waiting = sum(batcher.in_flight for batcher in app.repository.batchers.values())
        _log.info("stopping", extra={"event": "stopping", "waiting": waiting})
        app.repository.stop_loading()
        # Somebody at a terminal balances no load.
        notice = 0.0 if signals[-1] == signal.SIGINT else NOTICE_SECONDS
        await listener.drain(notice, perf_counter() + settings.drain_seconds, is_hurried)
        for chore in chores:
            chore.cancel()
        await asyncio.gather(*chores, return_exceptions=True)
        app.close()
    _log.info("stopped", extra={"event": "stopped"})

"""Several processes behind one port, and the one that looks after them."""

import logging
import multiprocessing
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from threading import Thread
from time import monotonic
from types import FrameType
from typing import Any

from cnnkit.errors import CnnkitError, ServerError
from cnnkit.serving.metrics import SHARED_FOLDER, forget
from cnnkit.serving.process import logs
from cnnkit.serving.settings import ModelSource, Settings

_SOON = 5.0
"""Seconds: a worker that dies sooner after its start would die again; the next one is started a second later."""
_STOPPING = ("SIGINT", "SIGTERM", "SIGBREAK" if sys.platform == "win32" else "SIGHUP")
_GRACE = 0.8
"""Seconds after --drain-seconds; a worker that is still there is killed."""
_NEVER = float("inf")

_log = logging.getLogger(logs.LOGGER)
_spawn = multiprocessing.get_context("spawn")

Serve = Callable[[Sequence[ModelSource], Settings, socket.socket, Callable[[Any], None]], None]


@dataclass
class _Worker:
    process: SpawnProcess
    news: Connection
    since: float = 0.0
    """When it began to serve; 0 before that."""


class Workers:
    """Starts workers, starts others in place of those that die, and stops them all."""

    def __init__(
        self, serve: Serve, sources: Sequence[ModelSource], settings: Settings, bound: socket.socket,
        started: Callable[[], None],
    ) -> None:  # fmt: skip
        self._serve, self._sources, self._settings = serve, list(sources), settings
        self._socket, self._started = bound, started
        self._workers: list[_Worker] = []
        self._served = False
        self._next_start = 0.0
        self._last_moment = _NEVER

    def run(self) -> None:
        """Serve until a signal ends it, or raise ServerError: workers cannot start."""
        try:
            folder = tempfile.TemporaryDirectory(prefix="cnnkit-", ignore_cleanup_errors=True)
        except OSError as error:
            raise ServerError(f"workers share a temporary folder, and none can be made: {error.strerror}.") from error
        with folder as name, handling(self._on_signal):
            self._settings = replace(self._settings, shared=Path(name))
            os.environ[SHARED_FOLDER] = name
            try:
                while self._workers or not self._stopping:
                    self._look()
            finally:
                self._each(SpawnProcess.terminate)
                for worker in self._workers:
                    worker.process.join(self._settings.drain_seconds + _GRACE)
                self._each(SpawnProcess.kill)

    @property
    def _stopping(self) -> bool:
        return self._last_moment < _NEVER

    def _each(self, do: Callable[[SpawnProcess], None]) -> None:
        for worker in self._workers:
            do(worker.process)

    def _start(self) -> None:
        news, theirs = _spawn.Pipe(duplex=False)
        arguments = (self._serve, self._sources, self._settings, self._socket, theirs)
        process = _spawn.Process(target=_work, args=arguments)
        with _held_interrupts():
            process.start()
        theirs.close()
        self._workers.append(_Worker(process, news))
        if self._stopping:  # the signal that was sent meanwhile did not reach it
            process.terminate()

    def _look(self) -> None:
        """Start the workers that are missing, and wait for news of the others: one serves, one cannot, one is dead."""
        while len(self._workers) < self._settings.workers and monotonic() >= self._next_start and not self._stopping:
            self._start()
        waited = [worker.news for worker in self._workers if not worker.since]
        wait([*waited, *(worker.process.sentinel for worker in self._workers)], timeout=0.1 if self._stopping else 0.5)
        for worker in list(self._workers):
            if not worker.since and worker.news.poll():
                self._hear(worker)
            if not worker.process.is_alive():
                self._bury(worker)
        if self._stopping:
            self._socket.close()  # as long as one process has it open, clients are connected
        elif not self._served and all(worker.since for worker in self._workers):
            self._served = True
            self._started()
        if monotonic() > self._last_moment:
            self._each(SpawnProcess.kill)

    def _hear(self, worker: _Worker) -> None:
        with suppress(EOFError):  # it died before it could say anything
            problem = worker.news.recv()
            if not problem:
                worker.since = monotonic()
            elif self._served:
                _log.error("a worker cannot start: %s", problem, extra={"event": "worker-failed"})
            else:
                raise ServerError(problem)

    def _bury(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        worker.news.close()
        forget(worker.process.pid, self._settings.shared)
        if self._stopping:
            return
        code = worker.process.exitcode
        if not self._served:
            raise ServerError(f"a worker died as it started, with {code}. See its log lines.")
        extra = {"event": "worker-died", "pid": worker.process.pid, "exit": code}
        _log.error("a worker died; another takes its place", extra=extra)
        # Others serve on meanwhile, perhaps until somebody mends what keeps this one from starting.
        if monotonic() - worker.since < _SOON or not worker.since:
            self._next_start = monotonic() + 1

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        # The second Ctrl-C of somebody who does not want to wait.
        impatient = self._stopping and number == signal.SIGINT
        self._last_moment = min(self._last_moment, monotonic() + self._settings.drain_seconds + _GRACE)
        self._each(SpawnProcess.kill if impatient else SpawnProcess.terminate)


@contextmanager
def handling(stop: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Call `stop` for the signals that ask for it, but for those that the process was told to ignore, as by nohup."""
    before = {}
    for name in _STOPPING:
        number = getattr(signal, name)
        if signal.getsignal(number) != signal.SIG_IGN:
            before[number] = signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _held_interrupts() -> Iterator[None]:
    """Start a process that hears no Ctrl-C before it is ready for one; this one hears it a moment later."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(serve: Serve, sources: list[ModelSource], settings: Settings, bound: socket.socket, news: Connection) -> None:
    """Be a worker."""
    # A terminal sends Ctrl-C to all of its processes; here the one that looks after them passes it on.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logs.configure(settings.log_format)
    Thread(target=_follow_parent, daemon=True).start()

    def say(problem: str) -> None:
        news.send(problem)
        news.close()

    try:
        serve(sources, settings, bound, lambda _: say(""))
    except CnnkitError as error:
        say(str(error))
        sys.exit(1)


def _follow_parent() -> None:
    """End as SIGTERM would have it once nobody looks after this worker any more."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        signal.raise_signal(signal.SIGTERM)

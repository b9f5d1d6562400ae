"""Several processes behind one port, and whoever looks after them."""

import logging
import multiprocessing
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from threading import Thread
from time import monotonic
from types import FrameType

from cnnkit.errors import CnnkitError, ServerError
from cnnkit.serving import logs
from cnnkit.serving.metrics import SHARED_FOLDER
from cnnkit.serving.settings import ModelSource, Settings

_SOON = 5.0
"""Seconds: a worker that dies sooner after its start would die again."""
_MOST_DEATHS = 3

_log = logging.getLogger(logs.LOGGER)
_spawn = multiprocessing.get_context("spawn")


@dataclass
class _Worker:
    process: SpawnProcess
    news: Connection
    since: float
    serving: bool = False


class Workers:
    """Starts workers, starts others in place of those that die, and stops them all."""

    def __init__(
        self, sources: Sequence[ModelSource], settings: Settings, door: socket.socket, started: Callable[[], None]
    ) -> None:
        self._sources = list(sources)
        self._door = door
        self._say_started = started
        self._folder = Path(tempfile.mkdtemp(prefix="cnnkit-"))
        self._settings = replace(settings, reload_file=self._folder / "reload")
        self._workers: list[_Worker] = []
        self._deaths = 0
        self._stopping = False

    def run(self) -> None:
        """Serve until a signal ends it.

        Raises:
            ServerError: the workers cannot start, or die again and again.
        """
        kinds = [signal.SIGINT, signal.SIGTERM]
        before = {kind: signal.signal(kind, self._stop) for kind in kinds}
        try:
            for _ in range(self._settings.workers):
                if not self._stopping:
                    self._start()
            said = False
            while self._workers:
                self._look()
                if self._stopping:
                    self._door.close()  # with this one open, clients would wait behind doors that workers have closed
                if not said and all(worker.serving for worker in self._workers) and not self._stopping:
                    said = True
                    self._say_started()
        except BaseException:
            self._stop(signal.SIGTERM, None)
            raise
        finally:
            for worker in self._workers:
                worker.process.join()
            self._door.close()
            shutil.rmtree(self._folder, ignore_errors=True)
            for kind, handler in before.items():
                signal.signal(kind, handler)

    def _start(self) -> None:
        news, theirs = _spawn.Pipe(duplex=False)
        os.environ[SHARED_FOLDER] = str(self._folder)
        process = _spawn.Process(target=_work, args=(self._sources, self._settings, self._door, theirs))
        with _held_interrupts():
            process.start()
        theirs.close()
        self._workers.append(_Worker(process, news, monotonic()))
        if self._stopping:  # since the process started, so that it was not told
            self._stop(signal.SIGTERM, None)

    def _look(self) -> None:
        """Wait for news of the workers: one serves, one cannot, one is dead."""
        waited = [worker.news for worker in self._workers if not worker.serving]
        wait([*waited, *(worker.process.sentinel for worker in self._workers)], timeout=0.5)
        for worker in list(self._workers):
            if not worker.serving and worker.news.poll():
                self._hear(worker)
            if not worker.process.is_alive():
                self._bury(worker)

    def _hear(self, worker: _Worker) -> None:
        try:
            problem = worker.news.recv()
        except EOFError:  # it died before it could say anything
            return
        if problem:
            raise ServerError(problem)
        worker.serving = True

    def _bury(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        worker.news.close()
        if worker.process.pid is not None:
            from prometheus_client.multiprocess import mark_process_dead

            mark_process_dead(worker.process.pid, str(self._folder))  # type: ignore[no-untyped-call]
        if self._stopping:
            return
        code = worker.process.exitcode
        extra = {"event": "worker-died", "pid": worker.process.pid, "exit": code}
        _log.error("a worker died; another takes its place", extra=extra)
        self._deaths = self._deaths + 1 if monotonic() - worker.since < _SOON else 0
        if self._deaths >= _MOST_DEATHS:
            raise ServerError(
                f"workers die as soon as they serve; the last one ended with {code}. See their log lines."
            )
        self._start()

    def _stop(self, number: int, _: FrameType | None) -> None:
        self._stopping = True
        for worker in self._workers:
            if worker.process.pid is not None and worker.process.is_alive():
                os.kill(worker.process.pid, number)


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


def _leave_terminal() -> None:
    """Hear Ctrl-C from the parent alone, which passes it on: a second one from the terminal would mean not to wait."""
    if sys.platform != "win32":
        os.setpgrp()
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # until it serves there is nothing to finish
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _follow_parent() -> None:
    """End as SIGTERM would have it once nobody looks after this worker any more."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        signal.raise_signal(signal.SIGTERM)


def _work(sources: list[ModelSource], settings: Settings, door: socket.socket, news: Connection) -> None:
    """Be a worker."""
    _leave_terminal()
    from cnnkit.serving.server import serve

    logs.configure(settings.log_format)
    Thread(target=_follow_parent, daemon=True).start()

    def say(problem: str) -> None:
        news.send(problem)
        news.close()

    try:
        serve(sources, settings, door, lambda _: say(""))
    except CnnkitError as error:
        say(str(error))
        sys.exit(1)

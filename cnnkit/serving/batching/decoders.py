"""Decoding of the images that a batch does not wait for."""

import asyncio
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

from cnnkit.decoding import children
from cnnkit.errors import CostlyImageError
from cnnkit.runtime.hardware import usable_cores
from cnnkit.serving.batching.instance import ModelInstance
from cnnkit.serving.batching.job import Job
from cnnkit.serving.http.errors import busy

_NICE = 10
"""Of the threads: lower than the event loop's priority, and higher than that of the processes."""
_MOST_APART = 16
"""Images that may wait for a process with limits: each takes a second or more."""


class Decoders:
    """Threads that decode the images which a batch does not wait for.

    Attributes:
        threads: for ordinary images; the caller may use them for other work.
    """

    def __init__(self) -> None:
        self.threads = ThreadPoolExecutor(usable_cores(), "decoders", _give_way)
        # Each waits for a process, so that images which take long do not hold up the ordinary ones.
        self._apart = ThreadPoolExecutor(children.count(), "decoders-apart")
        self._waiting = 0

    async def decode(self, model: ModelInstance, job: Job) -> None:
        """Decode the image of a job, or raise HttpError, ImageError."""
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self.threads, model.decode, job)
        except CostlyImageError:
            if self._waiting >= _MOST_APART:
                raise busy(
                    "decoders-full", "too many images that take long to decode are waiting. Try again."
                ) from None
            self._waiting += 1
            try:
                await loop.run_in_executor(self._apart, partial(model.decode, job, apart=True))
            finally:
                self._waiting -= 1

    def close(self) -> None:
        """Let all threads end: what is decoded in other processes is given up."""
        for pool in (self.threads, self._apart):
            pool.shutdown(wait=False, cancel_futures=True)
        children.close()


def _give_way() -> None:
    """Let the event loop go first where it and this thread want a processor; Linux has a priority for each thread."""
    if sys.platform == "linux":
        with suppress(OSError):  # a lower one is set for the process
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)

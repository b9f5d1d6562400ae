"""Requests that wait for their answer: their deadlines, and whether their clients are still there."""

import asyncio
from time import perf_counter

from cnnkit.serving.batching import Job
from cnnkit.serving.problems import Problem, late
from cnnkit.serving.receiving import ClientGoneError, Receive

TICK_SECONDS = 0.1
_WATCHED_AFTER = 0.05
"""Most requests are answered sooner; listening to their connections would cost more than it could save."""


class WaitingRoom:
    """All jobs whose requests wait; one timer serves them all."""

    def __init__(self) -> None:
        self._jobs: dict[Job, tuple[float, float, Receive]] = {}
        self._listening: dict[Job, asyncio.Task[None]] = {}

    async def answer(self, job: Job, receive: Receive, seconds: float) -> None:
        """Wait for a job.

        Raises:
            ClientGoneError: the client closed the connection.
            Problem: 503; the deadline is over.
        """
        now = perf_counter()
        self._jobs[job] = (now, now + seconds, receive)
        try:
            await job.done
        finally:
            del self._jobs[job]
            if (listening := self._listening.pop(job, None)) is not None:
                listening.cancel()

    async def keep(self) -> None:
        """Look after the deadlines and the clients, for ever."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            now = perf_counter()
            for job, (since, deadline, receive) in list(self._jobs.items()):
                if now >= deadline:
                    _fail(job, late(deadline - since))
                elif job not in self._listening and now - since >= _WATCHED_AFTER:
                    self._listening[job] = asyncio.create_task(_listen(job, receive))

    def refuse_all(self, problem: Problem) -> None:
        """Answer all requests that still wait with an error."""
        for job in self._jobs:
            _fail(job, problem)

    def __len__(self) -> int:
        return len(self._jobs)


async def _listen(job: Job, receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    _fail(job, ClientGoneError())


def _fail(job: Job, error: Exception) -> None:
    if not job.done.done():
        job.done.set_exception(error)

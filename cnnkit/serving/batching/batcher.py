"""Dynamic batching: requests that wait for a model go through it together.

All of a `Batcher` runs on the event loop, but for batches that would hold it up: those have a thread. A request is in
flight from its admission to its response, whether it waits or is being worked on; one whose client leaves no longer is.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from time import perf_counter

from cnnkit.errors import CostlyImageError
from cnnkit.serving.batching.decoders import Decoders
from cnnkit.serving.batching.instance import ModelInstance
from cnnkit.serving.batching.job import Job
from cnnkit.serving.batching.statistics import Statistics
from cnnkit.serving.http.errors import HttpError, busy
from cnnkit.serving.metrics import Metrics
from cnnkit.serving.settings import Settings

_LARGE_IMAGE = 2**16
"""Bytes of a file: more are decoded before they join a batch, which would wait until they are looked at."""


class Batcher:
    """The queue before one model.

    Attributes:
        model: that the next batch goes through; may be replaced at any time.
        statistics: of the model.
        in_flight: requests that are not answered yet.
    """

    def __init__(self, model: ModelInstance, settings: Settings, metrics: Metrics, decoders: Decoders) -> None:
        self.model = model
        self.in_flight = 0
        self.statistics = Statistics()
        self._settings = settings
        self._metrics = metrics
        self._decoders = decoders
        # Their order is that of admission; any may leave.
        self._waiting: OrderedDict[Job, None] = OrderedDict()
        self._rows = 0
        # A second thread decodes for a GPU while that computes; on a CPU the two would only take turns.
        self._idle = model.instances
        self._threads = ThreadPoolExecutor(thread_name_prefix=f"{model.name}-batches")
        self._timer: asyncio.Handle | None = None
        self._loop = asyncio.get_running_loop()

    def replace(self, model: ModelInstance) -> None:
        """Let the next batch go through another version; the one that is under way finishes with the old one."""
        # Below 0 where those under way are more than the new version takes at a time.
        self._idle += model.instances - self.model.instances
        self.model = model
        self.statistics = Statistics()

    def require_room(self) -> None:
        """Make sure that another request would be admitted; else HttpError 503."""
        if self.in_flight >= self._settings.queue_size:
            said = f"{self.model.name} has as many requests waiting as it takes, {self.in_flight}. Try again."
            raise busy("queue-full", said)

    def require_version(self, version: str) -> None:
        """Make sure that a version, where one is named, is the one that serves; else HttpError 404."""
        serving = str(self.model.version)
        if version and version != serving:
            said = f"{self.model.name} has no version {version[:40]!r}; version {serving} serves."
            raise HttpError(404, "unknown-version", said)

    @contextmanager
    def another(self) -> Iterator[None]:
        """Count a request that has its answer and needs more work."""
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1

    async def run(self, job: Job) -> ModelInstance:
        """Run a job in a batch, and return the model instance that it went through, or raise HttpError 503."""
        self.submit(job)
        instance: ModelInstance = await job.done
        return instance

    def submit(self, job: Job) -> None:
        """Admit a job, whose future resolves once its batch is through; or raise HttpError 503."""
        self.require_room()
        self.in_flight += 1
        job.done.add_done_callback(lambda _: self._leave(job))
        if job.image is not None and len(job.image) > _LARGE_IMAGE:
            self._decode_beside(self.model, job)
        else:
            self._enqueue(job)

    def _leave(self, job: Job) -> None:
        self.in_flight -= 1
        if job in self._waiting:
            del self._waiting[job]
            self._rows -= len(job)
            job.image = job.inputs = None
        elif job.decoding:
            job.image = None  # the decoders have more to do than to look at it soon

    def _enqueue(self, job: Job) -> None:
        self._waiting[job] = None
        self._rows += len(job)
        if self._idle > 0 and (self._timer is None or self._rows >= self._settings.max_batch):
            # Not at once: what else this turn of the event loop brings goes along.
            self._dispatch_after(0)

    def _dispatch_after(self, seconds: float) -> None:
        self._stop_timer()
        self._timer = (
            self._loop.call_later(seconds, self._dispatch) if seconds > 0 else self._loop.call_soon(self._dispatch)
        )

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _dispatch(self) -> None:
        self._stop_timer()
        while self._idle > 0 and self._waiting:
            oldest = next(iter(self._waiting))
            rest = oldest.admitted + self._settings.max_delay_ms / 1000 - perf_counter()
            if rest > 0 and self._rows < self._settings.max_batch:
                self._dispatch_after(rest)
                return
            batch: list[Job] = []
            rows = 0
            while self._waiting and (not batch or rows + len(next(iter(self._waiting))) <= self._settings.max_batch):
                batch.append(self._waiting.popitem(last=False)[0])
                rows += len(batch[-1])
            self._rows -= rows
            self._idle -= 1
            if self.model.is_quick:  # the way to a thread and back would cost more than the batch
                self._work(self.model, batch)
            else:
                self._threads.submit(self._work, self.model, batch)

    def _work(self, model: ModelInstance, batch: list[Job]) -> None:
        started = perf_counter()
        for job in batch:
            job.timings.queue += started - job.admitted
        try:
            outcomes = model.run(batch)
        except Exception as error:  # whatever it is, the clients must hear of it
            outcomes = [error] * len(batch)
        self._loop.call_soon_threadsafe(self._finish, model, batch, outcomes)

    def _finish(self, model: ModelInstance, batch: list[Job], outcomes: list[Exception | None]) -> None:
        self._idle += 1
        rows = 0
        for job, error in zip(batch, outcomes, strict=True):
            if job.done.done():
                continue  # its client left
            if error is None:
                rows += len(job)
                job.done.set_result(model)
            elif isinstance(error, CostlyImageError):
                self._decode_beside(model, job)
            else:
                job.done.set_exception(error)
        if rows:
            timings = batch[0].timings
            self._metrics.batch(model.name, rows, timings)
            if model is self.model:
                self.statistics.batch(rows, timings)
        self._dispatch_after(0)  # once the answers to this one are on their way

    def _decode_beside(self, model: ModelInstance, job: Job) -> None:
        job.decoding = True
        self._loop.create_task(self._decode(model, job))

    async def _decode(self, model: ModelInstance, job: Job) -> None:
        """Decode an image beside the batches, and let it wait for one."""
        started = perf_counter()
        try:
            await self._decoders.decode(model, job)
        except Exception as error:
            if not job.done.done():
                job.done.set_exception(error)
            return
        finally:
            job.decoding = False
        if not job.done.done():
            job.admitted = perf_counter()
            job.timings.before = job.admitted - started
            self._enqueue(job)

    def close(self) -> None:
        """Let the threads end once they are through with what they have."""
        self._threads.shutdown(wait=False)

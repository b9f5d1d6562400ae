"""Dynamic batching: requests that wait for a model go through it together.

All of a `Batcher` but `_work` runs on the event loop. A request takes a place in the queue from its admission to its
answer, whether it waits or is being worked on; one whose client leaves gives its place back at once.
"""

import asyncio
from collections import OrderedDict
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cnnkit.decoding import children
from cnnkit.errors import CostlyImageError
from cnnkit.images import Prepared, Preprocessing
from cnnkit.runtime.hardware import usable_cores
from cnnkit.serving.problems import Problem, busy
from cnnkit.serving.statistics import Statistics

if TYPE_CHECKING:
    from cnnkit.serving.metrics import Metrics
    from cnnkit.serving.served import ServedModel
    from cnnkit.serving.settings import Settings


_MOST_APART = 16
"""Images that may wait for a process with limits: each takes a second or more."""


class Decoders:
    """Threads that decode the images which a batch does not wait for.

    Attributes:
        threads: for ordinary images; the caller may use them for other work.
    """

    def __init__(self) -> None:
        self.threads: Executor = ThreadPoolExecutor(usable_cores(), "decoders")
        # Each waits for a process, so that images which take long do not hold up the ordinary ones.
        self._apart = ThreadPoolExecutor(children.count(), "decoders-apart")
        self._waiting = 0

    async def decode(self, model: "ServedModel", job: "Job") -> None:
        """Decode the image of a job.

        Raises:
            Problem: 503; too many wait already.
            ImageError: it is not acceptable.
        """
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


@dataclass(slots=True)
class Timings:
    """How long the stages of a request took, in seconds; decoding and inference are those of its batch."""

    queue: float = 0.0
    decode: float = 0.0
    inference: float = 0.0


@dataclass(slots=True, eq=False)
class Job:
    """One request's share of a batch.

    Attributes:
        done: resolves once it is done, or raises.
        image: an image file, or None.
        inputs: or what the graph takes, [n, …].
        outputs: by name, that are wanted.
        admitted: since when it waits, by `perf_counter`.
        timings: complete once it is done.
        form: that the image is prepared for, None before.
        decoding: the image takes long, and waits for a decoder or has one.
        prepared: the image, as the network takes it.
        rows: once it is done, of the outputs by name, each [n, …].
        probabilities: of an image, [classes].
        batch: images in the batch that it was in.
        model: that answered it.
    """

    done: "asyncio.Future[None]"  # not the job, which would hold itself
    outputs: tuple[str, ...]
    image: bytes | None = None
    inputs: NDArray[Any] | None = None
    admitted: float = field(default_factory=perf_counter)
    timings: Timings = field(default_factory=Timings)
    form: Preprocessing | None = None
    decoding: bool = False
    prepared: Prepared = field(init=False)
    rows: dict[str, NDArray[Any]] = field(init=False)
    probabilities: NDArray[np.float64] = field(init=False)
    batch: int = field(init=False)
    model: "ServedModel" = field(init=False)

    def __len__(self) -> int:
        return 1 if self.inputs is None else len(self.inputs)


class Batcher:
    """The queue before one model.

    Attributes:
        model: that the next batch goes through; may be replaced at any time.
        statistics: of the model.
        places: taken by requests that are not answered yet.
    """

    def __init__(self, model: "ServedModel", settings: "Settings", metrics: "Metrics", decoders: Decoders) -> None:
        self.model = model
        self.places = 0
        self.statistics = Statistics()
        self._settings = settings
        self._metrics = metrics
        self._decoders = decoders
        # Their order is that of admission; any may leave.
        self._waiting: OrderedDict[Job, None] = OrderedDict()
        self._rows = 0
        # A second thread decodes for a GPU while that computes; on a CPU the two would only take turns.
        self._idle = model.streams
        self._threads = ThreadPoolExecutor(thread_name_prefix=f"{model.name}-batches")
        self._timer: asyncio.Handle | None = None
        self._loop = asyncio.get_running_loop()

    def replace(self, model: "ServedModel") -> None:
        """Let the next batch go through another version; the one that is under way finishes with the old one."""
        # Below 0 where those under way are more than the new version takes at a time.
        self._idle += model.streams - self.model.streams
        self.model = model
        self.statistics = Statistics()

    @property
    def is_full(self) -> bool:
        """Whether another request would be refused."""
        return self.places >= self._settings.queue_size

    def require_place(self) -> None:
        """Make sure that another request would be admitted.

        Raises:
            Problem: 503; it would not.
        """
        if self.is_full:
            raise self.refusal()

    def refusal(self) -> Problem:
        """Return what a request is told that is not admitted."""
        message = f"{self.model.name} has as many requests waiting as it takes, {self.places}. Try again."
        return busy("queue-full", message)

    def submit(self, job: Job) -> None:
        """Admit a job; its future resolves once its batch is through.

        Raises:
            Problem: 503; the queue is full.
        """
        self.require_place()
        self.places += 1
        job.done.add_done_callback(lambda _: self._leave(job))
        self._enqueue(job)

    def _leave(self, job: Job) -> None:
        self.places -= 1
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
            self._threads.submit(self._work, self.model, batch)

    def _work(self, model: "ServedModel", batch: list[Job]) -> None:
        started = perf_counter()
        for job in batch:
            job.timings.queue += started - job.admitted
        try:
            outcomes = model.run(batch)
        except Exception as error:  # whatever it is, the clients must hear of it
            outcomes = [error] * len(batch)
        self._loop.call_soon_threadsafe(self._finish, model, batch, outcomes)

    def _finish(self, model: "ServedModel", batch: list[Job], outcomes: "list[Exception | None]") -> None:
        self._idle += 1
        rows = 0
        for job, error in zip(batch, outcomes, strict=True):
            if job.done.done():
                continue  # its client left
            if error is None:
                rows += len(job)
                job.model = model
                job.done.set_result(None)
            elif isinstance(error, CostlyImageError):
                job.decoding = True
                self._loop.create_task(self._decode(model, job))
            else:
                job.done.set_exception(error)
        if rows:
            self._metrics.batch(model.name, batch[0].timings, rows)
            self.statistics.batch(rows, len(batch), batch[0].timings)
        self._dispatch()

    async def _decode(self, model: "ServedModel", job: Job) -> None:
        """Decode an image beside the batches, and let it wait again."""
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
            job.timings.decode = job.admitted - started
            self._enqueue(job)

    def close(self) -> None:
        """Let the threads end once they are through with what they have."""
        self._threads.shutdown(wait=False)

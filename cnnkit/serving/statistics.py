"""What a version of a model has done since it was loaded, for the statistics of the Open Inference Protocol."""

from dataclasses import dataclass, field
from time import time
from typing import TYPE_CHECKING

from cnnkit.serving.metadata import BatchTotals, ModelStatistics, Total

if TYPE_CHECKING:
    from cnnkit.serving.batching import Timings


@dataclass(slots=True)
class _Sum:
    count: int = 0
    seconds: float = 0.0

    def add(self, seconds: float, count: int = 1) -> None:
        self.count += count
        self.seconds += seconds

    def total(self) -> Total:
        return Total(self.count, round(self.seconds * 1e9))


@dataclass(slots=True)
class Statistics:
    """Sums over batches and requests."""

    _images: int = 0
    _last: float = 0.0
    _succeeded: _Sum = field(default_factory=_Sum)
    _failed: _Sum = field(default_factory=_Sum)
    _queue: _Sum = field(default_factory=_Sum)
    _batches: dict[int, tuple[_Sum, _Sum]] = field(default_factory=dict)

    def batch(self, images: int, requests: int, timings: "Timings") -> None:
        """Count a batch of so many images from so many requests, with the timings of its first one."""
        self._last = time()
        self._images += images
        self._queue.add(timings.queue * requests, requests)
        decode, inference = self._batches.setdefault(images, (_Sum(), _Sum()))
        decode.add(timings.decode)
        inference.add(timings.inference)

    def request(self, seconds: float, *, succeeded: bool) -> None:
        """Count a request that was answered, from its arrival on."""
        (self._succeeded if succeeded else self._failed).add(seconds)

    def snapshot(self, name: str, version: str) -> ModelStatistics:
        """Return the sums so far."""
        done = {size: BatchTotals(decode.total(), run.total()) for size, (decode, run) in self._batches.items()}
        return ModelStatistics(
            name,
            version,
            last_inference_ms=round(self._last * 1000),
            inference_count=self._images,
            execution_count=sum(totals.compute_infer.count for totals in done.values()),
            success=self._succeeded.total(),
            fail=self._failed.total(),
            queue=self._queue.total(),
            batches=done,
        )

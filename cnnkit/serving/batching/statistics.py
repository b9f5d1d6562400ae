"""What a version of a model has done since it was loaded: the statistics extension of NVIDIA's Triton Inference Server.

All counts of `inference_stats` are of requests and move together: a client may divide one sum by another's count.
Those of `batch_stats` are of batches.
"""

from dataclasses import dataclass, field
from time import time
from typing import Any

from cnnkit.serving.batching.job import Timings

_STAGES = ("compute_input", "compute_infer", "compute_output")


@dataclass(slots=True)
class _Sum:
    count: int = 0
    seconds: float = 0.0

    def add(self, seconds: float) -> None:
        self.count += 1
        self.seconds += seconds

    def document(self) -> dict[str, int]:
        return {"count": self.count, "ns": round(self.seconds * 1e9)}


def _sums(*names: str) -> dict[str, _Sum]:
    return {name: _Sum() for name in names}


@dataclass(slots=True)
class Statistics:
    """Sums over batches and requests."""

    _images: int = 0
    _last: float = 0.0
    _requests: dict[str, _Sum] = field(default_factory=lambda: _sums("success", "fail", "queue", *_STAGES))
    _batches: dict[int, dict[str, _Sum]] = field(default_factory=dict)

    def batch(self, images: int, timings: Timings) -> None:
        """Count a batch of so many images."""
        self._last = time()
        self._images += images
        _add(self._batches.setdefault(images, _sums(*_STAGES)), timings)

    def request(self, seconds: float, timings: Timings | None) -> None:
        """Count a request that was answered, from its arrival on; without timings it failed."""
        if timings is None:
            self._requests["fail"].add(seconds)
            return
        self._requests["success"].add(seconds)
        self._requests["queue"].add(timings.queue)
        self._requests["compute_input"].seconds += timings.before
        _add(self._requests, timings)

    def document(self, name: str, version: str) -> dict[str, Any]:
        """Return one entry of `model_stats`; there is no cache of responses, so nothing is ever found in it."""
        requests = {key: each.document() for key, each in (self._requests | _sums("cache_hit", "cache_miss")).items()}
        batches = [
            {"batch_size": size} | {stage: each.document() for stage, each in stages.items()}
            for size, stages in sorted(self._batches.items())
        ]
        return {
            "name": name,
            "version": version,
            "last_inference": round(self._last * 1000),
            "inference_count": self._images,
            "execution_count": sum(stages["compute_infer"].count for stages in self._batches.values()),
            "inference_stats": requests,
            "batch_stats": batches,
        }


def _add(sums: dict[str, _Sum], timings: Timings) -> None:
    sums["compute_input"].add(timings.decode)
    sums["compute_infer"].add(timings.inference)
    sums["compute_output"].add(0.0)  # a part of the inference

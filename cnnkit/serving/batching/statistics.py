"""What a version of a model has done since it was loaded: the statistics extension of NVIDIA's Triton Inference Server.

All counts of `inference_stats` are of requests and move together: a client may divide one sum by another's count.
Those of `batch_stats` are of batches.
"""

from time import time

from cnnkit.files import JsonObject
from cnnkit.serving.batching.job import Timings

_STAGES = ("compute_input", "compute_infer", "compute_output")
Sums = dict[str, dict[str, int]]


class Statistics:
    """Sums over batches and requests."""

    def __init__(self) -> None:
        self._images = 0
        self._last = 0.0
        # There is no cache of responses, so that nothing is ever found in one.
        self._requests = _sums("success", "fail", "queue", *_STAGES, "cache_hit", "cache_miss")
        self._batches: dict[int, Sums] = {}

    def batch(self, images: int, timings: Timings) -> None:
        """Count a batch of so many images."""
        self._last = time()
        self._images += images
        _add(self._batches.setdefault(images, _sums(*_STAGES)), timings.decode, timings.inference, 0.0)

    def request(self, seconds: float, timings: Timings | None) -> None:
        """Count a request that was answered, from its arrival on; without timings it failed."""
        if timings is None:
            _count(self._requests["fail"], seconds)
            return
        _count(self._requests["success"], seconds)
        _count(self._requests["queue"], timings.queue)
        _add(self._requests, timings.before + timings.decode, timings.inference, 0.0)

    def document(self, name: str, version: str) -> JsonObject:
        """Return one entry of `model_stats`."""
        return {
            "name": name,
            "version": version,
            "last_inference": round(self._last * 1000),
            "inference_count": self._images,
            "execution_count": sum(stages["compute_infer"]["count"] for stages in self._batches.values()),
            "inference_stats": self._requests,
            "batch_stats": [{"batch_size": size} | stages for size, stages in sorted(self._batches.items())],
        }


def _sums(*names: str) -> Sums:
    return {name: {"count": 0, "ns": 0} for name in names}


def _count(total: dict[str, int], seconds: float) -> None:
    total["count"] += 1
    total["ns"] += round(seconds * 1e9)


def _add(sums: Sums, *seconds: float) -> None:
    """Count the stages of a request or a batch; making the output is a part of the inference."""
    for stage, each in zip(_STAGES, seconds, strict=True):
        _count(sums[stage], each)

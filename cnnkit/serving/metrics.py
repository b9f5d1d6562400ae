"""What the server counts, as Prometheus reads it."""

import os
from functools import cache, partial
from pathlib import Path
from typing import Any

import prometheus_client as prometheus
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from cnnkit.serving.batching.job import Timings

Info = tuple[str, str, str, str]
"""Model, version, provider and precision."""

SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""The variable that tells prometheus_client, when it is imported, where several processes put their values."""

_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
_INFO = ("model", "version", "provider", "precision")
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Metrics:
    """Counters, gauges and histograms of one process; `render` has those of all workers."""

    def __init__(self) -> None:
        prometheus.disable_created_metrics()  # type: ignore[no-untyped-call]  # a series for each, that nobody reads
        registry = self._registry = CollectorRegistry()
        ProcessCollector(registry=registry)

        counter, histogram = partial(Counter, registry=registry), partial(Histogram, registry=registry)
        gauge = partial(Gauge, registry=registry)
        self._requests = counter("cnnkit_requests", "Requests answered.", ("endpoint", "model", "status"))
        self._refused = counter("cnnkit_refused", "Requests refused.", ("model", "reason"))
        self._left = counter("cnnkit_clients_left", "Clients that left before their answer.")
        self._loaded = counter("cnnkit_reloads", "Reloads.", ("model", "outcome"))
        said = "Requests that wait or are worked on."
        self._queue = gauge("cnnkit_queue_length", said, ("model",), multiprocess_mode="livesum")
        said = "1 for the version that serves, 0 for those before; with the provider that it really runs on."
        self._running = gauge("cnnkit_model_info", said, _INFO, multiprocess_mode="livemax")
        self._batches = histogram("cnnkit_batch_size", "Images in a batch.", ("model",), buckets=_SIZES)
        said = "Of a batch: waiting of its first request, decoding, inference; of a request that is served: total."
        self._stages = histogram("cnnkit_stage_seconds", said, ("model", "stage"), buckets=_SECONDS)
        # Looking a child up by its labels takes longer than counting.
        self._of: Any = cache(lambda metric, *labels: metric.labels(*labels))

    def answered(self, endpoint: str, model: str, status: int, seconds: float) -> None:
        """Count a request, and its time if it was served."""
        self._of(self._requests, endpoint, model, str(status)).inc()
        # Among refusals and probes, nobody could see how long an answer takes.
        if endpoint != "other" and status < 400:
            self._of(self._stages, model, "total").observe(seconds)

    def refused(self, model: str, reason: str) -> None:
        """Count a refusal."""
        self._of(self._refused, model, reason).inc()

    def left(self) -> None:
        """Count a client that left before its answer."""
        self._left.inc()

    def batch(self, model: str, images: int, timings: Timings) -> None:
        """Count a batch of so many images."""
        self._of(self._stages, model, "queue").observe(timings.queue)
        self._of(self._stages, model, "decode").observe(timings.decode)
        self._of(self._stages, model, "inference").observe(timings.inference)
        self._of(self._batches, model).observe(images)

    def queue(self, model: str, length: int) -> None:
        """Say how many requests a model has to answer."""
        self._of(self._queue, model).set(length)

    def reloaded(self, model: str, outcome: str) -> None:
        """Count a reload: `swapped` or `refused`."""
        self._of(self._loaded, model, outcome).inc()

    def serving(self, model: Info, before: Info | None = None) -> None:
        """Say which version of a model serves, and where it really runs."""
        if before is not None:
            self._of(self._running, *before).set(0)
        self._of(self._running, *model).set(1)

    def render(self) -> tuple[bytes, str]:
        """Return the metrics of all workers as text, and its content type."""
        registry = self._registry
        if SHARED_FOLDER in os.environ:
            from prometheus_client.multiprocess import MultiProcessCollector

            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return prometheus.generate_latest(registry), prometheus.CONTENT_TYPE_LATEST


def forget(pid: int | None, folder: Path | None) -> None:
    """Leave the gauges of a dead worker out of the metrics."""
    if pid is not None:
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]

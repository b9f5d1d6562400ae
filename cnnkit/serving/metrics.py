"""What the server counts, as Prometheus reads it."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import prometheus_client as prometheus
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

if TYPE_CHECKING:
    from collections.abc import Callable

Info = tuple[str, str, str, str]
"""Model, version, provider and precision."""

SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""The variable that tells prometheus_client, when it is imported, where several processes put their values."""

_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)


class Metrics:
    """Counters, gauges and histograms of one process; `render` has those of all workers."""

    def __init__(self) -> None:
        prometheus.disable_created_metrics()  # type: ignore[no-untyped-call]  # a series for each series, that nobody reads
        registry = CollectorRegistry()
        self._registry = registry
        ProcessCollector(registry=registry)
        self._requests = Counter(
            "cnnkit_requests", "Requests answered.", ["endpoint", "model", "status"], registry=registry
        )
        self._refused = Counter("cnnkit_refused", "Requests refused.", ["model", "reason"], registry=registry)
        self._left = Counter("cnnkit_clients_left", "Clients that left before their answer.", registry=registry)
        self._queue = Gauge(
            "cnnkit_queue_length",
            "Requests that wait or are worked on.",
            ["model"],
            multiprocess_mode="livesum",
            registry=registry,
        )
        self._batches = Histogram(
            "cnnkit_batch_size",
            "Images in a batch.",
            ["model"],
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
            registry=registry,
        )
        self._stages = Histogram(
            "cnnkit_stage_seconds",
            "Of a batch: waiting of its first request, decoding, inference; of a request that is served: total.",
            ["model", "stage"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._loaded = Counter("cnnkit_reloads", "Reloads.", ["model", "outcome"], registry=registry)
        self._running = Gauge(
            "cnnkit_model_info",
            "1 for the version that serves, 0 for those before; with the provider that it really runs on.",
            ["model", "version", "provider", "precision"],
            multiprocess_mode="livemax",
            registry=registry,
        )
        # Looking a child up by its labels takes longer than counting.
        self._known: dict[tuple[str, ...], Callable[[float], None]] = {}

    def answered(self, endpoint: str, model: str, status: int, seconds: float) -> None:
        """Count a request, and its time if it was served."""
        key = ("answered", endpoint, model, str(status))
        if (count := self._known.get(key)) is None:
            count = self._known[key] = self._requests.labels(*key[1:]).inc
        count(1)
        if model and status < 400:  # among refusals, nobody could see how long an answer takes
            self._observe(model, "total", seconds)

    def _observe(self, model: str, stage: str, seconds: float) -> None:
        key = ("stage", model, stage)
        if (observe := self._known.get(key)) is None:
            observe = self._known[key] = self._stages.labels(model, stage).observe
        observe(seconds)

    def refused(self, model: str, reason: str) -> None:
        """Count a refusal."""
        key = ("refused", model, reason)
        if (count := self._known.get(key)) is None:
            count = self._known[key] = self._refused.labels(model, reason).inc
        count(1)

    def left(self) -> None:
        """Count a client that left before its answer."""
        self._left.inc()

    def batch(self, model: str, images: int, queue: float, decode: float, inference: float) -> None:
        """Count a batch of so many images, with the seconds of its stages."""
        self._observe(model, "queue", queue)
        self._observe(model, "decode", decode)
        self._observe(model, "inference", inference)
        key = ("batch", model)
        if (observe := self._known.get(key)) is None:
            observe = self._known[key] = self._batches.labels(model).observe
        observe(images)

    def queue(self, model: str, length: int) -> None:
        """Say how many requests a model has to answer."""
        self._queue.labels(model).set(length)

    def reloaded(self, model: str, outcome: str) -> None:
        """Count a reload: `swapped` or `refused`."""
        self._loaded.labels(model, outcome).inc()

    def serving(self, model: Info, before: Info | None = None) -> None:
        """Say which version of a model serves, and where it really runs."""
        if before is not None and before != model:
            self._running.labels(*before).set(0)
        self._running.labels(*model).set(1)

    def render(self) -> tuple[bytes, str]:
        """Return the metrics of all workers as text, and its content type."""
        registry = self._registry
        if SHARED_FOLDER in os.environ:
            from prometheus_client.multiprocess import MultiProcessCollector

            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return prometheus.generate_latest(registry), prometheus.CONTENT_TYPE_LATEST


def forget(pid: int | None, folder: Path) -> None:
    """Leave the gauges of a dead worker out of the metrics."""
    if pid is not None:
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]

"""A model instance: opened for this machine, tried before anybody relies on it, and run in batches."""

import logging
import threading
from collections.abc import Sequence
from functools import cached_property
from io import BytesIO
from itertools import groupby
from time import perf_counter
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cnnkit.decoding.bounds import ORDINARY_SECONDS
from cnnkit.errors import ImageError, OnnxError
from cnnkit.images import Prepared, prepare_all
from cnnkit.pictures import Pixels
from cnnkit.runtime.classifier import Classifier, OnnxNetwork, probabilities_of
from cnnkit.runtime.feature_maps import FeatureMaps, open_features
from cnnkit.runtime.foreign.opening import open_onnx
from cnnkit.runtime.hardware import usable_cores
from cnnkit.runtime.providers import ProviderOptions
from cnnkit.serving.batching.job import Job
from cnnkit.serving.settings import FORMATS, ModelSource, Settings
from cnnkit.serving.v2.tensors import describe
from cnnkit.serving.versions import fingerprint
from cnnkit.sources import find

_log = logging.getLogger("cnnkit.serving")

_INLINE_SECONDS = 0.02
"""An image whose decoding may take longer is decoded outside the batch, which would wait for it."""
_QUICK_SECONDS = 0.0005
"""The same of a small network, whose batches run on the event loop: all requests wait for them."""
_QUICK_BATCH_SECONDS = 0.005
"""A network that takes longer for a full batch is never run on the event loop."""
_SMALL_SECONDS = 0.002
"""A network that takes no longer than this for an image gains nothing from a second thread."""
_TOLERANCE = 1e-3


class ModelInstance:
    """One version of a model.

    Attributes:
        name: in the URLs.
        version: 1 for the file that the server started with; 0 before it serves.
        fingerprint: of the file, to see that it changes; None for a zoo entry.
        classifier: with the card.
        network: that runs.
        form: of the images that it takes.
        inputs: that the graph takes.
        outputs: that it gives.
        max_images: that one request may have.
        instances: batches that it works on at the same time.
        is_quick: the event loop can run a batch itself.
        separate: an image's scores depend on what else is in its batch, so that each request runs alone.
    """

    def __init__(self, source: ModelSource, settings: Settings) -> None:
        """Open the model, warm it up and try it, or raise CnnkitError."""
        self.name = source.name
        self.version = 0
        self.fingerprint = fingerprint(source.path)
        self.classifier = _open(source, settings)
        for each in self.classifier.assumptions:
            _log.info("assumed: %s", each, extra={"event": "assumed", "model": source.name})
        self.network = cast("OnnxNetwork", self.classifier.network)
        self.instances = 1 if self.network.placement.device == "CPU" or self.network.placement.options.graph else 2
        self.form = self.classifier.card.preprocessing
        self.inputs, self.outputs = describe(self.network.session)
        self.max_images = max(settings.max_batch, self.network.batch or 1)
        self._source = source
        self._settings = settings
        self._lock = threading.Lock()
        on_cpu = self.network.placement.device == "CPU"
        self.is_quick = on_cpu and settings.max_batch * _seconds_of(self.classifier) <= _QUICK_BATCH_SECONDS
        self.separate = self._try()

    @property
    def features(self) -> FeatureMaps | None:
        """What its first layers make of an image; None where it has no such layers.

        Taken from the file when first asked for, which takes a while: not on the event loop.
        """
        with self._lock:
            return self._opened_features

    @cached_property
    def _opened_features(self) -> FeatureMaps | None:
        path = self._source.path
        if path is not None and self.fingerprint != fingerprint(path):
            return None  # another version, that will soon serve or be refused
        try:
            return open_features(find(self._source.ref).require_exported().model, self.network, self.name)
        except OnnxError as error:  # a graph that cannot be taken apart is served all the same
            _log.warning("%s shows no feature maps: %s", self.name, error, extra={"event": "no-features"})
            return None

    @property
    def info(self) -> tuple[str, str, str, str]:
        """Name, version, the provider that it really runs on, and precision, for the metrics."""
        return self.name, str(self.version), self.network.placement.device, self.classifier.card.precision

    def decode(self, job: Job, *, apart: bool = False) -> None:
        """Decode a job's image outside a batch, unless nobody waits for it any more.

        Args:
            job: with the image.
            apart: let a process with limits do it, where it may take longer than ordinary images do.

        Raises:
            CostlyImageError: it may take longer, and `apart` is not set.
            ImageError: it is not acceptable.
        """
        if (image := job.image) is None:
            return
        prepared = self._prepared([image], None if apart else ORDINARY_SECONDS)[0]
        if isinstance(prepared, ImageError):
            raise prepared
        job.prepared, job.form = prepared, self.form

    def _prepared(self, images: list[bytes], within: float | None) -> list[Prepared | ImageError]:
        most = self._settings.max_pixels
        return prepare_all(images, self.form, formats=FORMATS, max_pixels=most, within=within, here=ORDINARY_SECONDS)

    def run(self, jobs: Sequence[Job]) -> list[Exception | None]:
        """Decode, run the network, and leave in each job what it asked for; return what went wrong with which."""
        outcomes: dict[Job, Exception | None] = dict.fromkeys(jobs)
        started = perf_counter()
        # One that was prepared for another version, which was replaced since, is prepared again.
        unprepared = [job for job in jobs if job.image is not None and job.form != self.form]
        outcomes.update(self._prepare(unprepared, _QUICK_SECONDS if self.is_quick else _INLINE_SECONDS))
        arrays = {job: self._inputs(job) for job in jobs if outcomes[job] is None}
        decoded = perf_counter()
        for together in self._groups(arrays):
            outcomes.update(self._infer({job: arrays[job] for job in together}))
        done = perf_counter()
        rows = sum(map(len, arrays))
        for job in jobs:
            job.timings.decode = decoded - started
            job.timings.inference = done - decoded
            job.batch = rows
        return list(outcomes.values())

    def _prepare(self, jobs: Sequence[Job], within: float) -> dict[Job, Exception]:
        images = [job.image for job in jobs if job.image is not None]
        failed: dict[Job, Exception] = {}
        for job, prepared in zip(jobs, self._prepared(images, within), strict=True):
            if isinstance(prepared, Prepared):
                job.prepared, job.form = prepared, self.form
            else:
                failed[job] = prepared
        return failed

    def _inputs(self, job: Job) -> NDArray[Any]:
        if job.inputs is not None:
            return job.inputs
        return self.network.feed(job.prepared.pixels[None])[self.network.input]

    def _groups(self, arrays: dict[Job, NDArray[Any]]) -> list[list[Job]]:
        if self.separate:
            return [[job] for job in arrays]
        # A graph may leave height and width open; those of one size go together.
        by_shape = sorted(arrays, key=lambda job: arrays[job].shape[1:])
        return [list(group) for _, group in groupby(by_shape, key=lambda job: arrays[job].shape[1:])]

    def _infer(self, arrays: dict[Job, NDArray[Any]]) -> dict[Job, Exception]:
        try:
            self._run_together(arrays)
        except Exception as error:
            if len(arrays) == 1:
                return dict.fromkeys(arrays, error)
            # One of them may be at fault; the others shall not pay for it.
            return {job: said for job, array in arrays.items() for said in self._infer({job: array}).values()}
        return {}

    def _run_together(self, arrays: dict[Job, NDArray[Any]]) -> None:
        outputs = tuple(dict.fromkeys(name for job in arrays for name in job.outputs))
        inputs = np.concatenate(list(arrays.values())) if len(arrays) > 1 else next(iter(arrays.values()))
        results = dict(zip(outputs, self.network.run(inputs, outputs), strict=True))
        images = [job.image is not None for job in arrays]
        probabilities = self._probabilities(results[self.network.output]) if any(images) else None
        start = 0
        for job in arrays:
            rows = slice(start, start + len(job))
            start = rows.stop
            job.rows = {name: results[name][rows] for name in job.outputs}
            if job.image is not None and probabilities is not None:
                job.probabilities = probabilities[rows.start]
                if not np.isfinite(job.probabilities).all():
                    raise OnnxError(f"{self.name} gives scores that are not finite numbers; check its weights.")

    def _probabilities(self, scores: NDArray[Any]) -> NDArray[np.float64]:
        return probabilities_of(self.network.as_logits(scores), self.classifier.card)

    def _try(self) -> bool:
        """Run the network on one image and on two, and return whether its images have to be run one by one.

        On no more: the memory for a batch is taken when such a batch comes.

        Raises:
            OnnxError: it fails, or its scores are no scores.
        """
        noise = np.random.default_rng(0).integers(0, 256, (2, *self.form.shape), np.uint8)
        # Loads Pillow's decoder, which the first request would wait for.
        prepare_all([_encoded(noise[0])], self.form, formats=FORMATS)
        inputs = self.network.feed(noise)[self.network.input]
        logits = self.network.logits(noise)
        classes = len(self.classifier.card.labels)
        if logits.shape != (len(noise), classes) or not np.isfinite(logits).all():
            shape = list(logits.shape)
            raise OnnxError(f"{self.name} gives {shape} for noise; expected finite scores [{len(noise)}, {classes}].")
        alone = self.network.as_logits(self.network.run(inputs[:1], [self.network.output])[0])
        if self.network.placement.device == "CPU":
            # The memory that opening the file took goes back: what runs later takes what it needs.
            from onnxruntime import RunOptions

            options = RunOptions()
            options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
            batch = np.repeat(inputs[:1], self.network.batch or 1, axis=0)
            self.network.session.run([self.network.output], {self.network.input: batch}, options)
        scale = max(1.0, float(np.abs(logits).max()))
        return bool(np.abs(alone - logits[:1]).max() > _TOLERANCE * scale)


def _encoded(pixels: Pixels) -> bytes:
    file = BytesIO()
    Image.fromarray(pixels.squeeze()).resize((64, 64)).save(file, "PNG", compress_level=1)
    return file.getvalue()


def _open(source: ModelSource, settings: Settings) -> Classifier:
    def opened(provider: ProviderOptions | None) -> Classifier:
        file = find(source.ref).require_exported()
        name = source.name if file.verified else source.ref
        return open_onnx(
            file.model,
            name,
            device=settings.device,
            options=source.options,
            provider=provider,
            verified=file.verified,
        )

    # Threads that spin while they wait take the processor from the event loop.
    classifier = opened(ProviderOptions(threads=settings.threads or 1, spinning=False))
    cores = max(1, usable_cores() // settings.workers)
    if settings.threads is None and classifier.card.tuning:
        return opened(None)
    if settings.threads is None and cores > 1 and _seconds_of(classifier) > _SMALL_SECONDS:
        return opened(ProviderOptions(threads=cores, spinning=False))
    return classifier


def _seconds_of(classifier: Classifier) -> float:
    """Return what a network takes for one image on the CPU; 0 elsewhere, where its threads run nothing."""
    network = cast("OnnxNetwork", classifier.network)
    if network.placement.device != "CPU":
        return 0.0
    pixels = np.zeros((1, *classifier.card.preprocessing.shape), np.uint8)
    times = []
    for _ in range(4):
        started = perf_counter()
        network.logits(pixels)
        times.append(perf_counter() - started)
        if times[0] > _SMALL_SECONDS * 10:  # of what is slow, no more need be known
            break
    return min(times)

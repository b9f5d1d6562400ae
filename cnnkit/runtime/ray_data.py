"""Prediction on the workers of a Ray cluster, or of several processes of this machine, by Ray Data."""

import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from cnnkit.cautions import Caution
from cnnkit.errors import (
    CheckpointError,
    ClusterError,
    CnnkitError,
    DataError,
    DeviceError,
    ImageError,
    ImageFormatError,
    ImageTooLargeError,
    OnnxError,
    UsageError,
)
from cnnkit.runtime.classifier import Classifier, ImageSource
from cnnkit.runtime.foreign.beside import Beside, read_beside
from cnnkit.runtime.foreign.opening import open_onnx
from cnnkit.runtime.foreign.options import ForeignOptions
from cnnkit.runtime.prediction import ClassScore, Prediction
from cnnkit.runtime.providers import ProviderOptions
from cnnkit.runtime.ray_cluster import connected, import_ray

_ERRORS = {
    error.code: error
    for error in (
        ClusterError, ImageError, ImageFormatError, ImageTooLargeError, OnnxError, DeviceError, DataError,
        CheckpointError, UsageError,
    )
}  # fmt: skip
_BATCHES_OF_A_BLOCK = 4
"""BatchLoader that a worker gets at once: enough to outweigh handing them over, few enough to see progress."""
_ATTEMPTS = 2
"""How often an image is tried alone; where it ends its worker each time, it is an error of its own."""
_OPENINGS = 3
"""How often each worker may be lost while it opens the network, before any of them has opened it."""


class RayClassifier(Classifier):
    """A classifier whose images are classified by Ray workers, each with the ONNX file in a session of its own.

    It uses the cluster that this process is connected to; else the one that the environment variable RAY_ADDRESS names;
    else it starts worker processes on this machine, and stops them after the last image. All nodes must have cnnkit
    installed and see the images under the same paths; the ONNX file is sent to them.

    Args:
        model: an ONNX file, or its content.
        name: what to call it.
        workers: number of workers; None for one for each CPU of the cluster.
        device: `cpu`; `cuda` for a GPU for each worker; `auto` for that where there are as many, and the CPU otherwise.
        options: what the user says about a file without a card.
        verified: the file is one of the zoo by its hash.

    Raises:
        MissingDependencyError: Ray is not installed.
        UsageError: not at least one worker, or a device that Ray cannot assign.
        CnnkitError: what `open_onnx` raises.
    """

    def __init__(
        self,
        model: Path | bytes,
        name: str,
        *,
        workers: int | None = None,
        device: str = "auto",
        options: ForeignOptions | None = None,
        verified: bool = False,
    ) -> None:
        if workers is not None and workers < 1:
            raise UsageError(f"workers must be at least 1, got {workers}.")
        if device not in {"auto", "cpu", "cuda"}:
            raise UsageError(f"Ray assigns the GPUs; expected the device auto, cpu or cuda, got {device!r}.")
        import_ray()
        content = model if isinstance(model, bytes) else model.read_bytes()
        around = None if isinstance(model, bytes) else read_beside(model)
        # From its bytes, as the workers open it: they have no folder to read further weights from.
        local = open_onnx(content, name, device="cpu", options=options, verified=verified, around=around)
        super().__init__(local.network, name, assumptions=local.assumptions)
        self._opening = {"model": content, "name": name, "options": options, "verified": verified, "around": around}
        self._workers = workers
        self._device = device
        self._used = 0
        self._engines: set[str] = set()

    @property
    def engine(self) -> str:
        """What the workers ran on, once there are results."""
        engines = " and ".join(sorted(self._engines)) or "onnxruntime"
        return f"{engines} on {self._used or self._workers or 'all'} Ray workers"

    def stream(
        self, images: Iterable[ImageSource], *, top: int = 5, batch_size: int = 64
    ) -> Iterator[Prediction | ImageError]:
        """Classify images as `Classifier.stream` does, in order; they must be paths of files.

        Raises:
            UsageError: one of them is no path.
            ClusterError: the cluster cannot be reached, or lost its workers.
            DeviceError: GPUs were asked for, and the cluster has too few.
        """
        if top < 1 or batch_size < 1:
            raise UsageError(f"top and batch_size must be at least 1, got {top} and {batch_size}.")
        sources = [images] if isinstance(images, str | bytes | Path) else list(images)
        paths = [image for image in sources if isinstance(image, str | Path)]
        if isinstance(images, str | Path) or len(paths) != len(sources):
            raise UsageError("Ray workers read the images themselves; give them a list of paths.")
        if not paths:
            return
        self._used = 0
        ray = import_ray()
        done = 0
        with connected(ray, self._workers):
            try:
                for result in self._run(ray, paths, top, batch_size):
                    yield result
                    done += 1
            except ray.exceptions.RayError as error:
                reason = str(error).strip().splitlines()[-1][:300]
                raise ClusterError(
                    f"the Ray workers failed at {paths[done]} or one of the images after it: {reason}"
                ) from error

    def _run(self, ray: Any, paths: list[str | Path], top: int, batch_size: int) -> Iterator[Prediction | ImageError]:
        size, gpus, device = self._resources(ray.cluster_resources())
        blocks = max(math.ceil(len(paths) / (batch_size * _BATCHES_OF_A_BLOCK)), min(size, len(paths)))
        size = min(size, blocks)
        self._used = max(self._used, size)
        names = [{"path": os.fsencode(path), "place": place} for place, path in enumerate(paths)]
        dataset = ray.data.from_items(names, override_num_blocks=blocks)
        dataset.context.execution_options.preserve_order = True
        # Ray starts a worker that is lost again, and gives it the same table.
        results = dataset.map_batches(
            Worker,
            fn_constructor_kwargs={
                **self._opening,
                "device": device,
                "folder": str(Path.cwd()),
                "top": top,
                "batch_size": batch_size,
                "attempts": ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(Attempts).remote(),
                "openings": size * _OPENINGS,
            },
            # Blocks are of this size or one more; a batch that is larger would join them.
            batch_size=len(paths) // blocks,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=size),
            num_cpus=1,
            num_gpus=gpus,
        )
        for table in results.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            for row in table.to_pylist():
                self._engines.add(row["engine"])
                yield _result(row, independent=self.card.independent)

    def _resources(self, cluster: dict[str, float]) -> tuple[int, int, str]:
        """Return how many workers there are, the GPUs of each, and the device that each opens its session on."""
        size = self._workers or max(1, int(cluster.get("CPU", 1)))
        present = int(cluster.get("GPU", 0))
        if self._device == "cuda" and present < size:
            raise DeviceError(
                f"--device cuda: {size} Ray workers need a GPU each, and the cluster has {present}. Ask for fewer "
                "--workers, or use --device cpu."
            )
        if self._device == "cpu" or present < size:
            return size, 0, "cpu"
        return size, 1, self._device


class Attempts:
    """Counts how often work was begun and not ended; it outlives the workers."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def begin(self, work: str) -> int:
        """Return how often some work was begun since it was last ended, this time included."""
        self._counts[work] += 1
        return self._counts[work]

    def end(self, work: str) -> None:
        """Forget the attempts at some work."""
        del self._counts[work]


class Worker:
    """What each Ray worker runs: opens the network once, and classifies the images of one table after the other."""

    def __init__(
        self,
        model: bytes,
        name: str,
        *,
        options: ForeignOptions | None,
        verified: bool,
        around: Beside | None,
        device: str,
        folder: str,
        top: int,
        batch_size: int,
        attempts: Any,
        openings: int,
    ) -> None:
        self._attempts = attempts
        # Paths may be relative; a node without that folder reports each image that it cannot read.
        with suppress(OSError):
            os.chdir(folder)
        self._top = top
        self._batch_size = batch_size
        self._trouble: CnnkitError | None = None
        # One worker for each CPU is what Ray starts; threads of each would only be in the way of the others.
        alone = ProviderOptions(threads=1) if device == "cpu" else None
        try:
            if self._begin("opening") > openings:
                raise ClusterError(f"the Ray workers end while they open {name}, as where they have too little memory.")
            self._classifier = open_onnx(
                model, name, device=device, options=options, provider=alone, verified=verified, around=around
            )
            self._attempts.end.remote("opening")
        except CnnkitError as error:
            # Ray would tell the driver of a worker that died; as a result, the error keeps its name.
            self._trouble = error

    def __call__(self, table: Any) -> Any:
        """Turn a table of paths into one of results, row by row."""
        import pyarrow as pa

        paths = [Path(os.fsdecode(path)) for path in table["path"].to_pylist()]
        places = table["place"].to_pylist()
        try:
            if self._trouble is not None:
                raise self._trouble
            if self._begin(f"table {places[0]}") == 1:
                results = list(self._classifier.stream(paths, top=self._top, batch_size=self._batch_size))
            else:
                # A worker was lost with this table: one image after the other shows which one it cannot survive.
                results = [self._alone(path, place) for path, place in zip(paths, places, strict=True)]
            rows = [_row(path, result, self._classifier.engine) for path, result in zip(paths, results, strict=True)]
        except CnnkitError as error:
            rows = [_row(paths[0], error, "")]
        # Names of files need not be text, nor does what an error says of them.
        texts = pa.list_(pa.string())
        schema = pa.schema(
            {
                "path": pa.binary(),
                "labels": texts,
                "probabilities": pa.list_(pa.float64()),
                "steps": texts,
                "kinds": pa.list_(texts),  # of those steps that are cautions
                "code": pa.string(),
                "error": pa.binary(),
                "engine": pa.string(),
            }
        )
        return pa.Table.from_pylist(rows, schema)

    def _alone(self, path: Path, place: int) -> Prediction | ImageError:
        if self._begin(f"image {place}") > _ATTEMPTS:
            return ImageError(f"{path} ended each of {_ATTEMPTS} Ray workers that read it alone.")
        (result,) = self._classifier.stream([path], top=self._top, batch_size=1)
        self._attempts.end.remote(f"image {place}")
        return result

    def _begin(self, work: str) -> int:
        import ray

        return int(ray.get(self._attempts.begin.remote(work)))


def _row(path: Path, result: Prediction | CnnkitError, engine: str) -> dict[str, object]:
    row: dict[str, object] = {"path": os.fsencode(path), "engine": engine}
    if isinstance(result, CnnkitError):
        return {**row, "code": result.code, "error": os.fsencode(str(result))}
    labels = [score.label for score in result.scores]
    probabilities = [score.probability for score in result.scores]
    kinds = [list(step.kinds) if isinstance(step, Caution) else None for step in result.steps]
    return {**row, "labels": labels, "probabilities": probabilities, "steps": list(result.steps), "kinds": kinds}


def _result(row: dict[str, Any], *, independent: bool) -> Prediction | ImageError:
    if row["code"] is not None:
        error = _ERRORS.get(row["code"], CnnkitError)(os.fsdecode(row["error"]))
        if isinstance(error, ImageError):
            return error
        raise error
    scores = zip(row["labels"], row["probabilities"], strict=True)
    steps = (
        step if kinds is None else Caution(step, *kinds) for step, kinds in zip(row["steps"], row["kinds"], strict=True)
    )
    named = tuple(ClassScore(*score) for score in scores)
    return Prediction(os.fsdecode(row["path"]), named, tuple(steps), independent=independent)

"""Results made by hand, as commands would find them."""

from collections.abc import Callable

import numpy as np
import pytest

from cnnkit.certificate import ParityCertificate
from cnnkit.evaluation.results import ClassMetrics, Evaluation
from cnnkit.inspection.explanations import Explanation, FeatureMaps, Filters, GradCam, IntegratedGradients, Occlusion
from cnnkit.runtime.prediction import ClassScore, Prediction
from cnnkit.runtime.results import Benchmark, BenchmarkedModel, Measurement


def _evaluation(labels: tuple[str, ...], *, images: int = 10) -> Evaluation:
    """Return an evaluation with `images` of each class, one of each taken for the next one."""
    count = len(labels)
    confusion = [[0] * count for _ in labels]
    for index in range(count):
        confusion[index][index] += images - 1
        confusion[index][(index + 1) % count] += 1
    share = (images - 1) / images
    return Evaluation(
        model="runs/net-1",
        data="photos",
        split="test",
        engine="onnxruntime CPU",
        images=images * count,
        accuracy=share,
        top_k=min(5, count - 1) if count > 2 else None,
        top_k_accuracy=1.0 if count > 2 else None,
        loss=0.25,
        calibration_error=0.0314,
        classes=tuple(ClassMetrics(label, share, share, share, images) for label in labels),
        confusion=tuple(map(tuple, confusion)),
        seconds=1.5,
    )


def _prediction(source: str, *scores: tuple[str, float], steps: tuple[str, ...] = ()) -> Prediction:
    return Prediction(source, tuple(ClassScore(*score) for score in scores), steps)


@pytest.fixture
def make_evaluation() -> Callable[..., Evaluation]:
    return _evaluation


@pytest.fixture
def make_prediction() -> Callable[..., Prediction]:
    return _prediction


@pytest.fixture
def evaluation() -> Evaluation:
    return _evaluation(("circles", "squares", "triangles"), images=1200)


@pytest.fixture
def certificate() -> ParityCertificate:
    return ParityCertificate(
        images="10 images of mnist",
        batch_sizes=(1, 2, 7),
        max_absolute_difference=3.4e-06,
        max_relative_difference=4.8e-07,
        max_tolerance_ratio=0.034,
        top1_agreement=1.0,
        tolerance=1e-4,
        versions={"torch": "2.15.0", "onnxruntime": "1.31.1"},
    )


def _measurement(
    engine: str, batch: int, milliseconds: float, *, model: str, against: float | None = None, **options: object
) -> Measurement:
    """Return a measurement by its mean; `against` is the mean of the one that it is compared with."""
    speed_up = None if against is None else against / milliseconds
    values = {
        "device": "CPU",
        "threads": 2,
        "calls": 1000,
        "peak_memory_mb": 12.3 * batch**0.5,
        "copy_in_ms": None,
        "compute_ms": None,
        "copy_out_ms": None,
        **options,
    }
    return Measurement(
        model=model,
        engine=engine,
        batch=batch,
        latency_p50_ms=0.98 * milliseconds,
        latency_p95_ms=1.1 * milliseconds,
        latency_p99_ms=1.4 * milliseconds,
        latency_mean_ms=milliseconds,
        latency_mean_low_ms=0.985 * milliseconds,
        latency_mean_high_ms=1.015 * milliseconds,
        images_per_second=batch / milliseconds * 1e3,
        first_run_ms=9 * milliseconds,
        speed_up=speed_up,
        speed_up_low=None if speed_up is None else 0.95 * speed_up,
        speed_up_high=None if speed_up is None else 1.05 * speed_up,
        **values,
    )


def _benchmark(kind: str, *, model: str = "lenet") -> Benchmark:
    """Return a benchmark of one candidate, or of several that differ by `kind`."""
    names = ("lenet", "runs/lenet-int8.onnx") if kind == "models" else (model,)
    rows = []
    for batch in (1, 32, 256):
        base = 0.03 * batch**0.9
        rows.append(_measurement("onnxruntime", batch, base, model=names[0]))
        if kind == "threads":
            rows[-1] = _measurement("onnxruntime", batch, base, model=names[0], threads=1)
            rows.append(_measurement("onnxruntime", batch, 0.99 * base, model=names[0], against=base))
        if kind == "torch":
            for engine, factor in (("PyTorch eager", 3.2), ("PyTorch compiled", 0.4)):
                rows.append(_measurement(engine, batch, factor * base, model=names[0], against=base))
        if kind == "gpu":
            parts = {"copy_in_ms": 0.02 * base, "compute_ms": 0.028 * base, "copy_out_ms": 0.001 * base}
            on_gpu = {"device": "CUDA", "threads": None, "peak_memory_mb": None, **parts}
            rows.append(_measurement("onnxruntime", batch, base / 20, model=names[0], against=base, **on_gpu))
        if kind == "models":
            rows.append(_measurement("onnxruntime", batch, 1.5 * base, model=names[1], against=base))
    return Benchmark(
        models=tuple(BenchmarkedModel(name, "uint8 [N, 28, 28, 1]") for name in names),
        measurements=tuple(rows),
        failures=(),
        notes=("lenet was exported for this benchmark",) if kind == "models" else (),
        processor="AMD EPYC",
        versions={"onnxruntime": "1.31.1"},
    )


@pytest.fixture
def make_benchmark() -> Callable[..., Benchmark]:
    return _benchmark


@pytest.fixture
def explanation() -> Explanation:
    """A light square in the upper left corner of 8×10 pixels, taken for one."""
    pixels = np.zeros((8, 10, 3), np.uint8)
    pixels[1:4, 1:4] = 250
    spot = np.zeros((8, 10), np.float32)
    spot[1:4, 1:4] = 0.5
    spot[6, 8] = -0.25
    maps = np.stack([spot, -spot, np.zeros_like(spot)])
    ramp = np.linspace(-1, 1, 4 * 3 * 9, dtype=np.float32)
    first, deep = ramp.reshape(4, 3, 3, 3), ramp[:54].reshape(3, 2, 3, 3)
    scores = (ClassScore("square", 0.875), ClassScore("circle", 0.1), ClassScore("triangle", 0.025))
    return Explanation(
        prediction=Prediction("drawings/a<b>.png", scores, ("stretch from 80×64 to 10×8",)),
        target=scores[0],
        pixels=pixels,
        model="net",
        engine="PyTorch CPU",
        assumptions=(),
        trained=True,
        occlusion=Occlusion(spot, (2, 2), (1, 1), (0, 0, 0), 0.125),
        grad_cam=GradCam("block.relu", (2, 2), np.array([[1, 0], [0, 0]], np.float32)),
        integrated_gradients=IntegratedGradients(spot, (0, 0, 0), 4.3, 4.25, 64),
        layers=(
            FeatureMaps("block.conv", "Conv2d", maps.shape, 1, None, maps),
            FeatureMaps("block.drop", "Dropout", maps.shape, 1, "block.conv", maps),
        ),
        filters=(Filters("block.conv", first.shape, first), Filters("deep", deep.shape, deep)),
        notes=("Something was left out.",),
        versions={"cnnkit": "0.1.0", "torch": "2.15.0"},
    )

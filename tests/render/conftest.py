"""Results made by hand, as commands would find them."""

from collections.abc import Callable

import pytest

from cnnkit.results import ClassMetrics, ClassScore, Evaluation, ParityCertificate, Prediction


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
        top_k=min(5, count),
        top_k_accuracy=1.0,
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

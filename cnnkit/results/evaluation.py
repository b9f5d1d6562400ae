"""How well a network does."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ClassMetrics:
    """How one class was recognised; `support` is its number of images."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class Evaluation:
    """How well a network does on a data set.

    Attributes:
        images: number of images.
        top_k_accuracy: accuracy within the first `top_k` classes.
        loss: mean cross-entropy in nats.
        calibration_error: expected calibration error over 15 bins (Guo et al., 2017).
        confusion: rows are true classes, columns predicted ones, in the order of `classes`.
    """

    model: str
    data: str
    split: str
    engine: str
    images: int
    accuracy: float
    top_k: int
    top_k_accuracy: float
    loss: float
    calibration_error: float
    classes: tuple[ClassMetrics, ...]
    confusion: tuple[tuple[int, ...], ...]
    seconds: float

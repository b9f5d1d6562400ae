"""How well a network does."""

from dataclasses import dataclass, field

from cnnkit.data.results import Duplicates, Exposure


@dataclass(frozen=True)
class ClassMetrics:
    """How one class was recognised.

    Attributes:
        precision: share of the images taken for it that are of it; None where none was taken for it.
        recall: share of its images that are taken for it; None where it has none.
        f1: harmonic mean of the two, 0 where none of its images is taken for it; None where it has none.
        support: number of its images.
    """

    label: str
    precision: float | None
    recall: float | None
    f1: float | None
    support: int


@dataclass(frozen=True)
class CalibrationBin:
    """The images whose top-1 class has a probability over `low` and up to `high`.

    Attributes:
        images: how many there are; a bin without any has a confidence and an accuracy of 0.
        confidence: mean probability of their top-1 class.
        accuracy: share of them that are right.
    """

    low: float
    high: float
    images: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Evaluation:
    """How well a network does on a data set.

    Attributes:
        images: number of images.
        top_k: how many classes the top-k accuracy looks among, fewer than there are; None where there are only two.
        top_k_accuracy: accuracy within the first `top_k` classes; None without them.
        loss: mean cross-entropy in nats.
        calibration_error: expected calibration error over 15 bins (Guo et al., 2017).
        confusion: rows are true classes, columns predicted ones, in the order of `classes`.
        calibration: the bins that the calibration error is over, from 0 to 1.
        exposure: what the network has seen of the images.
        duplicates: images of the data set that stand in it more than once.
        warnings: what takes value from the figures, as sentences without their full stop.
        assumptions: about an ONNX file without a card, in words.
    """

    model: str
    data: str
    split: str
    engine: str
    images: int
    accuracy: float
    top_k: int | None
    top_k_accuracy: float | None
    loss: float
    calibration_error: float
    classes: tuple[ClassMetrics, ...]
    confusion: tuple[tuple[int, ...], ...]
    seconds: float
    calibration: tuple[CalibrationBin, ...] = ()
    exposure: Exposure = field(default_factory=Exposure)
    duplicates: Duplicates = field(default_factory=Duplicates)
    warnings: tuple[str, ...] = ()
    assumptions: tuple[str, ...] = ()

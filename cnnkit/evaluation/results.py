"""What an evaluation finds: figures, and the mistakes among them."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cnnkit.data.results import Duplicates, Exposure

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


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


@dataclass(frozen=True)
class TrainingImage:
    """An image that the network was trained on.

    Attributes:
        source: the file inside its folder, or where it stands in the data set, such as `train[582]`.
        similarity: cosine of the angle between its features and those of the image that it is compared with.
    """

    source: str
    label: str
    similarity: float
    pixels: "NDArray[np.uint8]" = field(repr=False, compare=False)


@dataclass(frozen=True)
class Mistake:
    """An image that was taken for another class.

    Attributes:
        source: as of `TrainingImage`.
        label: its class.
        predicted: the class that it was taken for.
        probability, label_probability: of the two.
        nearest: the training image most like it; None where the training images are not known.
    """

    source: str
    label: str
    predicted: str
    probability: float
    label_probability: float
    nearest: TrainingImage | None
    pixels: "NDArray[np.uint8]" = field(repr=False, compare=False)


@dataclass(frozen=True)
class LabelCandidate:
    """An image whose label may be wrong.

    Attributes:
        source, nearest: as of `Mistake`.
        label: its class, as the data set says.
        suggested: the class that it seems to be.
        probability, label_probability: of that class, and of its label.
    """

    source: str
    label: str
    suggested: str
    probability: float
    label_probability: float
    nearest: TrainingImage | None
    pixels: "NDArray[np.uint8]" = field(repr=False, compare=False)


@dataclass(frozen=True)
class ConfusedPair:
    """A class whose images are taken for another one.

    Attributes:
        images: how many.
        share: of all images of the class `label`.
        examples: some of them, most confident first.
    """

    label: str
    predicted: str
    images: int
    share: float
    examples: "tuple[NDArray[np.uint8], ...]" = field(repr=False, compare=False)


@dataclass(frozen=True)
class Mistakes:
    """Where a network is wrong on a data set.

    Attributes:
        images: how many were looked at.
        seen: whether the network was trained on some of them, as far as is known.
        wrong: how many of them were taken for another class.
        worst: of these, those with the highest probability of the wrong class first.
        confused: pairs of classes by their number of images.
        candidates: how many images may have a wrong label.
        mislabelled: of these, those that the network is surest of first.
        training_images: how many the nearest ones were looked for among; 0 where they are not known.
        nearest_by: what they were compared in.
        no_nearest_because: the reason, where they are not known.
        versions: of the software.
        exposure, duplicates, warnings: as of `Evaluation`.
        assumptions: about an ONNX file without a card, in words.
    """

    model: str
    data: str
    split: str
    engine: str
    images: int
    seen: bool
    wrong: int
    accuracy: float
    worst: tuple[Mistake, ...]
    confused: tuple[ConfusedPair, ...]
    candidates: int
    mislabelled: tuple[LabelCandidate, ...]
    training_images: int
    nearest_by: str
    no_nearest_because: str
    versions: dict[str, str]
    seconds: float
    exposure: Exposure = field(default_factory=Exposure)
    duplicates: Duplicates = field(default_factory=Duplicates)
    warnings: tuple[str, ...] = ()
    assumptions: tuple[str, ...] = ()

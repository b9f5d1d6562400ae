"""What commands find out, as frozen dataclasses: units are in the names. Nothing here prints; `cnnkit.render` does."""

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


def result_of(steps: Generator[object, None, T]) -> T:
    """Run a generator that yields progress to its end, and return its result."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            result: T = stop.value
            return result


@dataclass(frozen=True)
class LayerRow:
    """One layer of a network, in the order in which it ran.

    Attributes:
        name: dotted path of the module.
        kind: class of the module.
        depth: 1 for the children of the network.
        output_shape: without the batch; several outputs give the first.
        parameters: of this module and what it contains, shared ones counted once.
        multiply_adds: of the whole batch.
        is_leaf: it contains no other module that has a row.
    """

    name: str
    kind: str
    depth: int
    output_shape: tuple[int, ...]
    parameters: int
    multiply_adds: int
    is_leaf: bool


@dataclass(frozen=True)
class ModelSummary:
    """The layers of a network and their totals. `input_shape` is channels, height, width."""

    model: str
    input_shape: tuple[int, ...]
    batch: int
    layers: tuple[LayerRow, ...]
    parameters: int
    trainable_parameters: int
    multiply_adds: int
    size_mb: float


@dataclass(frozen=True)
class LoadProgress:
    """How many files of `what` are decoded."""

    what: str
    done: int
    total: int


@dataclass(frozen=True)
class TrainingStarted:
    """A run begins. Image counts are those of the splits."""

    run: Path
    device: str
    parameters: int
    train_images: int
    validation_images: int
    test_images: int
    steps_per_epoch: int


@dataclass(frozen=True)
class StepProgress:
    """Where an epoch stands; loss and accuracy are means over the epoch so far."""

    epoch: int
    step: int
    images: int
    loss: float
    accuracy: float


@dataclass(frozen=True)
class EpochRecord:
    """One epoch of training; `is_best` by validation accuracy. Losses are means over the images."""

    epoch: int
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float
    learning_rate: float
    seconds: float
    images_per_second: float
    is_best: bool


@dataclass(frozen=True)
class TrainingFinished:
    """A run ended. Accuracies are those of the best checkpoint, None where there is no test split."""

    run: Path
    checkpoint: Path
    best_epoch: int
    validation_accuracy: float
    test_accuracy: float | None
    seconds: float


TrainingEvent = LoadProgress | TrainingStarted | StepProgress | EpochRecord | TrainingFinished


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


@dataclass(frozen=True)
class ParityCertificate:
    """What the comparison of PyTorch and onnxruntime on the same images found; part of the model card.

    Attributes:
        images: which images were compared.
        batch_sizes: images in each batch.
        max_absolute_difference: of the logits.
        max_relative_difference: of the logits, against the largest logit of the image.
        max_tolerance_ratio: the largest difference as a multiple of what is tolerated.
        top1_agreement: fraction of the images with the same first class.
        tolerance: absolute for logits up to 10, beyond in proportion to the largest of the image.
        versions: of the two engines.
    """

    images: str
    batch_sizes: tuple[int, ...]
    max_absolute_difference: float
    max_relative_difference: float
    max_tolerance_ratio: float
    top1_agreement: float
    tolerance: float
    versions: dict[str, str]

    @property
    def passed(self) -> bool:
        """Whether every image has the same first class and every logit is within the tolerance."""
        return self.top1_agreement == 1.0 and self.max_tolerance_ratio <= 1.0


@dataclass(frozen=True)
class ExportResult:
    """An exported file and its proof."""

    path: Path
    size_mb: float
    opset: int
    trained: bool
    input_type: str
    certificate: ParityCertificate


@dataclass(frozen=True)
class ClassScore:
    """One class and its probability."""

    label: str
    probability: float


@dataclass(frozen=True)
class Prediction:
    """What a network says about one image: the classes with the highest probability first.

    `steps` is what preprocessing did to the image.
    """

    source: str
    scores: tuple[ClassScore, ...]
    steps: tuple[str, ...]

    @property
    def label(self) -> str:
        """The most probable class."""
        return self.scores[0].label

    @property
    def probability(self) -> float:
        """Its probability."""
        return self.scores[0].probability


@dataclass(frozen=True)
class ZooInfo:
    """A trained network of the zoo; `accuracy` is that of the data set's test split."""

    name: str
    dataset: str
    accuracy: float


@dataclass(frozen=True)
class ModelInfo:
    """A line of the list of models; `reference_accuracy` is what its course or article reports on `dataset`."""

    name: str
    input_shape: tuple[int, int, int]
    parameters: int
    dataset: str
    reference_accuracy: float | None
    source: str
    zoo: tuple[ZooInfo, ...]


@dataclass(frozen=True)
class DatasetInfo:
    """A line of the list of data sets."""

    name: str
    classes: int
    image_shape: tuple[int, int, int]
    train: int
    test: int
    folder: Path | None
    present: bool
    how_to_get: str

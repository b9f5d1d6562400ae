"""What happens while a network is trained."""

from dataclasses import dataclass
from pathlib import Path


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

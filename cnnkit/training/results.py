"""What happens while a network is trained."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cnnkit.data.results import ClassCount, SkippedFiles
from cnnkit.progress import LoadProgress, Notice


@dataclass(frozen=True)
class TrainingStarted:
    """A run begins, or goes on.

    Attributes:
        trainable: parameters that are not frozen.
        input_shape: channels, height and width of the images.
        train_images, validation_images, test_images: of the splits.
        classes: with their numbers of images.
        preparation: what happens to an image, such as `32×32 RGB to 28×28 grey`.
        skipped: files of the folder that are not read.
        dry_run: images that a dry run uses of each split, whose figures do not count; None for a whole run.
        steps_per_epoch: batches, each over all processes.
        resumed_at: epochs, and steps of the next one, that earlier parts of the run did; None for a new run.
        earlier: those epochs.
        start: epoch 0 of a run that goes on; None for a new run, whose epoch 0 comes next.
    """

    run: Path
    device: str
    processes: int
    parameters: int
    trainable: int
    train_images: int
    validation_images: int
    test_images: int
    steps_per_epoch: int
    resumed_at: tuple[int, int] | None = None
    earlier: "tuple[EpochRecord, ...]" = ()
    classes: tuple[ClassCount, ...] = ()
    preparation: str = ""
    skipped: tuple[SkippedFiles, ...] = ()
    dry_run: tuple[int, int, int] | None = None
    start: "StartRecord | None" = None
    input_shape: tuple[int, int, int] | None = None


@dataclass(frozen=True)
class StartRecord:
    """What the network does before its first step: epoch 0.

    Attributes:
        validation_loss, validation_accuracy: of `images` of the validation split, from all classes.
        dry_run: the figures do not count.
    """

    validation_loss: float
    validation_accuracy: float
    images: int
    dry_run: bool = False

    @property
    def epoch(self) -> int:
        """Return 0, as none was trained."""
        return 0


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
    """One epoch of training; `is_best` by validation accuracy. Losses are means over the images.

    The figures of a dry run are of a few images and do not count. `train_images` is how many images the training's loss
    and accuracy are of: fewer than there are where `max_seconds` ended the epoch; 0 in runs of versions before 0.2.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float
    learning_rate: float
    seconds: float
    images_per_second: float
    is_best: bool
    dry_run: bool = False
    train_images: int = 0


@dataclass(frozen=True)
class TrainingStopped:
    """Somebody asked the run to stop, after that many epochs and steps of the next; it can be resumed.

    `best_epoch` is 0 where no epoch was finished.
    """

    run: Path
    epochs: int
    steps: int
    best_epoch: int


@dataclass(frozen=True)
class TrainingFinished:
    """A run ended, by its last epoch, by patience or by time.

    Accuracies are those of the best checkpoint; the test accuracy is None where there is no test split, and where
    nothing was trained: then `best_epoch` is 0. Those of a dry run do not count.

    Attributes:
        validation_images, test_images: that the accuracies are of.
        notices: what the user was told of how the steps ran, in all parts of the run.
        advice: what to change, where the network learnt no more than to guess; otherwise empty.
    """

    run: Path
    checkpoint: Path
    best_epoch: int
    validation_accuracy: float
    test_accuracy: float | None
    seconds: float
    ended_by: Literal["epochs", "patience", "max-seconds"]
    validation_images: int = 0
    test_images: int = 0
    dry_run: bool = False
    notices: tuple[str, ...] = ()
    advice: str = ""


TrainingEvent = (
    LoadProgress
    | Notice
    | TrainingStarted
    | StartRecord
    | StepProgress
    | EpochRecord
    | TrainingStopped
    | TrainingFinished
)

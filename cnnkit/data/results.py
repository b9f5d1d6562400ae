"""What is known of data sets, and of the images that a network is trained or measured on."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class DatasetInfo:
    """A line of the list of data sets.

    Attributes:
        image_shape: height, width and channels; None where the images differ.
        train, test: number of images; 0 where it gives no such split, and where nobody says it.
    """

    name: str
    classes: int
    image_shape: tuple[int, int, int] | None
    train: int
    test: int
    folder: Path | None
    present: bool
    how_to_get: str


@dataclass(frozen=True)
class ClassCount:
    """A class, and how many images of it are in each split."""

    label: str
    train: int
    validation: int
    test: int


@dataclass(frozen=True)
class SkippedFiles:
    """Files of a folder that are not read: why, their ending, and how many there are."""

    reason: str
    ending: str
    count: int


@dataclass(frozen=True)
class Duplicates:
    """Images of the same content, byte for byte (of arrays: pixel for pixel); each group by the names of its images.

    Attributes:
        across_splits: groups that stand in more than one split.
        across_classes: groups that stand in more than one class.
        copies: images that are identical to another one of the same class and split, beyond the first of each.
    """

    across_splits: tuple[tuple[str, ...], ...] = ()
    across_classes: tuple[tuple[str, ...], ...] = ()
    copies: int = 0


@dataclass(frozen=True)
class DamagedFiles:
    """The files of a folder that cannot be decoded.

    Attributes:
        files: why, by name inside the folder.
        total: files of the folder.
        listed_in: CSV file with all of them; empty where it could not be written.
    """

    folder: str
    files: dict[str, str]
    total: int
    listed_in: str


@dataclass(frozen=True)
class Exposure:
    """Whether a network has seen the images that it is measured on, by the hashes of their contents.

    Attributes:
        known: it is known which images it was trained on; otherwise the numbers say nothing.
        exact: they are known by their contents; in runs of versions before 0.2 only by names and sizes of the files.
        changed: images with the name of one that it was trained or validated on, and another content.
        trained: images that its weights were trained on, those of earlier trainings included.
        validated: images that chose its best epoch, and that it was not trained on.
        pretraining: whether the images that its starting weights were trained on are known; `none` without such.
    """

    known: bool = False
    trained: int = 0
    validated: int = 0
    pretraining: Literal["none", "known", "unknown"] = "none"
    exact: bool = True
    changed: int = 0

    @property
    def unseen(self) -> bool:
        """Whether it is proven that it has seen none of them."""
        seen = self.trained + self.validated + self.changed
        return self.known and self.exact and not seen and self.pretraining != "unknown"


@dataclass(frozen=True)
class SplitRecord:
    """How a data set was divided; part of the model card.

    Attributes:
        by: `content`, or `path` as versions before 0.2 did.
        seed: of the split; not the seed of the training.
        validation_fraction: of the images that are not tested on.
        test_fraction: of all images.
        given: the splits that the data set itself has, to which no fraction applies.
        images: number of images by split.
        hashes: what the content of an image is: the bytes of its `file`, or its `pixels`.
        digest: SHA-256 over the hashes of all contents and their splits.
    """

    by: Literal["content", "path"]
    seed: int
    validation_fraction: float
    test_fraction: float
    given: tuple[str, ...] = ()
    images: dict[str, int] = field(default_factory=dict)
    hashes: Literal["file", "pixels"] = "file"
    digest: str = ""


@dataclass(frozen=True)
class Pretraining:
    """What the weights were before the training that the card tells of.

    Attributes:
        weights: model reference that they were named by.
        weights_sha256: hash of those weights; empty where they carry none.
        known: it is known which images they were trained on.
        overlap: images of this training's validation and test splits that they had seen, by split.
    """

    weights: str
    weights_sha256: str = ""
    known: bool = False
    overlap: dict[str, int] = field(default_factory=dict)

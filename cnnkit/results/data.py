"""What is known of the images that a network is trained or measured on."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ClassCount:
    """A class, and how many images of it are in each split."""

    label: str
    train: int
    validation: int
    test: int


@dataclass(frozen=True)
class Duplicates:
    """Images of the same content, byte for byte (of arrays: pixel for pixel); each group by the names of its images.

    Attributes:
        across_splits: groups that stand in more than one split.
        across_classes: groups that stand in more than one class.
        copies: images beyond the first one of each content, wherever they stand.
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
        trained: images that its weights were trained on, those of earlier trainings included.
        validated: images that chose its best epoch, and that it was not trained on.
        pretraining: whether the images that its starting weights were trained on are known; `none` without such.
    """

    known: bool = False
    trained: int = 0
    validated: int = 0
    pretraining: Literal["none", "known", "unknown"] = "none"

    @property
    def unseen(self) -> bool:
        """Whether it is proven that it has seen none of them."""
        return self.known and not self.trained and not self.validated and self.pretraining != "unknown"


"""What every data set is: classes, images with names of their own, and the splits that it gives. No PyTorch."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from cnnkit.data import splits
from cnnkit.data.options import DataOptions
from cnnkit.data.places import Origin, data_folder
from cnnkit.data.results import SkippedFiles
from cnnkit.data.splits import PARTS, Part, Positions
from cnnkit.data.walking import Stat, stat
from cnnkit.images import Fit, Polarity
from cnnkit.pictures import Pixels

_HELD_OUT: tuple[Part, ...] = ("validation", "test")


@dataclass(frozen=True)
class Images:
    """All images of a data set, as they are: files, or arrays of one size.

    `images[7]` is the eighth image, a path or uint8 [H, W] or [H, W, C], and its class index.

    Attributes:
        name: of the data set, or of the folder.
        classes: labels in the order of their indices.
        names: of the images, the same on every machine: the file inside `root`, or the place, such as `train[582]`.
        targets: class of each image, int64 [N].
        splits: positions of the images of each split that the data set gives, some of "train", "validation" and
            "test"; those of all images under "" where it gives none.
        pixels: uint8 [N, H, W] or [N, H, W, C]; None for files.
        root: the folder of the files.
        stats: what tells whether a file changed, by name.
        fit, polarity: how an image from elsewhere is brought to the form of these (see `Preprocessing`).
        groups: what images must share to stay in one split, such as the film that they are frames of; None where each
            image is by itself.
        fingerprint: name of the data set, or a hash of the names and sizes of a folder's files.
        skipped: files that are not read.
        warnings: what a user should know of the files, as sentences without their full stop.
    """

    name: str
    classes: tuple[str, ...]
    names: Sequence[str]
    targets: Positions
    splits: Mapping[str, Positions]
    pixels: Pixels | None = None
    root: Path = Path()
    stats: Mapping[str, Stat] = field(default_factory=dict)
    fit: Fit = "contain"
    polarity: Polarity = "as-is"
    groups: Sequence[str] | None = None
    fingerprint: str = ""
    skipped: tuple[SkippedFiles, ...] = ()
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.targets) != len(self.names):
            raise ValueError(f"there are {len(self.names):,} images and {len(self.targets):,} labels")
        if len(self.targets) and not 0 <= self.targets.min() <= self.targets.max() < len(self.classes):
            found = f"{self.targets.min()} to {self.targets.max()}"
            raise ValueError(f"the labels are {found}, and there are {len(self.classes)} classes")

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, position: int) -> tuple[Path | Pixels, int]:
        image = self.root / self.names[position] if self.pixels is None else self.pixels[position]
        return image, int(self.targets[position])

    @classmethod
    def of_arrays(
        cls,
        dataset: "Dataset",
        classes: Sequence[str],
        parts: Mapping[str, tuple[ArrayLike, ArrayLike]],
    ) -> "Images":
        """Return images of one size, in memory.

        Args:
            dataset: that they belong to.
            classes: labels.
            parts: images, uint8 [N, H, W] or [N, H, W, C], and their class indices [N], by the split that they are of.

        Raises:
            ValueError: they do not fit together.
        """
        pixels = [np.asarray(images) for images, _ in parts.values()]
        if any(each.dtype != np.uint8 for each in pixels):
            raise ValueError(f"the images are {pixels[0].dtype}, and not uint8")
        targets = [np.asarray(labels, np.int64) for _, labels in parts.values()]
        names = [f"{part or 'image'}[{i}]" for part, each in zip(parts, pixels, strict=True) for i in range(len(each))]
        return cls(
            dataset.name,
            tuple(classes),
            names,
            np.concatenate(targets),
            _places(dict(zip(parts, map(len, pixels), strict=True))),
            np.ascontiguousarray(np.concatenate(pixels)),
            fit=dataset.fit,
            polarity=dataset.polarity,
            fingerprint=dataset.name,
        )

    @classmethod
    def of_files(
        cls, dataset: "Dataset", classes: Sequence[str], root: Path, parts: Mapping[str, Iterable[tuple[str, int]]]
    ) -> "Images":
        """Return images in files, which are decoded when they are used.

        Args:
            dataset: that they belong to.
            classes: labels.
            root: folder of the files.
            parts: names of the files inside the root, and their class indices, by the split that they are of.

        Raises:
            OSError: a file is not there.
            ValueError: they do not fit together.
        """
        listed = {part: list(each) for part, each in parts.items()}
        names = [name for each in listed.values() for name, _ in each]
        stats = {name: stat(root / name) for name in names}
        if len(stats) < len(names):
            raise ValueError("a file is listed twice")
        return cls(
            dataset.name,
            tuple(classes),
            names,
            np.array([target for each in listed.values() for _, target in each], np.int64),
            _places({part: len(each) for part, each in listed.items()}),
            root=root,
            stats=stats,
            fit=dataset.fit,
            polarity=dataset.polarity,
            fingerprint=hashlib.sha256("\n".join(f"{n} {s[0]}" for n, s in stats.items()).encode()).hexdigest(),
        )

    @cached_property
    def contents(self) -> list[str]:
        """SHA-256 of each image's pixels, or of its file, in hexadecimal."""
        if self.pixels is not None:
            return [hashlib.sha256(image.data).hexdigest() for image in self.pixels]
        return [hashlib.sha256((self.root / name).read_bytes()).hexdigest() for name in self.names]

    def divided(
        self, options: DataOptions, contents: Sequence[str], without: frozenset[str] = frozenset()
    ) -> tuple[tuple[Part, ...], dict[Part, Positions]]:
        """Return which held-out splits the data set gives, and all three: what it does not give is taken from the rest.

        Args:
            options: how to divide.
            contents: hash of each image's content.
            without: names of images that are left out.
        """
        places = self.splits
        if without:
            kept = np.array([name not in without for name in self.names])
            places = {part: where[kept[where]] for part, where in places.items()}
        given = tuple(part for part in _HELD_OUT if part in places)
        parts: dict[Part, Positions] = {part: places.get(part, np.arange(0)) for part in PARTS}
        rest = places.get("train", places.get("", np.arange(0)))
        shares = {"validation": options.validation_fraction, "test": options.test_fraction}
        shares |= dict.fromkeys(given, 0.0)
        if "validation" in given and options.split_by == "content":
            shares["test"] = 0.0  # validation images without test images mean that there is no test set
        labels = self.targets[rest].tolist()
        if options.split_by == "content":
            keys = [(self.groups or contents)[position] for position in rest.tolist()]
            found = splits.divide(keys, labels, seed=options.split_seed, **shares)
        elif self.pixels is not None:
            found = splits.divide_by_place(len(rest), seed=options.split_seed, validation=options.validation_fraction)
        else:
            names = [self.names[position].removeprefix("train/" * ("train" in places)) for position in rest.tolist()]
            found = splits.divide_by_path(names, labels, seed=options.split_seed, **shares)
        return given, parts | {part: rest[where] for part, where in found.items() if part not in given}


def _places(sizes: Mapping[str, int]) -> dict[str, Positions]:
    """Return the positions of the images of each split, which follow one another."""
    ends = np.cumsum([0, *sizes.values()])
    return {part: np.arange(start, end) for part, start, end in zip(sizes, ends, ends[1:], strict=False)}


@dataclass(frozen=True)
class Location:
    """Where a data set is or would be: `folder` is the data folder, `present` whether every file is there."""

    folder: Path | None
    present: bool
    origin: Origin | Literal["none"]


@dataclass(frozen=True)
class Dataset(ABC):
    """A data set: what is known of it before it is opened, and how to open it. A kind is a subclass with `open`.

    Attributes:
        name: as written on the command line.
        classes: labels in the order of their indices, or only their number where the files say them.
        image_shape: height, width, channels; None where the images differ.
        train, test: number of images; 0 where it gives no such split.
        files: paths under the data folder that must be there, those of folders with a slash at the end; none for a
            data set that needs no files there.
        source: the publication.
        fit, polarity: how an image from elsewhere is brought to the form of these (see `Preprocessing`).
        of_files: its images are files, which may be damaged.
        drawable: the program can draw images of its classes (see `cnnkit.data.digits`).
    """

    name: str
    classes: tuple[str, ...] | int = 0
    image_shape: tuple[int, int, int] | None = None
    train: int = 0
    test: int = 0
    files: tuple[str, ...] = ()
    source: str = ""
    fit: Fit = "contain"
    polarity: Polarity = "as-is"
    of_files: bool = False
    drawable: bool = False

    @abstractmethod
    def open(self, data_dir: Path | None) -> Images:
        """Return the images; they are downloaded where they are not at hand and can be.

        Args:
            data_dir: where to look for the files first.

        Raises:
            DataError: absent, or unusable.
        """

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, as far as they are known before it is opened."""
        return self.classes if isinstance(self.classes, tuple) else ()

    def locate(self, data_dir: Path | None = None) -> Location:
        """Find its files in the data folder."""
        if not self.files:
            return Location(None, True, "none")
        folder, origin = data_folder(data_dir)
        return Location(folder, not self.missing(folder), origin)

    def missing(self, folder: Path) -> list[str]:
        """Return which of its files are not in a data folder."""
        return [f for f in self.files if not ((folder / f).is_dir() if f.endswith("/") else (folder / f).is_file())]

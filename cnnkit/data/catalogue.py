"""What a data set holds and how it is divided, before the images of its splits come into memory."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from cnnkit.data import splits
from cnnkit.data.decoding import Facts
from cnnkit.data.duplicates import duplicate_warnings, find_duplicates
from cnnkit.data.matching import match
from cnnkit.data.options import DataOptions
from cnnkit.data.results import Duplicates, SkippedFiles, SplitRecord
from cnnkit.data.splits import Part, Positions
from cnnkit.data.traits import ImageTraits
from cnnkit.errors import DataError, UsageError
from cnnkit.images import Fit, Polarity, Preprocessing
from cnnkit.pictures import Pixels
from cnnkit.words import listed

Form = Preprocessing | tuple[int, int, int] | Callable[[ImageTraits], tuple[int, int, int]]
"""The preprocessing of a model card, or channels, height and width to derive one for the images of a data set, or what
chooses these by its images."""

HELD_OUT: tuple[Part, ...] = ("validation", "test")


@dataclass(frozen=True)
class Catalogue:
    """The images of a data set: what they are called, what they contain, and which split they belong to.

    Attributes:
        name: of the data set, or of the folder.
        classes: labels in the order of the targets.
        origins: name of each image: the file inside its folder, or its place in the data set, such as `train[582]`.
        contents: hash of each image's content, in hexadecimal; see `SplitRecord.hashes`.
        targets: class of each image, int64 [N].
        parts: positions of the images of each split; damaged images are in none.
        record: how it was divided.
        fingerprint: the name of a data set, or a hash of the names and sizes of a folder's files.
        preprocessing: the form of the images; mean and deviation of a derived one are still those of the unit range.
        own_form: what is done to these images to give them that form.
        pixels: uint8 [N, H, W] or [N, H, W, C]; those of a folder are in the form already.
        file: what the pixels are mapped from; None where they are in memory.
        facts: what was found while a folder was decoded.
        skipped: files of a folder that are not read.
        notes: what a user should know of its files, as sentences without their full stop.
    """

    name: str
    classes: tuple[str, ...]
    origins: Sequence[str]
    contents: Sequence[str]
    targets: Positions
    parts: Mapping[Part, Positions]
    record: SplitRecord
    fingerprint: str
    preprocessing: Preprocessing
    own_form: Preprocessing
    pixels: Pixels
    file: Path | None
    facts: Facts
    skipped: tuple[SkippedFiles, ...]
    notes: tuple[str, ...]

    @cached_property
    def duplicates(self) -> Duplicates:
        """The images that have the content of another one."""
        return find_duplicates(self.origins, self.contents, self.targets.tolist(), self.parts)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a user should know of it, as sentences without their full stop."""
        return (*self.notes, *duplicate_warnings(self.duplicates))

    @property
    def is_prepared(self) -> bool:
        """Whether the pixels have the form of the preprocessing already."""
        return self.record.hashes == "file"

    def relabelled(self, labels: tuple[str, ...], synsets: tuple[str, ...] = (), first: int = 0) -> "Catalogue":
        """Return it with the labels of a network, which its classes are found among (see `cnnkit.data.matching`).

        Raises:
            DataError: a class that the network does not know.
        """
        if self.classes == labels:
            return self
        matching = match(self.classes, labels, synsets, self.name, first=first)
        places = np.array(matching.places, np.int64)
        there = set(places.tolist())
        missing = [label for index, label in enumerate(labels) if index not in there]
        notes = (*self.notes, *([matching.how] if matching.how else []))
        if missing:
            notes += (f"there are no images of {listed(missing, 10)} in {self.name}; the other classes are measured",)
        return replace(self, classes=labels, targets=places[self.targets], notes=notes)

    def missing(self, part: Part) -> list[str]:
        """Return the classes that have no image in a split."""
        there = set(self.targets[self.parts[part]].tolist())
        return [label for index, label in enumerate(self.classes) if index not in there]

    def names(self, part: Part, among: Collection[str] | None = None) -> list[str]:
        """Return what the images of a split are called; only those with some contents, if any are given."""
        places = self.parts[part].tolist()
        return [self.origins[at] for at in places if among is None or self.contents[at] in among]


def record_of(
    options: DataOptions,
    contents: Sequence[str],
    parts: Mapping[Part, Positions],
    given: tuple[Part, ...],
    hashes: Literal["file", "pixels"],
) -> SplitRecord:
    """Return how images were divided; see `SplitRecord`."""
    return SplitRecord(
        by=options.split_by,
        seed=options.split_seed,
        validation_fraction=options.validation_fraction,
        test_fraction=options.test_fraction,
        given=given,
        images={part: len(where) for part, where in parts.items()},
        hashes=hashes,
        digest=splits.digest(contents, parts),
    )


def derived(
    form: Preprocessing | tuple[int, int, int], options: DataOptions, fit: Fit, polarity: Polarity
) -> Preprocessing:
    """Return a given form, or derive one from the options and what suits the images."""
    if isinstance(form, Preprocessing):
        return form
    channels, height, width = form
    if channels not in {1, 3}:
        raise DataError(f"images have 1 or 3 channels; the network expects {channels}.")
    if options.fit != "auto":
        fit = options.fit
    elif fit == "mnist-box" and form != (1, 28, 28):
        fit = "contain"
    if options.crop_fraction is not None and fit != "cover":
        raise UsageError(f"--crop-fraction is for --fit cover, and the fit of {options.data} is {fit}.")
    return Preprocessing(
        channels=3 if channels == 3 else 1,
        height=height,
        width=width,
        mean=(0.0,) * channels,
        std=(1.0,) * channels,
        fit=fit,
        polarity=polarity,
        crop=1.0 if options.crop_fraction is None else options.crop_fraction,
        interpolation="bilinear" if options.interpolation == "auto" else options.interpolation,
    )

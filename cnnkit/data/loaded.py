"""Data sets as uint8 tensors, already in the form that the network expects, in three splits."""

import hashlib
import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cnnkit.data.arrays import fits_in_memory
from cnnkit.data.catalogue import Catalogue, Form
from cnnkit.data.digits import draw_digits
from cnnkit.data.opening import open_catalogue
from cnnkit.data.options import DataOptions
from cnnkit.data.results import Exposure
from cnnkit.data.splits import PARTS, Part, SplitName
from cnnkit.errors import DataError
from cnnkit.images import Preprocessing, prepare_arrays
from cnnkit.pictures import Pixels
from cnnkit.progress import LoadProgress, Notice

_CHUNK = 2000
"""Images that are brought to the network's form between two reports of progress."""

_DRAWN = 1000
"""Drawings of each digit, which the epochs take turns with."""

_COUNTED = 1 << 23
"""Values that are counted together; they take eight bytes each meanwhile."""


@dataclass(frozen=True)
class Split:
    """Images and their classes.

    Attributes:
        images: uint8 [N, H, W, C]; where there are `rows`, all [M, H, W, C] of the data set, mapped from a file.
        targets: class indices, int64 [N].
        rows: which of the images belong to the targets, int64 [N]; None where the split's own fit into memory.
        file: what the images are mapped from, where there are rows.
    """

    images: Tensor
    targets: Tensor
    rows: Tensor | None = None
    file: Path | None = None

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, positions: Tensor) -> Tensor:
        """Return the images at some positions of the split, uint8 [len(positions), H, W, C]."""
        # A tenth of the time that indexing by a tensor takes.
        return self.images.index_select(0, positions if self.rows is None else self.rows[positions])

    def some(self, positions: Tensor) -> "Split":
        """Return the images at some positions as a split of their own."""
        targets = self.targets[positions]
        if self.rows is None:
            return Split(self.images[positions], targets)
        return Split(self.images, targets, self.rows[positions], self.file)

    def drawn(self, count: int) -> "Split":
        """Return so many of the images, of all classes in proportion, in their order; all where it has no more."""
        if count >= len(self):
            return self
        by_class = torch.argsort(self.targets, stable=True)
        chosen = by_class[torch.arange(count) * len(self) // count]
        return self.some(chosen.sort().values)

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images and targets in order, `size` at a time."""
        for start in range(0, len(self), size):
            part = slice(start, start + size)
            yield self.images[part if self.rows is None else self.rows[part]], self.targets[part]


@dataclass(frozen=True)
class ImageData:
    """A data set that is loaded.

    Attributes:
        catalogue: what its images are called, what they contain, and how they were divided.
        preprocessing: the form of its images.
        train, validation, test: the splits that were asked for; the others are empty.
        exposure: what the network that is measured has seen of the split that it is measured on.
        warnings: what a user should know, as sentences without their full stop.
    """

    catalogue: Catalogue
    preprocessing: Preprocessing
    train: Split
    validation: Split
    test: Split
    exposure: Exposure = Exposure()  # noqa: RUF009 - it is frozen
    warnings: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name of the data set, or of the folder."""
        return self.catalogue.name

    @property
    def classes(self) -> tuple[str, ...]:
        """Labels in the order of the targets."""
        return self.catalogue.classes

    @property
    def fingerprint(self) -> str:
        """Name of the data set, or a hash of the names and sizes of a folder's files."""
        return self.catalogue.fingerprint

    @property
    def content(self) -> str:
        """Return a hash of all images, their form and their order in the splits: whether they are what they were."""
        form, known = self.preprocessing, self.catalogue
        digest = hashlib.sha256(repr(replace(form, mean=(0.0,) * form.channels, std=(1.0,) * form.channels)).encode())
        for part in PARTS:
            for position in known.parts[part].tolist():
                digest.update(f"{known.contents[position]} {known.targets[position]} ".encode())
            digest.update(b"\n")
        return digest.hexdigest()

    def split(self, name: SplitName) -> Split:
        """Return a split; `all` is the three together."""
        if name != "all":
            return {"train": self.train, "validation": self.validation, "test": self.test}[name]
        parts = (self.train, self.validation, self.test)
        targets = torch.cat([part.targets for part in parts])
        if rows := [part.rows for part in parts if part.rows is not None]:
            return Split(self.train.images, targets, torch.cat(rows), self.train.file)
        return Split(torch.cat([part.images for part in parts]), targets)

    def filled(self, name: SplitName) -> Split:
        """Return a split that is to be used.

        Raises:
            DataError: there is nothing in it.
        """
        split = self.split(name)
        if not len(split):
            others = [part for part in PARTS if len(self.catalogue.parts[part])]
            instead = f" Use --split {' or '.join(others)}." if others else ""
            raise DataError(f"{self.name} has no {name} images.{instead}")
        return split

    def source(self, name: SplitName, position: int) -> str:
        """Return the file of an image inside its folder, or where it stands in the data set, such as `test[582]`."""
        known, left = self.catalogue, position
        for part in PARTS if name == "all" else (name,):
            if left < len(known.parts[part]):
                return known.origins[int(known.parts[part][left])]
            left -= len(known.parts[part])
        raise IndexError(f"the {name} split of {self.name} has no image {position}")


def load(
    options: DataOptions,
    form: Form,
    *,
    only: tuple[SplitName, ...] = PARTS,
) -> Generator[LoadProgress | Notice, None, ImageData]:
    """Load a data set; yields progress and notes, and returns the data.

    Args:
        options: name the data set, and how it is split and normalised.
        form: the preprocessing of a model card, or channels, height and width to derive one for these images.
        only: the splits to bring into memory; the others come back empty.

    Raises:
        UnknownNameError: no such data set.
        DataError: absent, or unusable.
    """
    known = yield from open_catalogue(options, form)
    data = yield from take(known, only)
    if isinstance(form, Preprocessing):
        if form.value_range is not None or known.facts.value_range is None:
            return data
        # The starting weights were not trained on images deeper than 8 bits.
        return replace(data, preprocessing=replace(form, value_range=known.facts.value_range))
    return replace(data, preprocessing=_normalisation(data, options))


def take(known: Catalogue, only: tuple[SplitName, ...]) -> Generator[LoadProgress, None, ImageData]:
    """Bring the splits that are asked for into memory; yields progress."""
    train = yield from _take(known, "train", only)
    validation = yield from _take(known, "validation", only)
    test = yield from _take(known, "test", only)
    return ImageData(known, known.preprocessing, train, validation, test, warnings=known.warnings)


def _take(known: Catalogue, part: Part, only: tuple[SplitName, ...]) -> Generator[LoadProgress, None, Split]:
    where = known.parts[part] if part in only or "all" in only else known.parts[part][:0]
    targets = torch.from_numpy(known.targets[where])
    if not known.is_prepared:
        pixels = yield from _prepare(known.pixels[where], known.own_form, f"{part} images")
        return Split(torch.from_numpy(pixels), targets)
    images, rows = torch.from_numpy(known.pixels), torch.from_numpy(where)
    if fits_in_memory(known.pixels.nbytes):
        return Split(images[rows], targets)
    return Split(images, targets, rows, known.file)


def drawn_for(data: ImageData, *, seed: int) -> Tensor:
    """Return drawn digits in the form of the data, uint8 [classes, M, H, W, C]."""
    form = data.catalogue.own_form
    drawings = [prepare_arrays(draw_digits(label, _DRAWN, seed=seed), form) for label in data.classes]
    return torch.from_numpy(np.stack(drawings))


def _prepare(images: Pixels, form: Preprocessing, what: str) -> Generator[LoadProgress, None, Pixels]:
    result = np.empty((len(images), *form.shape), np.uint8)
    for start in range(0, len(images), _CHUNK):
        part = slice(start, start + _CHUNK)
        result[part] = prepare_arrays(images[part], form)
        yield LoadProgress(what, min(start + _CHUNK, len(images)), len(images))
    return result


def _normalisation(data: ImageData, options: DataOptions) -> Preprocessing:
    """Return the data's preprocessing with the mean and deviation that the options ask for."""
    channels = data.preprocessing.channels
    mean, std = (0.0,) * channels, (1.0,) * channels
    if options.normalisation == "standard":
        # From counts of the 256 values: exact, and without a float copy of the data.
        values = np.arange(256) / 255
        counts = np.zeros((channels, 256), np.int64)
        size = max(1, _COUNTED // math.prod(data.preprocessing.shape))
        for images, _ in _in_stored_order(data.train).batches(size):
            counts += [np.bincount(c.reshape(-1), minlength=256) for c in np.moveaxis(images.numpy(), -1, 0)]
        total = counts.sum(1)
        centre = counts @ values / total
        deviation = np.sqrt(np.maximum(counts @ values**2 / total - centre**2, 1e-4))
        mean = tuple(round(float(m), 4) for m in centre)
        std = tuple(round(float(d), 4) for d in deviation)
    return replace(data.preprocessing, mean=mean, std=std)


def _in_stored_order(split: Split) -> Split:
    """Return the same images as they follow one another in the file, if they are in one."""
    if split.rows is None:
        return split
    rows, order = split.rows.sort()
    return Split(split.images, split.targets[order], rows)

"""Data sets as uint8 tensors, already in the form that the network expects, in three splits."""

import hashlib
import math
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cnnkit import datasets
from cnnkit.errors import DataError, UnknownNameError
from cnnkit.images import Preprocessing, prepare_arrays
from cnnkit.pictures import Pixels
from cnnkit.recipe import Recipe
from cnnkit.results import LoadNote, LoadProgress
from cnnkit.training import cache, folders, named

_CHUNK = 2000
"""Images that are brought to the network's form between two reports of progress."""

_COUNTED = 1 << 23
"""Values that are counted together; they take eight bytes each meanwhile."""

SplitName = Literal["train", "validation", "test", "all"]


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

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images and targets in order, `size` at a time."""
        for start in range(0, len(self), size):
            part = slice(start, start + size)
            yield self.images[part if self.rows is None else self.rows[part]], self.targets[part]


@dataclass(frozen=True)
class ImageData:
    """A data set that is loaded.

    Attributes:
        preprocessing: the form of its images.
        fingerprint: the name of a data set, or a hash of the names and sizes of a folder's files.
        cached: hash of the contents and names of a folder's files, where its images are cached.
        origins: maps each split to the files of its images, inside the folder, or to their numbers in the data set.
    """

    name: str
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    train: Split
    validation: Split
    test: Split
    fingerprint: str
    cached: str = ""
    origins: Mapping[str, Sequence[str] | NDArray[np.int64]] = field(default_factory=dict)

    @property
    def content(self) -> str:
        """Return a hash of all images and their order in the splits, to tell whether they are what they were."""
        digest = hashlib.sha256(self.cached.encode())
        for split in (self.train, self.validation, self.test):
            digest.update(split.targets.numpy().data)
            if not self.cached:
                digest.update(split.images.numpy().data)
        return digest.hexdigest()

    def split(self, name: SplitName) -> Split:
        """Return a split; `all` is the three together."""
        if name != "all":
            return {"train": self.train, "validation": self.validation, "test": self.test}[name]
        parts = (self.train, self.validation, self.test)
        targets = torch.cat([part.targets for part in parts])
        if rows := [part.rows for part in parts if part.rows is not None]:
            return Split(self.train.images, targets, torch.cat(rows))
        return Split(torch.cat([part.images for part in parts]), targets)

    def filled(self, name: SplitName) -> Split:
        """Return a split that is to be used.

        Raises:
            DataError: there is nothing in it.
        """
        split = self.split(name)
        if not len(split):
            raise DataError(f"the {name} split of {self.name} is empty.")
        return split

    def source(self, name: SplitName, position: int) -> str:
        """Return the file of an image inside its folder, or where it stands in the data set, such as `test[582]`."""
        for part in ("train", "validation", "test") if name == "all" else (name,):
            if position < len(self.origins[part]):
                origin = self.origins[part][position]
                # What is held back for validation is of the data set's own training images.
                return origin if isinstance(origin, str) else f"{'test' if part == 'test' else 'train'}[{origin}]"
            position -= len(self.origins[part])
        raise IndexError(f"the {name} split of {self.name} has no image {position}")


def load(
    recipe: Recipe,
    form: Preprocessing | tuple[int, int, int],
    *,
    data_dir: Path | None = None,
    only: tuple[SplitName, ...] = ("train", "validation", "test"),
) -> Generator[LoadProgress | LoadNote, None, ImageData]:
    """Load the recipe's data set; yields progress and notes, and returns the data.

    Args:
        recipe: names the data set and how it is split and normalised.
        form: the preprocessing of a model card, or channels, height and width to derive one for these images.
        data_dir: where to look for the files first.
        only: the splits to bring into memory; the others come back empty.

    Raises:
        UnknownNameError: no such data set.
        DataError: absent and not to be had, or unusable.
    """
    if recipe.data in datasets.DATASETS:
        spec = datasets.dataset(recipe.data)
        shape = _form(form, spec)
        train, test = named.load_arrays(spec, data_dir)
        order = np.random.default_rng(recipe.seed).permutation(len(train[1]))
        held = min(max(1, round(recipe.validation_fraction * len(order))), len(order) - 1)
        parts = {
            "validation": (train[0][order[:held]], train[1][order[:held]]),
            "train": (train[0][order[held:]], train[1][order[held:]]),
            "test": test,
        }
        splits: dict[str, Split] = {}
        for name, (images, targets) in parts.items():
            wanted = name in only or "all" in only
            pixels = yield from _prepare(images if wanted else images[:0], shape, f"{name} images")
            splits[name] = _split(pixels, targets if wanted else targets[:0])
        data = ImageData(
            spec.name,
            spec.classes,
            shape,
            splits["train"],
            splits["validation"],
            splits["test"],
            spec.name,
            origins={"train": order[held:], "validation": order[:held], "test": np.arange(len(test[1]))},
        )
    else:
        data = yield from _folder(recipe, form, only)
    if isinstance(form, Preprocessing):
        return data
    return replace(data, preprocessing=_normalisation(data, recipe))


def _form(form: Preprocessing | tuple[int, int, int], spec: datasets.DatasetSpec | None) -> Preprocessing:
    if isinstance(form, Preprocessing):
        return form
    channels, height, width = form
    if channels not in {1, 3}:
        raise DataError(f"images have 1 or 3 channels; the network expects {channels}.")
    fit = spec.fit if spec else "contain"
    if fit == "mnist-box" and form != (1, 28, 28):
        fit = "contain"
    zeros, ones = (0.0,) * channels, (1.0,) * channels
    return Preprocessing(3 if channels == 3 else 1, height, width, zeros, ones, fit, spec.polarity if spec else "as-is")


def _folder(
    recipe: Recipe, form: Preprocessing | tuple[int, int, int], only: tuple[SplitName, ...]
) -> Generator[LoadProgress | LoadNote, None, ImageData]:
    listing = list_images(recipe)
    shape = _form(form, None)
    stored = yield from cache.load(listing, shape)
    images, file = torch.from_numpy(stored), getattr(stored, "filename", None)
    fits = cache.fits_in_memory(images.nbytes)
    row = {name: index for index, name in enumerate(listing.files)}
    splits = {}
    for split, pairs in listing.splits.items():
        wanted = pairs if split in only or "all" in only else []
        rows = torch.tensor([row[name] for name, _ in wanted], dtype=torch.int64)
        targets = torch.tensor([target for _, target in wanted], dtype=torch.int64)
        splits[split] = Split(images[rows], targets) if fits else Split(images, targets, rows, file)
    name = Path(recipe.data).expanduser().resolve().name
    cached = Path(file).stem if file else ""
    parts = splits["train"], splits["validation"], splits["test"]
    origins = {split: [file for file, _ in pairs] for split, pairs in listing.splits.items()}
    return ImageData(name, listing.classes, shape, *parts, listing.fingerprint, cached, origins)


def list_images(recipe: Recipe) -> folders.Listing:
    """List and split the image folder that a recipe names.

    Raises:
        UnknownNameError: it is no path, and no data set either.
        DataError: no such folder, or one without images in class folders.
    """
    folder = Path(recipe.data).expanduser()
    if not folder.is_dir() and "/" not in recipe.data and "\\" not in recipe.data:
        raise UnknownNameError(
            "data set", recipe.data, datasets.DATASETS, hint="An image folder is given by its path, such as ./photos."
        )
    return folders.list_folder(
        folder,
        validation_fraction=recipe.validation_fraction,
        test_fraction=recipe.test_fraction,
        seed=recipe.seed,
    )


def _prepare(images: Pixels, form: Preprocessing, what: str) -> Generator[LoadProgress, None, Pixels]:
    result = np.empty((len(images), *form.shape), np.uint8)
    for start in range(0, len(images), _CHUNK):
        part = slice(start, start + _CHUNK)
        result[part] = prepare_arrays(images[part], form)
        yield LoadProgress(what, min(start + _CHUNK, len(images)), len(images))
    return result


def _split(images: Pixels, targets: NDArray[np.int64]) -> Split:
    return Split(torch.from_numpy(images), torch.from_numpy(np.asarray(targets, np.int64)))


def _normalisation(data: ImageData, recipe: Recipe) -> Preprocessing:
    """Return the data's preprocessing with the mean and deviation that the recipe asks for."""
    channels = data.preprocessing.channels
    mean, std = (0.0,) * channels, (1.0,) * channels
    if recipe.normalisation == "standard":
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

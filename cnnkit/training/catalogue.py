"""What a data set holds and how it is divided, before the images of its splits come into memory."""

import csv
import hashlib
import io
import unicodedata
from collections.abc import Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import platformdirs

from cnnkit import datasets, folders, splits
from cnnkit.depth import describe
from cnnkit.errors import DamagedFilesError, DataError, OutputError, UnknownNameError, UsageError
from cnnkit.files import write_atomic
from cnnkit.images import Fit, Preprocessing
from cnnkit.pictures import Pixels
from cnnkit.recipe import Recipe
from cnnkit.results import DamagedFiles, Duplicates, LoadNote, LoadProgress, SplitRecord
from cnnkit.splits import PARTS, Part, Positions
from cnnkit.training import cache, named
from cnnkit.training.decoding import Facts
from cnnkit.training.duplicates import duplicate_warnings, find_duplicates
from cnnkit.words import counted

Form = Preprocessing | tuple[int, int, int]
"""The preprocessing of a model card, or channels, height and width to derive one for the images of a data set."""

_HELD_OUT: tuple[Part, ...] = ("validation", "test")
_NAMED = 3
"""Files that a message names."""


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
        pixels: uint8 [N, H, W] or [N, H, W, C]; those of a folder are in the form already.
        file: what the pixels are mapped from; None where they are in memory.
        facts: what was found while a folder was decoded.
        duplicates: images of the same content.
        warnings: what a user should know, as sentences without their full stop.
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
    pixels: Pixels
    file: Path | None
    facts: Facts
    duplicates: Duplicates
    warnings: tuple[str, ...]

    @property
    def is_folder(self) -> bool:
        """Whether it is an image folder, and no data set with a name."""
        return self.record.hashes == "file"

    def relabelled(self, labels: tuple[str, ...]) -> "Catalogue":
        """Return it with the labels of a network, which its classes are found among by their names.

        Raises:
            DataError: a class that the network does not know.
        """
        if self.classes == labels:
            return self
        known = {_nfc(label): index for index, label in enumerate(labels)}
        strange = [label for label in self.classes if _nfc(label) not in known]
        if strange:
            raise DataError(
                f"{self.name} has {counted(len(strange), 'class', 'classes')} that the network does not know: "
                f"{_shown(strange)}. It knows {_shown(labels)}. Rename the folders, or leave them out."
            )
        places = np.array([known[_nfc(label)] for label in self.classes], np.int64)
        missing = [label for index, label in enumerate(labels) if index not in set(places.tolist())]
        warnings = self.warnings
        if missing:
            warnings += (f"{self.name} has no images of {_shown(missing)}: the other classes are measured",)
        return replace(self, classes=labels, targets=places[self.targets], warnings=warnings)

    def names(self, part: Part) -> list[str]:
        """Return what the images of a split are called."""
        return [self.origins[position] for position in self.parts[part].tolist()]


def open_catalogue(
    recipe: Recipe, form: Form, *, data_dir: Path | None = None
) -> Generator[LoadProgress | LoadNote, None, Catalogue]:
    """Find the images of the recipe's data set and divide them; those of a folder are decoded. Yields progress.

    Raises:
        UnknownNameError: no such data set.
        DataError: absent, or unusable.
        DamagedFilesError: files that cannot be decoded, which the recipe does not leave out.
    """
    if recipe.data in datasets.DATASETS:
        return _of_arrays(recipe, form, data_dir)
    return (yield from _of_folder(recipe, form))


def _of_arrays(recipe: Recipe, form: Form, data_dir: Path | None) -> Catalogue:
    spec = datasets.dataset(recipe.data)
    train, test = named.load_arrays(spec, data_dir)
    pixels = np.concatenate([train[0], test[0]])
    targets = np.concatenate([train[1], test[1]]).astype(np.int64)
    contents = [hashlib.sha256(image.data).hexdigest() for image in pixels]
    count = len(train[1])
    if recipe.split_by == "path":
        parts = splits.divide_by_place(count, seed=recipe.split_seed, validation=recipe.validation_fraction)
    else:
        parts = splits.divide(
            contents[:count],
            targets[:count].tolist(),
            seed=recipe.split_seed,
            validation=recipe.validation_fraction,
            test=0,
        )
    parts["test"] = np.arange(count, len(targets))
    origins = [f"train[{i}]" for i in range(count)] + [f"test[{i}]" for i in range(len(test[1]))]
    return _catalogue(
        recipe,
        spec.name,
        spec.classes,
        origins,
        contents,
        targets,
        parts,
        ("test",),
        "pixels",
        [],
        fingerprint=spec.name,
        preprocessing=_derived(form, recipe, spec.fit, spec),
        pixels=pixels,
        file=None,
        facts=Facts(),
    )


def _of_folder(recipe: Recipe, form: Form) -> Generator[LoadProgress | LoadNote, None, Catalogue]:
    found = read(recipe)
    shape = _derived(form, recipe, "cover" if found.photos else "contain", None)
    stored = yield from cache.load(found.folder, found.files, shape)
    facts = stored.facts
    name = found.folder.resolve().name
    warnings = list(found.warnings)
    if facts.damaged:
        report = _listed(DamagedFiles(str(found.folder), facts.damaged, len(found.files), ""))
        if not recipe.skip_damaged:
            raise DamagedFilesError(
                f"{_damaged(report)}. Repair or remove them, or leave them out with --skip-damaged.", result=report
            )
        warnings.append(f"{_damaged(report)}; they are left out")
    if facts.value_range is not None and shape.value_range is None:
        warnings.append(
            f"{counted(facts.deep, 'image')} of {name} {'has' if facts.deep == 1 else 'have'} more than 8 bits a "
            f"channel; the range {describe(facts.value_range)} was guessed from all of them"
        )
        if not isinstance(form, Preprocessing):
            shape = replace(shape, value_range=facts.value_range)
    if facts.misfits and facts.value_range is not None:
        warnings.append(
            f"the values of {counted(facts.misfits, 'image')} of {name} do not fit the range "
            f"{describe(facts.value_range)} that the network was trained with; they are clipped, or become nearly one colour"
        )
    if facts.frames:
        warnings.append(f"of {counted(facts.frames, 'image')} with several frames only the first one is used")
    if facts.little_kept:
        warnings.append(
            f"{counted(facts.little_kept, 'image')} of {name} {'loses' if facts.little_kept == 1 else 'lose'} more "
            f"than half of the picture by fit {shape.fit}; --fit contain keeps all of it"
        )
    origins = list(found.files)
    row = {origin: position for position, origin in enumerate(origins)}
    contents = [stored.digests[origin] for origin in origins]
    targets = np.zeros(len(origins), np.int64)
    for pairs in found.images.values():
        for origin, target in pairs:
            targets[row[origin]] = target
    places = {
        part: np.array([row[origin] for origin, _ in pairs if origin not in facts.damaged], np.int64)
        for part, pairs in found.images.items()
    }
    given, parts = _divided(recipe, origins, contents, targets, places)
    return _catalogue(
        recipe,
        name,
        found.classes,
        origins,
        contents,
        targets,
        parts,
        given,
        "file",
        warnings,
        fingerprint=found.fingerprint,
        preprocessing=shape,
        pixels=stored.images,
        file=stored.file,
        facts=facts,
    )


def read(recipe: Recipe) -> folders.Contents:
    """Read the image folder that a recipe names.

    Raises:
        UnknownNameError: it is no path, and no data set either.
        DataError: no such folder, or one without images in class folders.
    """
    folder = Path(recipe.data).expanduser()
    if not folder.is_dir() and "/" not in recipe.data and "\\" not in recipe.data:
        raise UnknownNameError(
            "data set", recipe.data, datasets.DATASETS, hint="An image folder is given by its path, such as ./photos."
        )
    return folders.read_folder(folder)


def _divided(
    recipe: Recipe,
    origins: Sequence[str],
    contents: Sequence[str],
    targets: Positions,
    places: Mapping[str, Positions],
) -> tuple[tuple[Part, ...], dict[Part, Positions]]:
    """Return which held-out splits a folder gives, and all three splits: what it does not give is taken from the rest.

    Args:
        places: positions of the images by the split that the folder gives; "" where it gives none.
    """
    given = tuple(part for part in _HELD_OUT if part in places)
    parts: dict[Part, Positions] = {part: places.get(part, np.arange(0)) for part in PARTS}
    rest = places.get("train", places.get("", np.arange(0)))
    shares = {"validation": recipe.validation_fraction, "test": recipe.test_fraction}
    shares |= dict.fromkeys(given, 0.0)
    labels = targets[rest].tolist()
    if recipe.split_by == "path":
        names = [origins[position].removeprefix("train/" * ("train" in places)) for position in rest.tolist()]
        divided = splits.divide_by_path(names, labels, seed=recipe.split_seed, **shares)
    else:
        if "validation" in given:
            shares["test"] = 0.0  # whoever made a validation folder and no test folder wants no test set
        hashes = [contents[position] for position in rest.tolist()]
        divided = splits.divide(hashes, labels, seed=recipe.split_seed, **shares)
    return given, parts | {part: rest[where] for part, where in divided.items() if part not in given}


def _catalogue(
    recipe: Recipe,
    name: str,
    classes: tuple[str, ...],
    origins: Sequence[str],
    contents: Sequence[str],
    targets: Positions,
    parts: dict[Part, Positions],
    given: tuple[Part, ...],
    hashes: Literal["file", "pixels"],
    warnings: list[str],
    **rest: Any,
) -> Catalogue:
    """Add what follows from the split: its record, duplicates, and classes that are too small for it."""
    record = SplitRecord(
        by=recipe.split_by,
        seed=recipe.split_seed,
        validation_fraction=recipe.validation_fraction,
        test_fraction=recipe.test_fraction,
        given=given,
        images={part: len(where) for part, where in parts.items()},
        hashes=hashes,
        digest=splits.digest(contents, parts),
    )
    labels = targets.tolist()
    for part in _HELD_OUT:
        if part not in given and len(parts[part]):
            there = set(targets[parts[part]].tolist())
            missing = [classes[label] for label in sorted(set(labels) - there)]
            if missing:
                warnings.append(
                    f"{_shown(missing)} {'has' if len(missing) == 1 else 'have'} too few different images for the "
                    f"{part} split, which has none of them"
                )
    duplicates = find_duplicates(origins, contents, labels, parts)
    warnings += duplicate_warnings(duplicates)
    return Catalogue(
        name=name,
        classes=classes,
        origins=origins,
        contents=contents,
        targets=targets,
        parts=parts,
        record=record,
        duplicates=duplicates,
        warnings=tuple(warnings),
        **rest,
    )


def _derived(form: Form, recipe: Recipe, fit: Fit, spec: datasets.DatasetSpec | None) -> Preprocessing:
    """Return a given form, or derive one from the recipe and what suits the images."""
    if isinstance(form, Preprocessing):
        return form
    channels, height, width = form
    if channels not in {1, 3}:
        raise DataError(f"images have 1 or 3 channels; the network expects {channels}.")
    polarity = spec.polarity if spec else "as-is"
    if recipe.fit != "auto":
        fit = recipe.fit
    elif fit == "mnist-box" and form != (1, 28, 28):
        fit = "contain"
    if recipe.crop_fraction is not None and fit != "cover":
        raise UsageError(f"--crop-fraction is for --fit cover, and the fit of {recipe.data} is {fit}.")
    return Preprocessing(
        channels=3 if channels == 3 else 1,
        height=height,
        width=width,
        mean=(0.0,) * channels,
        std=(1.0,) * channels,
        fit=fit,
        polarity=polarity,
        crop=1.0 if recipe.crop_fraction is None else recipe.crop_fraction,
        interpolation="bilinear" if recipe.interpolation == "auto" else recipe.interpolation,
    )


def damaged_list(files: Mapping[str, str]) -> bytes:
    """Return the content of a CSV file with a line for each damaged file and its problem."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("file", "problem"), *files.items()])
    return text.getvalue().encode(errors="surrogateescape")


def _listed(found: DamagedFiles) -> DamagedFiles:
    """Write the damaged files to a CSV file in the cache folder, where that can be done."""
    path = platformdirs.user_cache_path("cnnkit") / "damaged" / f"{Path(found.folder).name}.csv"
    with suppress(OutputError):
        write_atomic(path, damaged_list(found.files))
        return replace(found, listed_in=str(path))
    return found


def _damaged(found: DamagedFiles) -> str:
    """Say which files are damaged, without a full stop."""
    shown = "; ".join(problem.rstrip(".") for _, problem in sorted(found.files.items())[:_NAMED])
    every = f" (all of them are listed in {found.listed_in})" if found.listed_in else ""
    return f"{len(found.files):,} of {counted(found.total, 'file')} of {found.folder} cannot be decoded: {shown}{every}"


def _shown(labels: Sequence[str], most: int = 10) -> str:
    return ", ".join(labels[:most]) + (f" and {len(labels) - most:,} more" if len(labels) > most else "")


_nfc = partial(unicodedata.normalize, "NFC")

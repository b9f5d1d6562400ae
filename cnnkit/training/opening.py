"""From a recipe to the catalogue of its data set: a set of arrays with a name, or an image folder."""

import hashlib
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from cnnkit import datasets, folders, splits
from cnnkit.depth import Range, describe
from cnnkit.errors import DamagedFilesError
from cnnkit.images import Fit, Preprocessing
from cnnkit.recipe import Recipe
from cnnkit.results import DamagedFiles, LoadNote, LoadProgress, SkippedFiles
from cnnkit.splits import PARTS, Part, Positions
from cnnkit.training import cache, damaged, named
from cnnkit.training.catalogue import HELD_OUT, Catalogue, Form, derived, record_of
from cnnkit.training.decoding import Facts
from cnnkit.training.traits import ImageTraits
from cnnkit.words import agree, counted, listed


def open_catalogue(
    recipe: Recipe, form: Form, *, data_dir: Path | None = None, fewest: int = 2
) -> Generator[LoadProgress | LoadNote, None, Catalogue]:
    """Find the images of the recipe's data set and divide them; those of a folder are decoded. Yields progress.

    A folder has `fewest` classes at least.

    Raises:
        UnknownNameError: no such data set.
        DataError: absent, or unusable.
        DamagedFilesError: files that cannot be decoded, which the recipe does not leave out.
    """
    if recipe.data in datasets.DATASETS:
        return _of_arrays(recipe, form, data_dir)
    return (yield from _of_folder(recipe, form, fewest))


def _of_arrays(recipe: Recipe, form: Form, data_dir: Path | None) -> Catalogue:
    spec = datasets.dataset(recipe.data)
    train, test = named.load_arrays(spec, data_dir)
    pixels = np.concatenate([train[0], test[0]])
    if callable(form):
        height, width, *channels = pixels.shape[1:]
        form = form(ImageTraits(3 if channels else 1, (height, width)))
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
    return Catalogue(
        name=spec.name,
        classes=spec.classes,
        origins=origins,
        contents=contents,
        targets=targets,
        parts=parts,
        record=record_of(recipe, contents, parts, ("test",), "pixels"),
        fingerprint=spec.name,
        preprocessing=derived(form, recipe, spec.fit, spec),
        pixels=pixels,
        file=None,
        facts=Facts(),
        skipped=(),
        notes=(),
    )


def _of_folder(recipe: Recipe, form: Form, fewest: int) -> Generator[LoadProgress | LoadNote, None, Catalogue]:
    found = read(recipe, fewest=fewest)
    fit: Fit = "cover" if found.photos else "contain"

    def shape_for(traits: ImageTraits) -> Preprocessing:
        return derived(form(traits) if callable(form) else form, recipe, fit, None)

    chosen = shape_for if callable(form) else derived(form, recipe, fit, None)
    stored = yield from cache.load(found.folder, found.files, chosen)
    facts, shape = stored.facts, stored.form
    name = found.folder.resolve().name
    notes = list(found.warnings)
    if facts.damaged:
        report = damaged.with_list(DamagedFiles(str(found.folder), facts.damaged, len(found.files), ""))
        if not recipe.skip_damaged:
            raise DamagedFilesError(
                f"{damaged.described(report)}. Repair or remove them, or leave them out with --skip-damaged.",
                result=report,
            )
        notes.append(f"{damaged.described(report)}; they are left out")
    if facts.value_range is not None:
        notes += _of_range(facts, facts.value_range, name, guessed=shape.value_range is None)
        if not isinstance(form, Preprocessing):
            shape = replace(shape, value_range=facts.value_range)
    if facts.coarse:
        notes.append(f"of {counted(facts.coarse, '16-bit image')} only the upper 8 bits can be read")
    if facts.frames:
        notes.append(f"of {counted(facts.frames, 'image')} with several frames only the first one is used")
    if little := len(facts.little_kept):
        notes.append(
            f"{counted(little, 'image')} of {name} {agree(little, 'loses', 'lose')} more than half of the picture by "
            f"fit {shape.fit}: {listed(facts.little_kept)}; a training with --fit contain keeps all of it"
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
    return Catalogue(
        name=name,
        classes=found.classes,
        origins=origins,
        contents=contents,
        targets=targets,
        parts=parts,
        record=record_of(recipe, contents, parts, given, "file"),
        fingerprint=found.fingerprint,
        preprocessing=shape,
        pixels=stored.images,
        file=stored.file,
        facts=facts,
        skipped=tuple(SkippedFiles(each.reason, each.ending, each.count) for each in found.skipped),
        notes=tuple(notes),
    )


def _of_range(facts: Facts, values: Range, name: str, *, guessed: bool) -> Iterator[str]:
    """Yield what a user should know of the range of values of images deeper than 8 bits."""
    # A folder that fills 16 bits leaves nothing to guess.
    if guessed and values != (0, 65535):
        yield (
            f"{counted(facts.deep, 'image')} of {name} {agree(facts.deep, 'has', 'have')} more than 8 bits a "
            f"channel; the range {describe(values)} was guessed from all of them"
        )
    if facts.misfits:
        yield (
            f"the values of {counted(len(facts.misfits), 'image')} of {name} do not fit the range {describe(values)}, "
            f"so that they are clipped or become nearly one colour: {listed(facts.misfits)}"
        )


def read(recipe: Recipe, *, fewest: int = 2) -> folders.Contents:
    """Read the image folder that a recipe names.

    Raises:
        UnknownNameError: it is no path, and no data set either.
        DataError: no such folder, or one without images in class folders.
    """
    return folders.read_folder(datasets.find_folder(recipe.data), fewest=fewest)


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
    given = tuple(part for part in HELD_OUT if part in places)
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
            shares["test"] = 0.0  # a validation folder without a test folder means that there is no test set
        hashes = [contents[position] for position in rest.tolist()]
        divided = splits.divide(hashes, labels, seed=recipe.split_seed, **shares)
    return given, parts | {part: rest[where] for part, where in divided.items() if part not in given}

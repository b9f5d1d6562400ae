"""Image folders: `DIR/<class>/…` split by seed, or `DIR/train/<class>/…` and `DIR/test/<class>/…`."""

import os
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cnnkit.errors import DataError, ImageError
from cnnkit.files import sha256
from cnnkit.images import SUFFIXES, Pixels, Preprocessing, is_image_file, prepare
from cnnkit.results import LoadProgress

_VALIDATION = ("val", "valid", "validation")


@dataclass(frozen=True)
class Listing:
    """The files of an image folder.

    Attributes:
        classes: names of the class folders, sorted.
        splits: maps train, validation and test to (file, class index) pairs.
        fingerprint: hash of the files' names and sizes.
        has_test_folder: the test split is a folder of its own, not one held back by seed.
    """

    classes: tuple[str, ...]
    splits: dict[str, list[tuple[Path, int]]]
    fingerprint: str
    has_test_folder: bool


def list_folder(folder: Path, *, validation_fraction: float, test_fraction: float, seed: int) -> Listing:
    """Find the classes and files of an image folder and split them.

    Whether a file is held back depends on the seed and its path inside the folder, not on where the folder is.

    Raises:
        DataError: no such folder, fewer than two classes, an empty class, or splits with other classes.
    """
    if not folder.is_dir():
        raise DataError(f"there is no image folder {folder}. Name it by its path with --data.")
    train_folder = folder / "train" if (folder / "train").is_dir() else folder
    by_class = _classes(train_folder)
    classes = tuple(by_class)
    splits: dict[str, list[tuple[Path, int]]] = {"train": [], "validation": [], "test": []}
    given = {
        "test": folder / "test",
        "validation": next((folder / v for v in _VALIDATION if (folder / v).is_dir()), None),
    }
    for split, place in given.items():
        if train_folder is folder or place is None or not place.is_dir():
            continue
        found = _classes(place)
        if tuple(found) != classes:
            raise DataError(f"{place} has the classes {_names(found)}, {train_folder} has {_names(classes)}.")
        splits[split] = [(file, classes.index(name)) for name, files in found.items() for file in files]
    has_test_folder = bool(splits["test"])
    shares = [(s, f) for s, f in (("test", test_fraction), ("validation", validation_fraction)) if not splits[s]]
    for index, (name, files) in enumerate(by_class.items()):
        left = sorted(files, key=lambda f: sha256(f"{seed} {f.relative_to(train_folder).as_posix()}".encode()))
        if len(left) <= len(shares):
            raise DataError(
                f"{train_folder / name} has {len(left)} images; at least {len(shares) + 1} are needed "
                f"so that {' and '.join(s for s, _ in shares)} get one."
            )
        for later, (split, fraction) in zip(range(len(shares), 0, -1), shares, strict=True):
            # Each split that is still to come keeps at least one image, and so does training.
            count = min(max(1, round(fraction * len(left))), len(left) - later)
            splits[split] += [(file, index) for file in left[:count]]
            left = left[count:]
        splits["train"] += [(file, index) for file in left]
    return Listing(classes, splits, _fingerprint(folder, splits), has_test_folder)


def decode_files(
    files: list[tuple[Path, int]], preprocessing: Preprocessing, what: str
) -> Generator[LoadProgress, None, Pixels]:
    """Decode files in parallel; yields how far it is and returns uint8 [N, H, W, C].

    Raises:
        DataError: files that are not usable images, by name.
    """
    result = np.empty((len(files), *preprocessing.shape), np.uint8)
    bad: list[str] = []

    def decode(index: int) -> None:
        try:
            result[index] = prepare(files[index][0], preprocessing).pixels
        except ImageError as error:
            bad.append(str(error))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for done, _ in enumerate(pool.map(decode, range(len(files))), 1):
            if done % 256 == 0 or done == len(files):
                yield LoadProgress(what, done, len(files))
    if bad:
        shown = " ".join(sorted(bad)[:5])
        raise DataError(f"{len(bad)} of {len(files)} files are not usable: {shown} Remove or repair them.")
    return result


def _classes(folder: Path) -> dict[str, list[Path]]:
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if len(names) < 2:
        raise DataError(f"{folder} has {len(names)} class folders; expected at least two, one folder a class.")
    found = {}
    for name in names:
        files = [f for f in (folder / name).rglob("*") if is_image_file(f)]
        if not files:
            raise DataError(f"the class folder {folder / name} has no images ({', '.join(sorted(SUFFIXES))}).")
        found[name] = sorted(files)
    return found


def _names(names: object) -> str:
    return ", ".join(map(str, list(names)[:10]))  # type: ignore[call-overload]


def _fingerprint(folder: Path, splits: dict[str, list[tuple[Path, int]]]) -> str:
    # Names and sizes: enough to recognise a folder that was moved, without reading it twice.
    files = sorted(file for pairs in splits.values() for file, _ in pairs)
    return sha256("\n".join(f"{f.relative_to(folder).as_posix()} {f.stat().st_size}" for f in files).encode())

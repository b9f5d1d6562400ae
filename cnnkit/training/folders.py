"""Image folders: `DIR/<class>/…` split by seed, or `DIR/train/<class>/…` and `DIR/test/<class>/…`."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cnnkit.errors import DataError
from cnnkit.files import sha256
from cnnkit.pictures import SUFFIXES
from cnnkit.words import counted

_VALIDATION = ("val", "valid", "validation")
_ENDINGS = tuple(SUFFIXES)

Stat = tuple[int, int]
"""A file's size in bytes, and when it was last changed in nanoseconds."""


@dataclass(frozen=True)
class Listing:
    """The images of a folder, each named by its path inside it with forward slashes.

    Attributes:
        folder: where they are.
        classes: names of the class folders, sorted.
        files: stat of each image by its name, sorted.
        splits: maps train, validation and test to (name, class index) pairs.
        fingerprint: hash of the files' names and sizes.
        has_test_folder: the test split is a folder of its own, not one held back by seed.
    """

    folder: Path
    classes: tuple[str, ...]
    files: dict[str, Stat]
    splits: dict[str, list[tuple[str, int]]]
    fingerprint: str
    has_test_folder: bool


def list_folder(folder: Path, *, validation_fraction: float, test_fraction: float, seed: int) -> Listing:
    """Find the classes and files of an image folder and split them.

    Whether a file is held back depends on the seed and its path inside the folder, not on where the folder is.

    Raises:
        DataError: no such folder, fewer than two classes, an empty class, or splits with other classes.
    """
    if not folder.is_dir():
        raise DataError(
            f"there is no image folder {folder}{'' if folder.is_absolute() else f' in {Path.cwd()}'}. Expected "
            "DIR/<class>/…, named by its path with --data."
        )
    train = "train/" if (folder / "train").is_dir() else ""
    by_class = _classes(folder, train)
    classes = tuple(by_class)
    stats = {name: status for files in by_class.values() for name, status in files.items()}
    splits: dict[str, list[tuple[str, int]]] = {"train": [], "validation": [], "test": []}
    given = {"test": "test/", "validation": next((f"{v}/" for v in _VALIDATION if (folder / v).is_dir()), None)}
    for split, place in given.items():
        if not train or place is None or not (folder / place).is_dir():
            continue
        found = _classes(folder, place)
        if tuple(found) != classes:
            raise DataError(
                f"{folder / place} has the classes {_shown(found)}, {folder / train} has {_shown(classes)}."
            )
        for index, files in enumerate(found.values()):
            splits[split] += [(name, index) for name in files]
            stats |= files
    has_test_folder = bool(splits["test"])
    shares = [(s, f) for s, f in (("test", test_fraction), ("validation", validation_fraction)) if not splits[s]]
    for index, (label, files) in enumerate(by_class.items()):
        left = sorted(files, key=lambda name: sha256(_encode(f"{seed} {name.removeprefix(train)}")))
        if len(left) <= len(shares):
            raise DataError(
                f"{folder / train / label} has {counted(len(left), 'image')}; at least {len(shares) + 1} are needed "
                f"so that {' and '.join(s for s, _ in shares)} get one."
            )
        for later, (split, fraction) in zip(range(len(shares), 0, -1), shares, strict=True):
            # Each split that is still to come keeps at least one image, and so does training.
            count = min(max(1, round(fraction * len(left))), len(left) - later)
            splits[split] += [(name, index) for name in left[:count]]
            left = left[count:]
        splits["train"] += [(name, index) for name in left]
    stats = _sorted(stats.items())
    # Names and sizes: enough to recognise a folder that was moved, without reading it.
    fingerprint = sha256(_encode("\n".join(f"{name} {size}" for name, (size, _) in stats.items())))
    return Listing(folder, classes, stats, splits, fingerprint, has_test_folder)


def stat(file: str | Path) -> Stat:
    """Return what tells whether a file changed."""
    status = os.stat(file)  # noqa: PTH116 - making a path of each of many names takes longer than this
    return status.st_size, status.st_mtime_ns


def _classes(folder: Path, place: str) -> dict[str, dict[str, Stat]]:
    """Return the images of each class folder inside `place`, itself inside `folder` or empty."""
    where = folder / place
    labels = sorted(entry.name for entry in where.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if len(labels) < 2:
        raise DataError(
            f"{where} has {counted(len(labels), 'class folder')}; expected at least two, one folder a class."
        )
    found = {}
    for label in labels:
        found[label] = _sorted(_images(str(where / label), f"{place}{label}/"))
        if not found[label]:
            raise DataError(f"the class folder {where / label} has no images ({', '.join(sorted(SUFFIXES))}).")
    return found


def _images(folder: str, prefix: str) -> Iterator[tuple[str, Stat]]:
    """Yield the files that `is_image_file` accepts under a folder; links to folders are not followed."""
    try:
        entries = list(os.scandir(folder))
    except PermissionError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _images(entry.path, f"{prefix}{entry.name}/")
        elif entry.name.lower().endswith(_ENDINGS) and not entry.name.startswith(".") and entry.is_file():
            yield prefix + entry.name, stat(entry.path)


def _sorted(files: Iterable[tuple[str, Stat]]) -> dict[str, Stat]:
    # Folder by folder, as paths are sorted: a slash comes before every other character.
    return dict(sorted(files, key=lambda file: file[0].split("/")))


def _encode(text: str) -> bytes:
    return text.encode(errors="surrogateescape")  # names need not be UTF-8


def _shown(labels: Iterable[str]) -> str:
    return ", ".join(list(labels)[:10])

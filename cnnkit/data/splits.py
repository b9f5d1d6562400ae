"""Which images train, validate and test a network: their content decides it, never the run.

An image's rank is a hash of the split seed and of its content: the bytes of a file, or the pixels of an array. The
images of a class are sorted by rank; the test split takes the first ones, the validation split the last ones, and
training the rest. So a larger fraction contains a smaller one, copies of an image stay together, and an image that is
added or removed moves no others than those next to a border.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cnnkit.errors import UsageError

Part = Literal["train", "validation", "test"]
SplitName = Literal["train", "validation", "test", "all"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")
SPLITS: tuple[SplitName, ...] = (*PARTS, "all")


def split_named(name: str | None) -> SplitName | None:
    """Return the split of a name; None stays None.

    Raises:
        UsageError: there is none.
    """
    found = next((split for split in SPLITS if split == name), None)
    if found != name:
        raise UsageError(f"there is no split {name!r}; expected train, validation, test or all.")
    return found


Positions = NDArray[np.int64]
"""Places of images in their data set, int64 [N]."""


def divide(
    contents: Sequence[str], targets: Sequence[int], *, seed: int, validation: float, test: float
) -> dict[Part, Positions]:
    """Divide images by their content.

    Args:
        contents: hash of each image's content, in hexadecimal.
        targets: class of each image.
        seed: of the split.
        validation: fraction of what the test split leaves; 0 for none.
        test: fraction of all images; 0 for none.

    Returns:
        The positions of the images of each split, ascending. A class of three different images or more has one in each
        split that is not 0; of two, the second one validates (or tests, where nothing validates).
    """
    # Images of one content that carry several labels are a class of their own: they must stay together as well.
    labels: dict[str, int | frozenset[int]] = {}
    for content, target in zip(contents, targets, strict=True):
        label = labels.setdefault(content, target)
        if label != target:
            labels[content] = (label if isinstance(label, frozenset) else frozenset({label})) | {target}
    classes: dict[int | frozenset[int], list[str]] = {}
    for content, label in labels.items():
        classes.setdefault(label, []).append(content)
    held: dict[str, Part] = {}
    for members in classes.values():
        ranked = sorted(members, key=lambda content: hashlib.sha256(f"{seed} {content}".encode()).digest())
        tested, validated = _counts(len(ranked), validation, test)
        held |= dict.fromkeys(ranked[:tested], "test")
        held |= dict.fromkeys(ranked[len(ranked) - validated :], "validation")
    return _positions([held.get(content, "train") for content in contents])


def _counts(images: int, validation: float, test: float) -> tuple[int, int]:
    """Return how many images of a class test and validate."""
    tested = max(0, min(max(1, round(test * images)), images - (2 if validation else 1))) if test else 0
    left = images - tested
    return tested, min(max(1, round(validation * left)), left - 1) if validation else 0


def _positions(parts: Iterable[Part]) -> dict[Part, Positions]:
    each = np.array(list(parts), dtype=object)
    return {part: np.flatnonzero(each == part) for part in PARTS}


def divide_by_path(
    names: Sequence[str], targets: Sequence[int], *, seed: int, validation: float, test: float
) -> dict[Part, Positions]:
    """Divide the files of a folder as versions before 0.2 did: by the seed of the training and their names.

    Takes and returns what `divide` does, with names in place of contents; the positions are in the order of old.
    """
    shares: list[tuple[Part, float]] = [("test", test)] * bool(test)
    shares += [("validation", validation)] * bool(validation)
    found: dict[Part, list[int]] = {part: [] for part in PARTS}
    by_class: dict[int, list[int]] = {}
    for position, target in enumerate(targets):
        by_class.setdefault(target, []).append(position)
    for _, left in sorted(by_class.items()):
        left.sort(key=lambda at: hashlib.sha256(f"{seed} {names[at]}".encode(errors="surrogateescape")).hexdigest())
        for later, (part, fraction) in zip(range(len(shares), 0, -1), shares, strict=True):
            count = max(0, min(max(1, round(fraction * len(left))), len(left) - later))
            found[part] += left[:count]
            del left[:count]
        found["train"] += left
    return {part: np.array(positions, np.int64) for part, positions in found.items()}


def divide_by_place(images: int, *, seed: int, validation: float) -> dict[Part, Positions]:
    """Divide the training images of a data set of arrays as versions before 0.2 did: by their places in it."""
    order = np.random.default_rng(seed).permutation(images)
    held = min(max(1, round(validation * images)), images - 1)
    return {"train": order[held:], "validation": order[:held], "test": order[:0]}


def digest(contents: Sequence[str], parts: Mapping[Part, Positions]) -> str:
    """Return the SHA-256 over all contents and their splits; their order and copies of an image do not matter."""
    return digest_of_pairs((contents[at], part) for part, where in parts.items() for at in where.tolist())


def digest_of_pairs(pairs: Iterable[tuple[str, str]]) -> str:
    """Return the same for pairs of a content and its split."""
    return hashlib.sha256("\n".join(sorted({f"{content} {part}" for content, part in pairs})).encode()).hexdigest()

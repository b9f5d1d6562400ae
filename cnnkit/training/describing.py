"""What a run tells of its images before it starts: the classes, and what happens to an image."""

from collections import Counter

import numpy as np

from cnnkit.data.loaded import ImageData
from cnnkit.data.results import ClassCount
from cnnkit.data.splits import PARTS
from cnnkit.depth import describe
from cnnkit.images import Preprocessing
from cnnkit.words import counted, listed


def class_counts(data: ImageData) -> tuple[ClassCount, ...]:
    """Return the classes with their numbers of images in each split."""
    known = data.catalogue
    counts = [np.bincount(known.targets[known.parts[part]], minlength=len(known.classes)).tolist() for part in PARTS]
    return tuple(ClassCount(label, *numbers) for label, *numbers in zip(known.classes, *counts, strict=True))


def preparation(data: ImageData) -> str:
    """Say what the images are, and what is made of them: `32×32 RGB to 28×28 grey`."""
    form, known = data.preprocessing, data.catalogue
    before = _originals(known.facts.originals)
    if before == f"{form.width}×{form.height} {_mode(form.channels)}" and form.fit != "mnist-box" and not form.crops:
        return f"{before}, as they are"
    return f"{before} to {described(form)}"


def described(form: Preprocessing) -> str:
    """Say what a network takes, and how an image gets there: `28×28 grey, contain`."""
    how = [f"{form.width}×{form.height} {_mode(form.channels)}"]
    how.append("boxed and centred as in MNIST" if form.fit == "mnist-box" else str(form.fit))
    if form.resize is not None:
        how.append(f"shorter side to {form.resize}, then the centre")
    elif form.crops:
        how.append(f"the middle {form.crop:.1%} of each side")
    if form.interpolation != "bilinear":
        how.append(str(form.interpolation))
    if form.value_range is not None:
        how.append(f"values {describe(form.value_range)}")
    return ", ".join(how)


def _mode(channels: int) -> str:
    return "grey" if channels == 1 else "RGB"


def _originals(found: dict[str, int]) -> str:
    """Say which sizes and modes files have: the one of all, or from the smallest to the largest."""
    if len(found) <= 1:
        return next(iter(found), "no images")
    split = [(text.partition(" ")[0], text.partition(" ")[2], count) for text, count in found.items()]
    modes = Counter[str]()
    for _, mode, count in split:
        modes[mode] += count
    sides = {tuple(map(int, size.split("×"))) for size, _, _ in split}
    areas = sorted(sides, key=lambda size: size[0] * size[1])
    kinds = listed((mode for mode, _ in modes.most_common()), len(modes))
    if len(sides) == 1:
        return f"{areas[0][0]}×{areas[0][1]} {kinds}"
    ends = [f"{width}×{height}" for width, height in (areas[0], areas[-1])]
    return f"{ends[0]} to {ends[1]} {kinds} in {counted(len(sides), 'size')}"

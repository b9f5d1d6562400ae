"""Bounds of values that are made of windows: convolutions, pooling, resizing, padding and patches.

The sources of a dimension say for each place of the result which places it is made of.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from cnnkit.inspection.arguments import Rule, Setting, Shape, Value, listed, of
from cnnkit.inspection.bounds import Bounds, Sources, UnknownError, joined

# Of source and result together; a longer one takes seconds.
_MOST = 2**29
_BLOCK = 2**22


@lru_cache(maxsize=4096)
def sliding(size: int, places: int, kernel: int, stride: int, padding: int, dilation: int) -> Sources:
    """Return the sources of a convolution or a pooling; padding is none."""
    found = (np.arange(places) * stride - padding)[:, None] + np.arange(kernel) * dilation
    return np.where((found >= 0) & (found < size), found, size)


@lru_cache(maxsize=1024)
def transposed_sources(size: int, places: int, kernel: int, stride: int, padding: int, dilation: int) -> Sources:
    """Return the sources of a transposed convolution: where a step of the kernel hits a place."""
    steps = (np.arange(places) + padding)[:, None] - np.arange(kernel) * dilation
    hit = (steps % stride == 0) & (steps >= 0) & (steps < size * stride)
    return np.where(hit, steps // stride, size)


@lru_cache(maxsize=1024)
def even(size: int, places: int) -> Sources:
    """Return the sources of adaptive pooling: windows as even as can be, which may overlap."""
    place = np.arange(places)
    first, end = place * size // places, -(-(place + 1) * size // places)
    found = first[:, None] + np.arange((end - first).max(initial=0))
    return np.where(found < end[:, None], found, size)


@lru_cache(maxsize=1024)
def by_trying(
    function: Callable[..., Tensor],
    rank: int,
    size: int,
    places: int,
    corners: tuple[bool, ...],
    scale: float | None,
    changes: bool,
) -> Sources:
    """Return the sources of an operator that resizes, found by giving it each place alone.

    Args:
        function: the operator, of images with `rank` axes; each is resized on its own.
        size: before.
        places: after.
        corners: `align_corners` where the operator takes it, nothing otherwise.
        scale: how much larger, where that was said in place of the size.
        changes: any axis comes out with another size.

    Raises:
        UnknownError: too many places to try.
    """
    if size * places > _MOST:
        raise UnknownError(f"{size} places, resized to {places}")
    # Where nothing changes its size operators copy, whatever the scale says.
    ones, others = (1,) * (rank - 1), (2 if changes else 1,) * (rank - 1)
    pairs = []
    step = max(1, _BLOCK // max(size, places))
    for start in range(0, size, step):
        count = min(step, size - start)
        alone = torch.eye(count, size, dtype=torch.float64)
        alone = alone.roll(start, 1).reshape(count, 1, *ones, size)
        weights = function(alone, [*others, places], *corners, *(None,) * (rank - 1), scale)
        weights = weights.reshape(count, -1, places)[:, 0]
        pairs.append(weights.T.nonzero().numpy() + np.array([0, start]))
    rows, columns = np.concatenate(pairs).T
    order = np.argsort(rows, kind="stable")
    rows, columns = rows[order], columns[order]
    counts = np.bincount(rows, minlength=places)
    found = np.full((places, counts.max(initial=1)), size)
    found[rows, np.arange(len(rows)) - (counts.cumsum() - counts)[rows]] = columns
    return found


def convolution(
    out: Shape, source: Value, weight: Value, bias: Value | None, stride: Setting, padding: Setting, dilation: Setting,
    swapped: bool = False, output_padding: Setting = 0, groups: int = 1, *rest: object,
) -> Bounds:  # fmt: skip
    """Follow a convolution or, `swapped`, a transposed one; weights may come from the image as well."""
    image, kernel = of(source), list(weight.shape[2:])
    made = weight.shape[1] * groups if swapped else weight.shape[0]
    if swapped and isinstance(weight, Bounds):
        raise UnknownError("a transposed convolution with weights made of the image")
    inputs = image.shape[1]
    image = image.viewed((image.shape[0], groups, inputs // groups, *image.shape[2:])).reduced([2], keep=True)
    image = image.expanded((*image.shape[:2], made // groups, *image.shape[3:]))
    image = image.viewed((image.shape[0], made, *image.shape[3:]))
    channels = tuple(place == 1 for place in range(len(out)))
    image = Bounds(image.shape, channels, image.ends)
    settings = (listed(value, len(kernel)) for value in (stride, padding, dilation))
    for place, (size, s, p, d) in enumerate(zip(kernel, *settings, strict=True), 2):
        sources = (transposed_sources if swapped else sliding)(image.shape[place], out[place], size, s, p, d)
        image = image.gathered(place, sources)
    others = []
    if isinstance(weight, Bounds):
        whole = weight.reduced(range(1, len(weight.shape)))
        others.append(whole.viewed((1, made, *(1,) * len(kernel))))
    if isinstance(bias, Bounds):
        others.append(bias.viewed((1, made, *(1,) * len(kernel))))
    return joined(out, [image, *others]) if others else image


def _slid(
    out: Shape, source: Bounds, kernel: Sequence[int], stride: Setting, padding: Setting, dilation: Setting
) -> Bounds:
    count = len(kernel)
    settings = (listed(value, count) for value in (stride or kernel, padding, dilation))
    for place, (size, s, p, d) in enumerate(zip(kernel, *settings, strict=True), -count):
        source = source.gathered(place, sliding(source.shape[place], out[place], size, s, p, d))
    return source


def pool(
    out: Shape,
    source: Bounds,
    kernel: Sequence[int],
    stride: Setting = (),
    padding: Setting = 0,
    dilation: Setting = 1,
    *rest: object,
) -> Bounds:
    """Follow a maximum over windows."""
    return _slid(out, source, kernel, stride, padding, dilation)


def average(
    out: Shape, source: Bounds, kernel: Sequence[int], stride: Setting = (), padding: Setting = 0, *rest: object
) -> Bounds:
    """Follow a mean over windows."""
    return _slid(out, source, kernel, stride, padding, 1)


def adaptive(out: Shape, source: Bounds, size: Sequence[int], *rest: object) -> Bounds:
    """Follow a mean or a maximum over even windows."""
    for place in range(-len(size), 0):
        source = source.gathered(place, even(source.shape[place], out[place]))
    return source


def resized(function: Callable[..., Tensor], rank: int, *, corners: bool) -> Rule:
    """Return the rule of an operator that resizes the last `rank` dimensions."""

    def rule(out: Shape, source: Bounds, size: object, *rest: object) -> Bounds:
        own = (bool(rest[0]),) if corners else ()
        scales = (*rest[len(own) :], *(None,) * rank)
        changes = source.shape[-rank:] != out[-rank:]
        for axis in range(rank):
            place = axis - rank
            before, after = source.shape[place], out[place]
            source = source.gathered(place, by_trying(function, rank, before, after, own, scales[axis], changes))
        return source

    return rule


def padded(mode: Literal["constant", "reflect", "edge"]) -> Rule:
    """Return the rule of padding by a mode of `numpy.pad`; negative padding crops."""

    def rule(out: Shape, source: Bounds, sizes: Sequence[int], *rest: object) -> Bounds:
        for step in range(len(sizes) // 2):
            before, after = sizes[2 * step], sizes[2 * step + 1]
            size = source.shape[-1 - step]
            kept = np.arange(size)[max(-before, 0) : size + min(after, 0)]
            added = (max(before, 0), max(after, 0))
            outside: dict[str, Any] = {"constant_values": size} if mode == "constant" else {}
            index = np.pad(kept, added, mode, **outside)
            source = source.gathered(-1 - step, index[:, None])
        return source

    return rule


def unfolded(out: Shape, source: Bounds, dim: int, size: int, step: int) -> Bounds:
    """Make windows of a dimension, along a new one at the end."""
    dim %= len(source.shape)
    places = out[dim]
    image = source.windows(dim, sliding(source.shape[dim], places, size, step, 0, 1))
    return image.permuted([*(d for d in range(len(image.shape)) if d != dim + 1), dim + 1])


def patches(
    out: Shape,
    source: Bounds,
    kernel: Sequence[int],
    dilation: Sequence[int],
    padding: Sequence[int],
    stride: Sequence[int],
) -> Bounds:
    """Columns of patches [N, C·kernel, patches]."""
    image = source
    for axis in (1, 0):
        size = image.shape[2 + axis]
        places = (size + 2 * padding[axis] - dilation[axis] * (kernel[axis] - 1) - 1) // stride[axis] + 1
        found = sliding(size, places, kernel[axis], stride[axis], padding[axis], dilation[axis])
        image = image.windows(2 + axis, found)
    columns = image.permuted([0, 1, 3, 5, 2, 4]).viewed(out)
    return Bounds(out, (False, True, False), columns.ends)


def folded(
    out: Shape,
    source: Bounds,
    size: Sequence[int],
    kernel: Sequence[int],
    dilation: Sequence[int],
    padding: Sequence[int],
    stride: Sequence[int],
) -> Bounds:
    """Patches put back, and summed where they overlap."""
    places = [
        (size[i] + 2 * padding[i] - dilation[i] * (kernel[i] - 1) - 1) // stride[i] + 1 for i in range(2)
    ]  # fmt: skip
    image = source.viewed((*out[:2], *kernel, *places)).permuted([0, 1, 2, 4, 3, 5])
    image = image.viewed((*out[:2], kernel[0] * places[0], kernel[1] * places[1]))
    for axis in range(2):
        steps = transposed_sources(places[axis], size[axis], kernel[axis], stride[axis], padding[axis], dilation[axis])
        offsets = np.arange(kernel[axis]) * places[axis]
        none_of = kernel[axis] * places[axis]
        image = image.gathered(2 + axis, np.where(steps < places[axis], steps + offsets, none_of))
    return Bounds(out, (False, True, False, False), image.ends)

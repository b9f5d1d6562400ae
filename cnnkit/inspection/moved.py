"""Bounds of values that an operator only puts elsewhere, leaves out or repeats."""

from collections.abc import Sequence
from math import prod

import numpy as np
import torch
from torch import Tensor

from cnnkit.inspection.arguments import Setting, Shape, Value, listed, of
from cnnkit.inspection.bounds import Bounds, UnknownError, concatenated, joined, none


def same(out: Shape, source: Bounds, *rest: object) -> Bounds:
    """Work on each value alone."""
    return source


def nothing(out: Shape, *arguments: object) -> None:
    """Take no more than the shape of an argument."""


def expanded(out: Shape, source: Value, *rest: object) -> Bounds:
    """Repeat single dimensions."""
    return of(source).expanded(out)


def copied(out: Shape, target: Value, source: Value | complex, *rest: object) -> Bounds:
    """Replace all values by others, or by a number."""
    return of(source).expanded(out) if isinstance(source, Bounds | Tensor) else none(out)


def permuted(out: Shape, source: Bounds, dims: Sequence[int]) -> Bounds:
    """Order dimensions anew."""
    return source.permuted(dims)


def transposed(out: Shape, source: Bounds, first: int = 0, second: int = -1) -> Bounds:
    """Exchange two dimensions."""
    return source.swapped(first, second)


def viewed(out: Shape, source: Bounds, *rest: object) -> Bounds:
    """Read the values as another shape."""
    return source.viewed(out)


def restrided(out: Shape, source: Bounds, size: Sequence[int], strides: Sequence[int], *rest: object) -> Bounds:
    """Change the order in memory of a tensor that was just made, of which only single dimensions come out otherwise."""
    inner = 1
    for length, step in zip(reversed(size), reversed(strides), strict=True):
        if length > 1 and step != inner:
            raise UnknownError("values in another order")
        inner *= length
    return source.viewed(out)


def squeezed(out: Shape, source: Bounds, dims: Setting | None = None) -> Bounds:
    """Drop dimensions of size 1: all, or those of some."""
    chosen = range(len(source.shape)) if dims is None else listed(dims, 1)
    return source.reduced([dim for dim in chosen if source.shape[dim] == 1])


def unsqueezed(out: Shape, source: Bounds, dim: int) -> Bounds:
    """Add a dimension."""
    dim %= len(out)
    channels = (*source.channels[:dim], False, *source.channels[dim:])
    return source.changed(lambda ends: np.expand_dims(ends, dim + 1), out, channels)


def sliced(
    out: Shape, source: Bounds, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Bounds:
    """Keep each step-th place from one to another."""
    return source.gathered(dim, np.arange(source.shape[dim])[start:end:step, None])


def selected(out: Shape, source: Bounds, dim: int, index: int) -> Bounds:
    """Keep one place of a dimension, without the dimension."""
    return source.gathered(dim, np.arange(source.shape[dim])[[index], None]).reduced([dim])


def unbound(out: Shape, source: Bounds, dim: int = 0) -> list[Bounds]:
    """Split a dimension into its places."""
    return [selected(out, source, dim, index) for index in range(source.shape[dim])]


def split(out: Shape, source: Bounds, sizes: int | Sequence[int], dim: int = 0) -> list[Bounds]:
    """Split a dimension into parts of a size or of several."""
    whole = np.arange(source.shape[dim])[:, None]
    borders = range(sizes, len(whole), sizes) if isinstance(sizes, int) else np.cumsum(sizes)[:-1]
    return [source.gathered(dim, part) for part in np.split(whole, list(borders))]


def indexed(out: Shape, source: Bounds, indices: Sequence[Tensor | None]) -> Bounds:
    """Keep places by one list of them, or by marks, along one dimension."""
    given = [(dim, index) for dim, index in enumerate(indices) if index is not None]
    if len(given) != 1 or len(given[0][1].shape) != 1:
        raise UnknownError("an index of several dimensions")
    return picked(out, source, *given[0])


def picked(out: Shape, source: Bounds, dim: int, index: Tensor) -> Bounds:
    """Keep the places of an index along a dimension."""
    size = source.shape[dim]
    if all(ends.shape[dim % len(out) + 1] == 1 for ends in source.ends.values()):
        return source.changed(lambda ends: ends, out, source.channels)
    if index.is_meta:
        raise UnknownError("an index, whose values are not known")
    values = index.nonzero()[:, 0] if index.dtype in {torch.bool, torch.uint8} else index % size
    return source.gathered(dim, values.numpy()[:, None])


def glu(out: Shape, source: Bounds, dim: int = -1) -> Bounds:
    """Gate one half of a dimension with the other."""
    return joined(out, split(out, source, source.shape[dim] // 2, dim))


def rolled(out: Shape, source: Bounds, shifts: Setting, dims: Setting = ()) -> Bounds:
    """Shift places in a circle."""
    if not dims:
        return rolled(out, source.viewed((prod(out),)), shifts, [0]).viewed(out)
    for shift, dim in zip(listed(shifts, 1), listed(dims, 1), strict=True):
        source = source.gathered(dim, np.roll(np.arange(source.shape[dim]), shift)[:, None])
    return source


def flipped(out: Shape, source: Bounds, dims: Sequence[int]) -> Bounds:
    """Turn dimensions round."""
    for dim in dims:
        source = source.gathered(dim, np.arange(source.shape[dim])[::-1, None])
    return source


def turned(out: Shape, source: Bounds, times: int = 1, dims: Sequence[int] = (0, 1)) -> Bounds:
    """Turn by quarters."""
    for _ in range(times % 4):
        source = flipped(out, source.swapped(*dims), dims[:1])
    return source


def repeated(out: Shape, source: Bounds, times: Sequence[int]) -> Bounds:
    """Repeat a tensor as tiles."""
    source = source.expanded((*(1,) * (len(times) - len(source.shape)), *source.shape))
    for dim, count in enumerate(times):
        source = source.gathered(dim, np.tile(np.arange(source.shape[dim]), count)[:, None])
    return source


def concatenated_parts(out: Shape, parts: Sequence[Value], dim: int = 0) -> Bounds:
    """Put tensors one after another."""
    return concatenated(out, dim, [of(part) for part in parts])


def stacked(out: Shape, parts: Sequence[Value], dim: int = 0) -> Bounds:
    """Put tensors one after another along a new dimension, as features of the same place."""
    dim %= len(out)
    single = (*out[:dim], 1, *out[dim + 1 :])
    found = concatenated(out, dim, [unsqueezed(single, of(part), dim) for part in parts])
    return Bounds(out, (*found.channels[:dim], True, *found.channels[dim + 1 :]), found.ends)


def shuffled(out: Shape, source: Bounds, factor: int) -> Bounds:
    """Channels to pixels."""
    *lead, _, h, w = source.shape
    parts = source.viewed((*lead, out[-3], factor, factor, h, w))
    n = len(lead)
    found = parts.permuted([*range(n), n, n + 3, n + 1, n + 4, n + 2]).viewed(out)
    return Bounds(out, source.channels, found.ends)


def unshuffled(out: Shape, source: Bounds, factor: int) -> Bounds:
    """Pixels to channels, which are of one place from then on."""
    *lead, c, _, _ = source.shape
    n = len(lead)
    parts = source.viewed((*lead, c, out[-2], factor, out[-1], factor))
    found = parts.permuted([*range(n), n, n + 2, n + 4, n + 1, n + 3]).viewed(out)
    return Bounds(out, source.channels, found.ends)


def channels_shuffled(out: Shape, source: Bounds, groups: int) -> Bounds:
    """Interleave groups of channels."""
    n, c, *spatial = source.shape
    return source.viewed((n, groups, c // groups, *spatial)).swapped(1, 2).viewed(out)

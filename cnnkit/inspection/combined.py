"""Bounds of values that are made of several: at one place, all along dimensions, of matrix products and attention."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from cnnkit.inspection.arguments import Setting, Shape, Value, of, tracked
from cnnkit.inspection.bounds import Bounds, UnknownError, joined


def pointwise(out: Shape, *arguments: object) -> Bounds:
    """Combine values at the same place."""
    return joined(out, tracked(arguments))


def chosen(out: Shape, *arguments: object) -> Bounds:
    """Choose values by what is not known: a condition, or the diagonal that makes a mask."""
    raise UnknownError("a mask, whose values are not known")


def where(out: Shape, condition: Value, *rest: object) -> Bounds:
    """Take each value from one of two, by a condition."""
    return pointwise(out, condition, *rest) if isinstance(condition, Bounds) else chosen(out)


def filled(out: Shape, source: Value, condition: Value, value: object) -> Bounds:
    """Replace values by another, by a condition."""
    return pointwise(out, source, condition, value) if isinstance(condition, Bounds) else chosen(out)


def _dims(source: Bounds, dims: Setting | None) -> list[int]:
    if dims is None or (isinstance(dims, list | tuple) and not dims):
        return list(range(len(source.shape)))
    return [dims] if isinstance(dims, int) else list(dims)


def reduced(out: Shape, source: Bounds, dims: Setting | None = None, *rest: object) -> Bounds:
    """Make one of all values along dimensions, as `mean(dims)`."""
    return source.reduced(_dims(source, dims), keep=len(out) == len(source.shape))


def reduced_by(out: Shape, source: Bounds, by: object = None, dims: Setting | None = None, *rest: object) -> Bounds:
    """Reduce with a setting in front, as `norm(p, dims)`."""
    return reduced(out, source, dims)


def spread(out: Shape, source: Bounds, dims: Setting = -1, *rest: object) -> Bounds:
    """Make each value of all along dimensions, as softmax."""
    found = source.spread(_dims(source, dims))
    return Bounds(out, found.channels, found.ends)


def largest(out: Shape, source: Bounds, count: int, dim: int = -1, *rest: object) -> Bounds:
    """Choose some of the values along a dimension: `topk(count, dim)`."""
    return spread(out, source, dim)


def accumulated(out: Shape, source: Bounds, dim: int, *rest: object) -> Bounds:
    """Make each value of all up to it."""
    axis = dim % max(len(source.shape), 1) + 1
    return source.changed(lambda ends: np.minimum.accumulate(ends, axis), source.shape, source.channels)


def batch_norm(out: Shape, source: Bounds, *rest: object) -> Bounds:
    """With running statistics each value alone; with those of the batch all values of a channel."""
    training = next(value for value in rest if isinstance(value, bool))
    return source.spread([0, *range(2, len(out))]) if training else source


def group_norm(
    out: Shape, source: Bounds, weight: object, bias: object, n: int, c: int, size: int, groups: int, *rest: object
) -> Bounds:
    """Make each value of all in its group of channels."""
    grouped = source.viewed((n, groups, c // groups, *out[2:]))
    found = grouped.spread(range(2, len(grouped.shape))).viewed(out)
    return Bounds(out, source.channels, found.ends)


def layer_norm(out: Shape, source: Bounds, sizes: Sequence[int], *rest: object) -> Bounds:
    """Make each value of all in the last dimensions."""
    return source.spread(range(-len(sizes), 0))


def product(out: Shape, left: Value, right: Value, *rest: object) -> Bounds:
    """Matrix products, of several at once too: a row of the one, a column of the other."""
    first, second = of(left), of(right)
    found = joined(out, [first.reduced([-1], keep=True), second.reduced([-2], keep=True)])
    rows = first.channels[-2] if first.ends else _weighted(second, -2)
    columns = second.channels[-1] if second.ends else _weighted(first, -1)
    return Bounds(out, (*found.channels[:-2], rows, columns), found.ends)


def _weighted(source: Bounds, dim: int) -> bool:
    """Whether weights make features of a dimension: not of one of places, while another holds the features."""
    kind = source.channels[dim]
    return kind is not False or not any(source.channels)


def added_product(out: Shape, added: Value, left: Value, right: Value, *rest: object) -> Bounds:
    """Add a matrix product to something."""
    found = product(out, left, right)
    return joined(out, [found, added]) if isinstance(added, Bounds) else found


def vector_product(out: Shape, left: Value, right: Value, *rest: object) -> Bounds:
    """A matrix, or a vector, with a vector."""
    return joined(out, [of(left).reduced([-1]), of(right).reduced([-1])])


def attention(out: Shape, query: Value, key: Value, value: Value, *rest: object) -> Bounds:
    """Make each query's value of all keys and values; masks are not read."""
    # Operators differ in where they take the mask and `is_causal`.
    if any(isinstance(option, Tensor | Bounds) or option is True for option in rest):
        raise UnknownError("a mask, whose values are not known")
    parts = [
        of(query).reduced([-1], keep=True), of(key).reduced([-1, -2], keep=True), of(value).reduced([-2], keep=True)
    ]  # fmt: skip
    found = joined(out, parts)
    return Bounds(out, (*found.channels[:-1], True), found.ends)

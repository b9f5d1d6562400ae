"""Which rows and columns of an image the values of a tensor depend on: the first and the last one, for every value.

The extent of a union is that of the first and the last of its parts. So the minimum of the first and the maximum of the
last is exact, whatever the operators are: nothing is assumed of strides, jumps or borders.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod

import numpy as np
from numpy.typing import NDArray

from cnnkit.inspection.kinds import Kind, Part, agreed, kinds_of, parts_of, without_order

Ends = NDArray[np.int32]
Sources = NDArray[np.intp]
"""For each place of a result [places, several]: the places it is made of; one past the last where there is none."""

# First and last of what depends on nothing: larger than any size, and its double still fits.
NOTHING = np.int32(2**30)


class UnknownError(Exception):
    """What a value depends on cannot be told without the values; the message says why."""


@dataclass(frozen=True)
class Bounds:
    """What each value of a tensor depends on.

    Attributes:
        shape: of the tensor.
        channels: the kind of each dimension. The field of a place is that of all its features together.
        ends: by input and by axis of it, [2, *shape]: the first index and minus the last one, so that both are combined
            by the minimum; of size 1 along dimensions that make no difference. Without one, nothing depends on it.
        lost: why this is not known, and the rest says nothing; empty where it is.
    """

    shape: tuple[int, ...]
    channels: tuple[Kind, ...]
    ends: dict[tuple[int, int], Ends]
    lost: str = ""

    @cached_property
    def extents(self) -> list[tuple[int, ...]]:
        """For each input that plays a part, the largest extent that a place depends on, in pixels, along each axis."""
        parts = [parts_of(kind, size) for kind, size in zip(self.channels, self.shape, strict=True)]
        found: dict[int, list[int]] = {}
        for (given, _), ends in sorted(self.ends.items()):
            whole = _without_features(ends, parts)
            largest = int((1 - whole[0] - whole[1]).max(initial=0))
            found.setdefault(given, []).append(largest)
        return [tuple(sizes) for sizes in found.values() if all(size > 0 for size in sizes)]

    def changed(self, change: Callable[[Ends], Ends], shape: Sequence[int], channels: Iterable[Kind]) -> "Bounds":
        """Return bounds of another shape, with each array changed in the same way."""
        return Bounds(tuple(shape), tuple(channels), {key: change(ends) for key, ends in self.ends.items()})

    def gathered(self, dim: int, sources: Sources) -> "Bounds":
        """Make each place along a dimension of several places of it."""
        dim %= len(self.shape)
        axis, size = dim + 1, self.shape[dim]
        used = sources < size
        complete = bool(used.all())
        made = (1,) * axis + (len(sources),) + (1,) * (len(self.shape) - axis)
        some = used.any(axis=1)
        absent = np.where(some, -NOTHING, NOTHING).astype(np.int32).reshape(made)

        def change(ends: Ends) -> Ends:
            if ends.shape[axis] == 1:
                # Not so where a place is made of padding alone.
                return ends if some.all() else np.maximum(ends, absent)
            if not complete:
                padding = np.full((*ends.shape[:axis], 1, *ends.shape[axis + 1 :]), NOTHING, np.int32)
                ends = np.concatenate([ends, padding], axis)
            if sources.shape[1] == 1:
                return ends.take(sources[:, 0], axis)
            found: Ends = ends.take(sources, axis).min(axis + 1)
            return found

        shape = (*self.shape[:dim], len(sources), *self.shape[dim + 1 :])
        return self.changed(change, shape, without_order(self.channels, dim))

    def windows(self, dim: int, sources: Sources) -> "Bounds":
        """Put windows [places, several] in the place of a dimension, as two."""
        dim %= len(self.shape)
        flat = self.gathered(dim, sources.reshape(-1, 1))
        return flat.viewed((*flat.shape[:dim], *sources.shape, *flat.shape[dim + 1 :]))

    def reduced(self, dims: Iterable[int], *, keep: bool = False) -> "Bounds":
        """Make one value of all along some dimensions."""
        places = {dim % max(len(self.shape), 1) for dim in dims}
        axes = tuple(place + 1 for place in places)
        shape = [1 if place in places else size for place, size in enumerate(self.shape)]
        channels = without_order(self.channels, *places)
        kept = self.changed(lambda ends: ends.min(axis=axes, keepdims=True), shape, channels)
        if keep:
            return kept
        left = [place for place in range(len(self.shape)) if place not in places]
        return kept.changed(
            lambda ends: ends.squeeze(axes), [shape[place] for place in left], [channels[place] for place in left]
        )

    def spread(self, dims: Iterable[int]) -> "Bounds":
        """Make every value depend on all along some dimensions."""
        return replace(self.reduced(dims, keep=True), shape=self.shape)

    def permuted(self, dims: Sequence[int]) -> "Bounds":
        """Order dimensions anew."""
        order = [dim % len(self.shape) for dim in dims]
        axes = (0, *(dim + 1 for dim in order))
        return self.changed(
            lambda ends: ends.transpose(axes), [self.shape[d] for d in order], [self.channels[d] for d in order]
        )

    def swapped(self, first: int, second: int) -> "Bounds":
        """Exchange two dimensions."""
        order = list(range(len(self.shape)))
        if order:
            order[first], order[second] = order[second], order[first]
        return self.permuted(order)

    def expanded(self, shape: Sequence[int]) -> "Bounds":
        """Repeat values along dimensions of size 1, and along new ones in front."""
        new = (1,) * (len(shape) - len(self.shape))
        return self.changed(
            lambda ends: ends.reshape(2, *new, *ends.shape[1:]), shape, (False,) * len(new) + self.channels
        )

    def viewed(self, shape: Sequence[int]) -> "Bounds":
        """Read values in the same order as a tensor of another shape."""
        if tuple(shape) == self.shape:
            return self
        if 0 in self.shape:
            raise UnknownError("a tensor without values")
        full, sizes = [1] * len(self.shape), [1] * len(shape)
        groups = _groups(self.shape, shape)
        parts = [part for pair in zip(self.channels, self.shape, strict=True) for part in parts_of(*pair)]
        channels = kinds_of(shape, parts)
        if len(shape) == 4 and not any(channels):
            # After features and places were mixed up, images are read as PyTorch does: [N, C, H, W].
            channels[1] = True

        def change(ends: Ends) -> Ends:
            expand, final = full.copy(), sizes.copy()
            for before, after in groups:
                if any(ends.shape[place + 1] > 1 for place in before):
                    for place in before:
                        expand[place] = self.shape[place]
                    for place in after:
                        final[place] = shape[place]
            found = np.broadcast_to(ends, (2, *expand)).reshape(2, *final)
            return found if all(len(before) == len(after) == 1 for before, after in groups) else compact(found)

        return self.changed(change, shape, channels)


def none(shape: Sequence[int]) -> Bounds:
    """Return the bounds of a tensor that no input plays a part in."""
    return Bounds(tuple(shape), (False,) * len(shape), {})


def of_input(shape: Sequence[int], place: int) -> Bounds:
    """Return the bounds of an input [N, C, *spatial], of several the one at a place: each pixel of itself."""
    ends = {}
    for dim in range(2, len(shape)):
        index = np.arange(shape[dim], dtype=np.int32)
        sizes = [shape[dim] if other == dim else 1 for other in range(len(shape))]
        ends[place, dim - 2] = np.stack([index, -index]).reshape(2, *sizes)
    return Bounds(tuple(shape), tuple(dim == 1 for dim in range(len(shape))), ends)


def joined(shape: Sequence[int], parts: Sequence[Bounds]) -> Bounds:
    """Return what values depend on that are made of several, which broadcast to one shape."""
    if len(parts) == 1 and parts[0].shape == tuple(shape):
        return parts[0]
    ends: dict[tuple[int, int], Ends] = {}
    kinds: list[list[Kind]] = [[] for _ in shape]
    for part in parts:
        new = len(shape) - len(part.shape)
        for place, kind in enumerate(part.channels):
            if part.shape[place] == shape[new + place]:
                kinds[new + place].append(kind)
        for key, own in part.expanded(shape).ends.items():
            ends[key] = np.minimum(ends[key], own) if key in ends else own
    return Bounds(tuple(shape), tuple(map(agreed, kinds)), ends)


def concatenated(shape: Sequence[int], dim: int, parts: Sequence[Bounds]) -> Bounds:
    """Put parts one after another along a dimension."""
    parts = [part for part in parts if len(part.shape) == len(shape)]  # PyTorch lets an empty [0] pass
    dim %= len(shape)
    axis = dim + 1
    ends: dict[tuple[int, int], Ends] = {}
    for key in dict.fromkeys(key for part in parts for key in part.ends):
        absent = np.full((2, *(1,) * len(shape)), NOTHING, np.int32)
        found = [part.ends.get(key, absent) for part in parts]
        if all(one is found[0] or np.array_equal(one, found[0]) for one in found) and found[0].shape[axis] == 1:
            ends[key] = found[0]
            continue
        common = np.broadcast_shapes(*((*one.shape[:axis], 1, *one.shape[axis + 1 :]) for one in found))
        pieces = [
            np.broadcast_to(one, (*common[:axis], part.shape[dim], *common[axis + 1 :]))
            for one, part in zip(found, parts, strict=True)
        ]
        ends[key] = np.concatenate(pieces, axis)
    kinds = zip(*(without_order(part.channels, dim) for part in parts if part.ends), strict=True)
    return Bounds(tuple(shape), tuple(map(agreed, kinds)) or (False,) * len(shape), ends)


def compact(ends: Ends) -> Ends:
    """Drop what is the same all along a dimension."""
    for axis in range(1, ends.ndim):
        if ends.shape[axis] > 1:
            first = ends.take([0], axis)
            if (ends == first).all():
                ends = first
    return ends


def _groups(before: Sequence[int], after: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """Split dimensions larger than 1 of two shapes, with as many values, into the smallest groups that correspond."""
    left = [place for place, size in enumerate(before) if size > 1]
    right = [place for place, size in enumerate(after) if size > 1]
    groups: list[tuple[list[int], list[int]]] = []
    while left or right:
        old, new = [left.pop(0)], [right.pop(0)]
        while (have := prod(before[p] for p in old)) != (want := prod(after[p] for p in new)):
            if have < want:
                old.append(left.pop(0))
            else:
                new.append(right.pop(0))
        groups.append((old, new))
    return groups


def _without_features(ends: Ends, parts: Sequence[Sequence[Part]]) -> Ends:
    """Unite all that belongs to one place; of each dimension its parts are given."""
    sizes, axes = [2], []
    for size, own in zip(ends.shape[1:], parts, strict=True):
        for part, features in own if size > 1 else [(1, False)]:
            if features:
                axes.append(len(sizes))
            sizes.append(part)
    found: Ends = ends.reshape(sizes).min(axis=tuple(axes))
    return found

"""Receptive fields: how far apart the pixels lie that a place of a result depends on, from operator to operator.

A field is counted on the image that is given, as a gradient would show it: windows end at the borders, and of windows
that differ, as those of adaptive pooling, the largest counts. It is a property of the operators alone: weights count as
if none were zero, and a maximum depends on all that it is taken of.

Tensors carry their bounds. What is written into a part of a tensor, as in `padded[..., 1:-1] = images`, is seen in it
and in all other views of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cnnkit.inspection import combined, dependence
from cnnkit.inspection.arguments import Rule, tracked
from cnnkit.inspection.bounds import NOTHING, Bounds, Ends, UnknownError, compact, none, of_input
from cnnkit.inspection.kinds import Kind, fitting
from cnnkit.words import listed

_BOUNDS = "_cnnkit_bounds"
# Of a view: the tensor that it shows, and how often that had been written to when the view's bounds were right.
_BASE = "_cnnkit_base"
_SEEN = "_cnnkit_seen"
_WRITTEN = "_cnnkit_written"


@dataclass(frozen=True, slots=True)
class Operator:
    """How an operator is followed.

    Attributes:
        name: to tell where a field was lost.
        rule: what finds the bounds of its results; None where nobody knows.
        several: arguments after the first may come from an input, for the rule to combine.
        views: the result shows a part of the first argument.
        writes: the first argument is changed.
        overwrites: what was there does not matter.
        masks: it is looked at although no argument comes from an input.
    """

    name: str
    rule: Rule | None
    several: bool
    views: bool
    writes: bool
    overwrites: bool
    masks: bool


def operator_of(function: torch._ops.OpOverload) -> Operator:
    """Return how an operator is followed."""
    packet, schema = function.overloadpacket, function._schema
    rule = dependence.RULES.get(packet)
    pointwise = rule is None and torch.Tag.pointwise in function.tags
    shown = [given.alias_info for given in schema.returns if given.alias_info is not None]
    return Operator(
        name=str(packet).removeprefix("aten."),
        rule=combined.pointwise if pointwise else rule,
        several=pointwise or packet in dependence.SEVERAL,
        views=bool(shown) and not schema.is_mutable,
        writes=schema.is_mutable and torch.Tag.inplace_view not in function.tags,
        overwrites=packet in dependence.OVERWRITES,
        masks=packet in dependence.MASKS,
    )


def start(image: Tensor, place: int = 0) -> None:
    """Mark an input [N, C, *spatial], of several the one at a place, as one where receptive fields are counted from."""
    if image.dim() > 2:
        setattr(image, _BOUNDS, of_input(image.shape, place))


def field_of(tensor: Tensor) -> tuple[int, ...]:
    """Return the receptive field for each axis of the input; nothing where none is known or no input plays a part."""
    extents = _extents_of(tensor)
    return tuple(map(max, zip(*extents, strict=True))) if len(set(map(len, extents))) == 1 else ()


def lost_in(tensor: Tensor) -> str:
    """Return the operator, and why, after which what a tensor depends on is not known; empty where it is."""
    bounds = _bounds_of(tensor)
    if bounds is not None and bounds.lost:
        return bounds.lost
    axes = sorted(set(map(len, _extents_of(tensor))))
    return f"a meeting of inputs with {listed(map(str, axes))} axes" if len(axes) > 1 else ""


def _extents_of(tensor: Tensor) -> list[tuple[int, ...]]:
    bounds = _bounds_of(tensor)
    return bounds.extents if bounds is not None and not bounds.lost else []


def follow(operator: Operator, results: object, arguments: Sequence[object], options: Mapping[str, object]) -> None:
    """Mark the results of an operator."""
    made = results if isinstance(results, list | tuple) else (results,)
    if operator.views:
        _remember(made, arguments[0])
    given = [_replaced(argument) for argument in arguments]
    found = tracked(given)
    if not found and not operator.masks:
        return
    outs = [result for result in made if isinstance(result, Tensor)]
    if not outs:
        return
    read = given[1:] if operator.overwrites else given
    lost = next((bounds.lost for bounds in tracked(read) if bounds.lost), "")
    # Rules are not told options that have no place.
    other = any(isinstance(o, Tensor) for o in options.values()) or {"dim", "dims"} & set(options)
    if lost or operator.rule is None or other or (not operator.several and tracked(given[1:])):
        bounds: Any = _lost(outs[0], lost or operator.name)
    else:
        try:
            bounds = operator.rule(tuple(outs[0].shape), *given)
        except UnknownError as reason:
            bounds = _lost(outs[0], f"{operator.name}: {reason}")
        except (TypeError, ValueError, IndexError, StopIteration):  # a form of the operator that the rule does not know
            bounds = _lost(outs[0], operator.name)
    each = bounds if isinstance(bounds, list) else [bounds] * len(outs)
    for result, given_bounds in zip(outs, each, strict=True):
        own = given_bounds if given_bounds is not None else none(result.shape)
        if own.shape != tuple(result.shape):
            own = _lost(result, own.lost or operator.name)
        if operator.writes:
            _write(result, own)
        else:
            setattr(result, _BOUNDS, own)


def _lost(tensor: Tensor, why: str) -> Bounds:
    return replace(none(tensor.shape), lost=why)


def _replaced(value: Any) -> Any:
    """Return an argument with bounds in the place of tensors that come from an input."""
    if isinstance(value, Tensor):
        bounds = _bounds_of(value)
        return value if bounds is None or not (bounds.ends or bounds.lost) else bounds
    if isinstance(value, list | tuple) and any(isinstance(inner, Tensor) for inner in value):
        return [_replaced(inner) for inner in value]
    return value


def _remember(results: Sequence[Any], source: Any) -> None:
    """Keep of views what they show."""
    if not isinstance(source, Tensor):
        return
    base = getattr(source, _BASE, source)
    for result in results:
        if isinstance(result, Tensor) and result is not base:
            setattr(result, _BASE, base)
            setattr(result, _SEEN, getattr(base, _WRITTEN, 0))


def _bounds_of(tensor: Tensor) -> Bounds | None:
    own: Bounds | None = getattr(tensor, _BOUNDS, None)
    base: Tensor | None = getattr(tensor, _BASE, None)
    written = getattr(base, _WRITTEN, 0)
    if base is None or written == getattr(tensor, _SEEN, 0):
        return own
    whole: Bounds = getattr(base, _BOUNDS)
    if whole.lost:
        own = _lost(tensor, whole.lost)
    else:
        ends = {key: compact(_shown(_laid_out(part, base), tensor).copy()) for key, part in whole.ends.items()}
        along = [_dim_along(base, tensor, dim) for dim in range(tensor.dim())]
        kinds = [[] if dim is None else [whole.channels[dim]] for dim in along]
        own = Bounds(tuple(tensor.shape), fitting(kinds, tensor.shape), ends)
    setattr(tensor, _BOUNDS, own)
    setattr(tensor, _SEEN, written)
    return own


def _write(tensor: Tensor, bounds: Bounds) -> None:
    """Set the bounds of a tensor that was changed, and of what it is a view of."""
    before = _bounds_of(tensor)
    setattr(tensor, _BOUNDS, bounds)
    base: Tensor = getattr(tensor, _BASE, tensor)
    if before is bounds:
        return
    written = getattr(base, _WRITTEN, 0) + 1
    if base is not tensor:
        setattr(base, _BOUNDS, _written(base, tensor, bounds))
        setattr(tensor, _SEEN, written)
    setattr(base, _WRITTEN, written)


def _written(base: Tensor, view: Tensor, bounds: Bounds) -> Bounds:
    """Return the bounds of a tensor with those of a view of it put into them."""
    whole: Bounds | None = getattr(base, _BOUNDS, None)
    lost = bounds.lost or (whole.lost if whole else "")
    if lost:
        return _lost(base, lost)
    if whole is None or not whole.ends:
        kinds: list[list[Kind]] = [[] for _ in base.shape]
        for dim, kind in enumerate(bounds.channels):
            along = _dim_along(base, view, dim)
            if along is not None:
                kinds[along].append(kind)
        whole = replace(none(base.shape), channels=fitting(kinds, base.shape))
    ends = {}
    absent = np.full((2, *(1,) * base.dim()), NOTHING)
    for key in dict.fromkeys([*whole.ends, *bounds.ends]):
        memory = _laid_out(whole.ends.get(key, absent), base)
        _shown(memory, view)[...] = bounds.ends.get(key, NOTHING)
        ends[key] = compact(_shown(memory, base))
    return replace(whole, ends=ends)


def _laid_out(ends: Ends, base: Tensor) -> Ends:
    """Return the array [2, memory] as the tensor lies in memory."""
    memory = np.full((2, base.untyped_storage().nbytes() // base.itemsize), NOTHING)
    _shown(memory, base)[...] = ends
    return memory


def _shown(memory: Ends, tensor: Tensor) -> Ends:
    """Return what a tensor shows of the memory, as an array that can be written to."""
    steps = (memory.strides[0], *(step * memory.itemsize for step in tensor.stride()))
    return np.lib.stride_tricks.as_strided(memory[:, tensor.storage_offset() :], (2, *tensor.shape), steps)


def _dim_along(base: Tensor, view: Tensor, dim: int) -> int | None:
    """Return the dimension of a tensor that one of a view of it runs along; None of one that repeats values."""
    # Slices with steps have multiples of the strides; a larger one than that belongs to a dimension further out.
    steps = [step for step in base.stride() if step <= view.stride(dim)]
    if not steps or not view.stride(dim):
        return None
    equal = [place for place, step in enumerate(base.stride()) if step == max(steps)]
    return dim if dim in equal else equal[-1]

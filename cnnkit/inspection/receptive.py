"""Receptive fields: how many pixels of the input a place of a result depends on, followed from operator to operator.

The rules are those of Araujo, Norris and Sim, "Computing Receptive Fields of Convolutional Neural Networks" (Distill,
2019): a kernel of k over places that lie `jump` pixels apart adds (k - 1) · jump, and a stride multiplies the jump.
Where branches meet, the largest field counts. A field is a property of the operators alone, so that padding and the
borders of the image do not limit it. Normalisation works on each place, as it does at inference.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Axis:
    """A dimension that runs over the image: the field of a place, and how far apart places are, in pixels."""

    field: float
    jump: float

    def through(self, kernel: int, stride: float = 1, dilation: int = 1) -> "Axis":
        """Return what a sliding window makes of it."""
        return Axis(self.field + (kernel - 1) * dilation * self.jump, self.jump * stride)


Axes = tuple[Axis | None, ...]
"""One for each dimension of a tensor, None for those that do not run over the image."""

_NAME = "_cnnkit_axes"
# Of a tensor that comes from the input in a way that has no receptive field, as after attention.
_LOST: Axes = ()

_ATEN = torch.ops.aten


def start(image: Tensor) -> None:
    """Mark an input [N, C, *spatial] as the place where receptive fields are counted from."""
    if image.dim() > 2:
        setattr(image, _NAME, (None, None, *(Axis(1, 1),) * (image.dim() - 2)))


def axes_of(tensor: Tensor) -> Axes | None:
    """Return the axes of a tensor; None for one that does not come from the input."""
    return getattr(tensor, _NAME, None)


def field_of(tensor: Tensor) -> tuple[int, ...]:
    """Return the receptive field of each spatial dimension; nothing where it is not defined."""
    return tuple(round(axis.field) for axis in axes_of(tensor) or () if axis is not None)


def keep(source: Tensor, result: Tensor) -> None:
    """Give the result of a linear layer, which works on each place alone, the field of what it was made from."""
    axes = axes_of(source)
    if axes and len(axes) == result.dim() and axes[-1] is None:
        setattr(result, _NAME, axes)


def rule_of(function: torch._ops.OpOverload) -> "Callable[..., Axes]":
    """Return what finds the axes of an operator's results, from its result and its arguments."""
    rule = _RULES.get(function.overloadpacket)
    if rule is None:
        rule = _joined if torch.Tag.pointwise in function.tags else _lost
    return rule


def follow(rule: "Callable[..., Axes]", results: Any, arguments: Sequence[Any]) -> None:
    """Mark the results of an operator."""
    for argument in arguments:
        tensors = argument if isinstance(argument, list | tuple) else (argument,)
        if any(isinstance(t, Tensor) and hasattr(t, _NAME) for t in tensors):
            break
    else:
        return
    for result in results if isinstance(results, list | tuple) else (results,):
        if isinstance(result, Tensor):
            axes = rule(result, *arguments)
            setattr(result, _NAME, axes if len(axes) == result.dim() else _LOST)


def _lost(result: Tensor, *arguments: Any) -> Axes:
    return _LOST


def _same(result: Tensor, source: Tensor, *rest: Any) -> Axes:
    return axes_of(source) or _LOST


def _joined(result: Tensor, *arguments: Any) -> Axes:
    """Several tensors broadcast to one shape: their largest field, and the jump of those that are not spread."""
    sources = [a for a in _tensors(arguments) if axes_of(a) is not None]
    if any(not axes_of(source) for source in sources):
        return _LOST
    joined: list[Axis | None] = [None] * result.dim()
    for source in sources:
        for place, axis in enumerate(reversed(axes_of(source) or ()), 1):
            known = joined[-place]
            if axis is None:
                continue
            full = source.shape[-place] == result.shape[-place]
            if known is None:
                joined[-place] = axis
            else:
                jump = axis.jump if full and source.shape[-place] > 1 else known.jump
                joined[-place] = Axis(max(known.field, axis.field), jump)
    return tuple(joined)


def _tensors(arguments: Iterable[Any]) -> Iterable[Tensor]:
    for argument in arguments:
        if isinstance(argument, Tensor):
            yield argument
        elif isinstance(argument, list | tuple):
            yield from _tensors(argument)


def _windowed(source: Tensor, kernel: Sequence[int], strides: Sequence[float], dilations: Sequence[int]) -> Axes:
    axes = axes_of(source) or _LOST
    count = len(kernel)
    stride = list(strides) * (count if len(strides) == 1 else 1)
    dilation = list(dilations) * (count if len(dilations) == 1 else 1)
    if len(axes) < count:
        return _LOST
    inner = [
        axis.through(k, s, d) if axis else None
        for axis, k, s, d in zip(axes[-count:], kernel, stride, dilation, strict=True)
    ]
    return (*axes[:-count], *inner)


def _convolution(
    result: Tensor, source: Tensor, weight: Tensor, bias: Any, stride: Any, padding: Any, dilation: Any,
    transposed: bool = False, *rest: Any,
) -> Axes:  # fmt: skip
    kernel = list(weight.shape[2:])
    if not transposed:
        return _windowed(source, kernel, stride, dilation)
    # A place of the result sees every stride-th weight of the kernel.
    seen = [-(-((k - 1) * d + 1) // s) for k, s, d in zip(kernel, stride, dilation, strict=True)]
    return _windowed(source, seen, [1 / s for s in stride], [1])


def _pool(
    result: Tensor, source: Tensor, kernel: Any, stride: Any = (), padding: Any = 0, dilation: Any = (1,), *rest: Any
) -> Axes:
    return _windowed(source, kernel, stride or kernel, dilation)


def _average(result: Tensor, source: Tensor, kernel: Any, stride: Any = (), *rest: Any) -> Axes:
    return _windowed(source, kernel, stride or kernel, [1])


def _adaptive(result: Tensor, source: Tensor, size: Any, *rest: Any) -> Axes:
    """Windows as even as can be."""
    before, after = source.shape[-len(size) :], result.shape[-len(size) :]
    stride = [b / a for b, a in zip(before, after, strict=True)]
    kernel = [-(-b // a) + (b % a > 0) for b, a in zip(before, after, strict=True)]
    return _windowed(source, kernel, stride, [1])


def _resized(result: Tensor, source: Tensor, *rest: Any) -> Axes:
    """A place between two others is made of both; nearest ones are treated alike."""
    axes = axes_of(source) or _LOST
    return tuple(
        axis and axis.through(2 if after != before else 1, before / after)
        for axis, before, after in zip(axes, source.shape, result.shape, strict=False)
    )


def _reduced(result: Tensor, source: Tensor, dims: Any = None, keep: bool = False, *rest: Any) -> Axes:
    axes = list(axes_of(source) or ())
    if not axes:
        return _LOST
    dims = range(len(axes)) if dims is None or dims == [] else [dims] if isinstance(dims, int) else dims
    places = {dim % len(axes) for dim in dims}
    for place in places:
        axis, size = axes[place], source.shape[place]
        axes[place] = axis and axis.through(size, size)
    if keep:
        return tuple(axes)
    # Without its dimension a field could not be told from none at all.
    whole = any(axes[place] for place in places)
    return _LOST if whole else tuple(axis for place, axis in enumerate(axes) if place not in places)


def _permuted(result: Tensor, source: Tensor, dims: Any, *rest: Any) -> Axes:
    axes = axes_of(source) or _LOST
    return tuple(axes[dim] for dim in dims) if axes else _LOST


def _transposed(result: Tensor, source: Tensor, first: int, second: int) -> Axes:
    axes = list(axes_of(source) or ())
    if axes:
        axes[first], axes[second] = axes[second], axes[first]
    return tuple(axes)


def _unsqueezed(result: Tensor, source: Tensor, dim: int) -> Axes:
    axes = list(axes_of(source) or ())
    if axes:
        axes.insert(dim % (len(axes) + 1), None)
    return tuple(axes)


def _removed(result: Tensor, source: Tensor, dim: int = 0, *rest: Any) -> Axes:
    """One place of a dimension, or one that has only one."""
    axes = list(axes_of(source) or ())
    if len(axes) == result.dim() + 1 and axes.pop(dim) is not None:
        return _LOST
    return tuple(axes)


def _viewed(result: Tensor, source: Tensor, *rest: Any) -> Axes:
    """The last dimensions that keep their size stay what they are; no image may be among the others."""
    axes = axes_of(source)
    if not axes:
        return _LOST
    same = 0
    while same < min(len(axes), result.dim()) and source.shape[-1 - same] == result.shape[-1 - same]:
        same += 1
    spatial = max((len(axes) - place for place, axis in enumerate(axes) if axis), default=0)
    if spatial > same:
        return _LOST
    return (*(None,) * (result.dim() - spatial), *axes[len(axes) - spatial :])


_RULES: dict[Any, Callable[..., Axes]] = {
    **dict.fromkeys((_ATEN.convolution, _ATEN._convolution), _convolution),
    **dict.fromkeys(
        (_ATEN.max_pool2d_with_indices, _ATEN.max_pool3d_with_indices, _ATEN.max_pool1d, _ATEN.max_pool2d), _pool
    ),
    **dict.fromkeys((_ATEN.avg_pool1d, _ATEN.avg_pool2d, _ATEN.avg_pool3d), _average),
    **dict.fromkeys(
        (_ATEN._adaptive_avg_pool2d, _ATEN._adaptive_avg_pool3d, _ATEN.adaptive_avg_pool1d, _ATEN.adaptive_max_pool2d,
         _ATEN.adaptive_max_pool3d), _adaptive,
    ),
    **dict.fromkeys(
        (_ATEN.upsample_nearest1d, _ATEN.upsample_nearest2d, _ATEN.upsample_nearest3d, _ATEN.upsample_bilinear2d,
         _ATEN.upsample_linear1d, _ATEN.upsample_trilinear3d), _resized,
    ),
    **dict.fromkeys((_ATEN.mean, _ATEN.sum, _ATEN.amax, _ATEN.amin, _ATEN.max, _ATEN.min), _reduced),
    **dict.fromkeys(
        (_ATEN.native_batch_norm, _ATEN._native_batch_norm_legit_no_training, _ATEN._native_batch_norm_legit,
         _ATEN.native_group_norm, _ATEN.native_layer_norm, _ATEN.slice, _ATEN.split, _ATEN.split_with_sizes,
         _ATEN.clone, _ATEN.alias, _ATEN.detach, _ATEN.constant_pad_nd, _ATEN.reflection_pad1d,
         _ATEN.reflection_pad2d, _ATEN.replication_pad1d, _ATEN.replication_pad2d, _ATEN._to_copy, _ATEN.roll), _same,
    ),
    # Activations that PyTorch does not mark as pointwise.
    **dict.fromkeys(
        (_ATEN.hardswish, _ATEN.hardswish_, _ATEN.mish_, _ATEN._prelu_kernel, _ATEN.log_sigmoid_forward,
         _ATEN.rrelu_with_noise, _ATEN.rrelu_with_noise_), _same,
    ),
    _ATEN.cat: _joined,
    _ATEN.permute: _permuted,
    _ATEN.transpose: _transposed,
    _ATEN.unsqueeze: _unsqueezed,
    _ATEN.select: _removed,
    _ATEN.squeeze: _removed,
    **dict.fromkeys((_ATEN.view, _ATEN._unsafe_view, _ATEN.reshape), _viewed),
}  # fmt: skip

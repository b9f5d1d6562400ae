"""What each operator of PyTorch makes of the bounds of its arguments: rules by operator.

A rule is called with the shape of the (first) result and the operator's arguments, tensors that come from an input
replaced by their bounds; it returns the bounds of the results, of several as a list.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cnnkit.inspection import windows
from cnnkit.inspection.bounds import Bounds, UnknownError, concatenated, joined, none

Shape = tuple[int, ...]
Rule = Callable[..., Bounds | list[Bounds] | None]

_ATEN = torch.ops.aten


def _of(value: Bounds | Tensor) -> Bounds:
    return value if isinstance(value, Bounds) else none(value.shape)


def tracked(values: Iterable[Any]) -> list[Bounds]:
    """Return the bounds among arguments, those in lists as well."""
    found = []
    for value in values:
        if isinstance(value, Bounds):
            found.append(value)
        elif isinstance(value, list | tuple):
            found += tracked(value)
    return found


def same(out: Shape, source: Bounds, *rest: Any) -> Bounds:
    """Work on each value alone."""
    return source


def pointwise(out: Shape, *arguments: Any) -> Bounds:
    """Combine values at the same place."""
    return joined(out, tracked(arguments))


def _nothing(out: Shape, *arguments: Any) -> None:
    """Take no more than the shape of an argument."""


def _expanded(out: Shape, source: Any, *rest: Any) -> Bounds:
    return _of(source).expanded(out)


def _copied(out: Shape, target: Any, source: Any, *rest: Any) -> Bounds:
    return _of(source).expanded(out) if isinstance(source, Bounds | Tensor) else none(out)


def _chosen(out: Shape, first: Any, second: Any, *rest: Any) -> Bounds:
    """Choose values by a condition: `where(condition, …)`, `masked_fill(…, condition, value)`."""
    raise UnknownError("a mask, whose values are not known")


def _where(out: Shape, condition: Any, *rest: Any) -> Bounds:
    return pointwise(out, condition, *rest) if isinstance(condition, Bounds) else _chosen(out, condition, None)


def _filled(out: Shape, source: Any, condition: Any, value: Any) -> Bounds:
    return pointwise(out, source, condition, value) if isinstance(condition, Bounds) else _chosen(out, source, None)


# Windows.


def _listed(value: Any, count: int) -> list[int]:
    values = [value] if isinstance(value, int) else list(value)
    return values * count if len(values) == 1 else values


def _convolution(
    out: Shape, source: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, swapped: bool = False,
    output_padding: Any = 0, groups: int = 1, *rest: Any,
) -> Bounds:  # fmt: skip
    image, kernel = _of(source), list(weight.shape[2:])
    made = weight.shape[1] * groups if swapped else weight.shape[0]
    if swapped and isinstance(weight, Bounds):
        raise UnknownError("a transposed convolution with weights made of the image")
    inputs = image.shape[1]
    image = image.viewed((image.shape[0], groups, inputs // groups, *image.shape[2:])).reduced([2], keep=True)
    image = image.expanded((*image.shape[:2], made // groups, *image.shape[3:]))
    image = image.viewed((image.shape[0], made, *image.shape[3:]))
    channels = tuple(place == 1 for place in range(len(out)))
    image = Bounds(image.shape, channels, image.ends)
    settings = (_listed(value, len(kernel)) for value in (stride, padding, dilation))
    for place, (size, s, p, d) in enumerate(zip(kernel, *settings, strict=True), 2):
        sources = (windows.transposed if swapped else windows.sliding)(image.shape[place], out[place], size, s, p, d)
        image = image.gathered(place, sources)
    others = []
    if isinstance(weight, Bounds):
        whole = weight.reduced(range(1, len(weight.shape)))
        others.append(whole.viewed((1, made, *(1,) * len(kernel))))
    if isinstance(bias, Bounds):
        others.append(bias.viewed((1, made, *(1,) * len(kernel))))
    return joined(out, [image, *others]) if others else image


def _slid(out: Shape, source: Bounds, kernel: Any, stride: Any, padding: Any, dilation: Any) -> Bounds:
    count = len(kernel)
    settings = (_listed(value, count) for value in (stride or kernel, padding, dilation))
    for place, (size, s, p, d) in enumerate(zip(kernel, *settings, strict=True), -count):
        source = source.gathered(place, windows.sliding(source.shape[place], out[place], size, s, p, d))
    return source


def _pool(
    out: Shape, source: Bounds, kernel: Any, stride: Any = (), padding: Any = 0, dilation: Any = 1, *rest: Any
) -> Bounds:
    return _slid(out, source, kernel, stride, padding, dilation)


def _average(out: Shape, source: Bounds, kernel: Any, stride: Any = (), padding: Any = 0, *rest: Any) -> Bounds:
    return _slid(out, source, kernel, stride, padding, 1)


def _adaptive(out: Shape, source: Bounds, size: Sequence[int], *rest: Any) -> Bounds:
    for place in range(-len(size), 0):
        source = source.gathered(place, windows.adaptive(source.shape[place], out[place]))
    return source


def _resized(function: Any, rank: int, *, corners: bool) -> Rule:
    def rule(out: Shape, source: Bounds, size: Any, *rest: Any) -> Bounds:
        own = (bool(rest[0]),) if corners else ()
        scales = (*rest[len(own) :], *(None,) * rank)
        for axis in range(rank):
            place = axis - rank
            before, after = source.shape[place], out[place]
            source = source.gathered(place, windows.resized(function, rank, before, after, own, scales[axis]))
        return source

    return rule


def _padded(mode: str) -> Rule:
    def rule(out: Shape, source: Bounds, sizes: Sequence[int], *rest: Any) -> Bounds:
        for step in range(len(sizes) // 2):
            before, after = sizes[2 * step], sizes[2 * step + 1]
            size = source.shape[-1 - step]
            kept = np.arange(size)[max(-before, 0) : size + min(after, 0)]
            more: Any = {"constant_values": size} if mode == "constant" else {}
            index = np.pad(kept, (max(before, 0), max(after, 0)), mode=mode, **more)
            source = source.gathered(-1 - step, index[:, None])
        return source

    return rule


def _unfolded(out: Shape, source: Bounds, dim: int, size: int, step: int) -> Bounds:
    dim %= len(source.shape)
    places = out[dim]
    image = source.windows(dim, windows.sliding(source.shape[dim], places, size, step, 0, 1))
    return image.permuted([*(d for d in range(len(image.shape)) if d != dim + 1), dim + 1])


def _patches(out: Shape, source: Bounds, kernel: Any, dilation: Any, padding: Any, stride: Any) -> Bounds:
    """Columns of patches [N, C·kernel, patches]."""
    image = source
    for axis in (1, 0):
        size = image.shape[2 + axis]
        places = (size + 2 * padding[axis] - dilation[axis] * (kernel[axis] - 1) - 1) // stride[axis] + 1
        found = windows.sliding(size, places, kernel[axis], stride[axis], padding[axis], dilation[axis])
        image = image.windows(2 + axis, found)
    found = image.permuted([0, 1, 3, 5, 2, 4]).viewed(out)
    return Bounds(out, (False, True, False), found.ends)


def _folded(out: Shape, source: Bounds, size: Any, kernel: Any, dilation: Any, padding: Any, stride: Any) -> Bounds:
    """Patches put back, and summed where they overlap."""
    places = [
        (size[i] + 2 * padding[i] - dilation[i] * (kernel[i] - 1) - 1) // stride[i] + 1 for i in range(2)
    ]  # fmt: skip
    image = source.viewed((*out[:2], *kernel, *places)).permuted([0, 1, 2, 4, 3, 5])
    image = image.viewed((*out[:2], kernel[0] * places[0], kernel[1] * places[1]))
    for axis in range(2):
        steps = windows.transposed(places[axis], size[axis], kernel[axis], stride[axis], padding[axis], dilation[axis])
        offsets = np.arange(kernel[axis]) * places[axis]
        none_of = kernel[axis] * places[axis]
        image = image.gathered(2 + axis, np.where(steps < places[axis], steps + offsets, none_of))
    return Bounds(out, (False, True, False, False), image.ends)


# All along a dimension, and products.


def _dims(source: Bounds, dims: Any) -> list[int]:
    if dims is None or (isinstance(dims, list | tuple) and not dims):
        return list(range(len(source.shape)))
    return [dims] if isinstance(dims, int) else list(dims)


def _reduced(out: Shape, source: Bounds, dims: Any = None, *rest: Any) -> Bounds:
    return source.reduced(_dims(source, dims), keep=len(out) == len(source.shape))


def _reduced_by(out: Shape, source: Bounds, by: Any = None, dims: Any = None, *rest: Any) -> Bounds:
    return _reduced(out, source, dims)


def _spread(out: Shape, source: Bounds, dims: Any = -1, *rest: Any) -> Bounds:
    found = source.spread(_dims(source, dims))
    return Bounds(out, found.channels, found.ends)


def _largest(out: Shape, source: Bounds, count: int, dim: int = -1, *rest: Any) -> Bounds:
    return _spread(out, source, dim)


def _accumulated(out: Shape, source: Bounds, dim: int, *rest: Any) -> Bounds:
    axis = dim % max(len(source.shape), 1) + 1
    return source.changed(lambda ends: np.minimum.accumulate(ends, axis), source.shape, source.channels)


def _batch_norm(out: Shape, source: Bounds, *rest: Any) -> Bounds:
    """With running statistics each value alone; with those of the batch all values of a channel."""
    training = next(value for value in rest if isinstance(value, bool))
    return source.spread([0, *range(2, len(out))]) if training else source


def _group_norm(
    out: Shape, source: Bounds, weight: Any, bias: Any, n: int, c: int, size: int, groups: int, *rest: Any
) -> Bounds:
    grouped = source.viewed((n, groups, c // groups, *out[2:]))
    found = grouped.spread(range(2, len(grouped.shape))).viewed(out)
    return Bounds(out, source.channels, found.ends)


def _layer_norm(out: Shape, source: Bounds, sizes: Sequence[int], *rest: Any) -> Bounds:
    return source.spread(range(-len(sizes), 0))


def _product(out: Shape, left: Any, right: Any, *rest: Any) -> Bounds:
    """Matrix products, of several at once too: a row of the one, a column of the other."""
    first, second = _of(left), _of(right)
    rows, columns = first.reduced([-1], keep=True), second.reduced([-2], keep=True)
    found = joined(out, [rows, columns])
    # Weights make what a dimension holds of the same kind.
    features = (
        first.channels[-2] if first.ends else second.channels[-2],
        second.channels[-1] if second.ends else first.channels[-1],
    )
    return Bounds(out, (*found.channels[:-2], *features), found.ends)


def _added_product(out: Shape, added: Any, left: Any, right: Any, *rest: Any) -> Bounds:
    found = _product(out, left, right)
    return joined(out, [found, added]) if isinstance(added, Bounds) else found


def _vector_product(out: Shape, left: Any, right: Any, *rest: Any) -> Bounds:
    """A matrix, or a vector, with a vector."""
    return joined(out, [_of(left).reduced([-1]), _of(right).reduced([-1])])


def _attention(
    out: Shape, query: Any, key: Any, value: Any, first: Any = None, second: Any = None, third: Any = None, *rest: Any
) -> Bounds:
    # Operators differ in where they take the mask and `is_causal`.
    if any(isinstance(option, Tensor | Bounds) or option is True for option in (first, second, third, *rest)):
        raise UnknownError("a mask, whose values are not known")
    parts = [
        _of(query).reduced([-1], keep=True), _of(key).reduced([-1, -2], keep=True), _of(value).reduced([-2], keep=True)
    ]  # fmt: skip
    found = joined(out, parts)
    return Bounds(out, (*found.channels[:-1], True), found.ends)


# The same values elsewhere.


def _permuted(out: Shape, source: Bounds, dims: Sequence[int]) -> Bounds:
    return source.permuted(dims)


def _transposed(out: Shape, source: Bounds, first: int = 0, second: int = -1) -> Bounds:
    return source.swapped(first, second)


def _viewed(out: Shape, source: Bounds, *rest: Any) -> Bounds:
    return source.viewed(out)


def _restrided(out: Shape, source: Bounds, size: Sequence[int], strides: Sequence[int], *rest: Any) -> Bounds:
    """Change the order in memory of a tensor that was just made, of which only single dimensions come out otherwise."""
    inner = 1
    for length, step in zip(reversed(size), reversed(strides), strict=True):
        if length > 1 and step != inner:
            raise UnknownError("values in another order")
        inner *= length
    return source.viewed(out)


def _unsqueezed(out: Shape, source: Bounds, dim: int) -> Bounds:
    """Add a dimension for features, as `stack` does."""
    dim %= len(out)
    channels = (*source.channels[:dim], True, *source.channels[dim:])
    return source.changed(lambda ends: np.expand_dims(ends, dim + 1), out, channels)


def _sliced(
    out: Shape, source: Bounds, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Bounds:
    return source.gathered(dim, np.arange(source.shape[dim])[start:end:step, None])


def _selected(out: Shape, source: Bounds, dim: int, index: int) -> Bounds:
    return source.gathered(dim, np.arange(source.shape[dim])[[index], None]).reduced([dim])


def _unbound(out: Shape, source: Bounds, dim: int = 0) -> list[Bounds]:
    return [_selected(out, source, dim, index) for index in range(source.shape[dim])]


def _split(out: Shape, source: Bounds, sizes: int | Sequence[int], dim: int = 0) -> list[Bounds]:
    whole = np.arange(source.shape[dim])[:, None]
    borders = range(sizes, len(whole), sizes) if isinstance(sizes, int) else np.cumsum(sizes)[:-1]
    return [source.gathered(dim, part) for part in np.split(whole, list(borders))]


def _indexed(out: Shape, source: Bounds, indices: Sequence[Any]) -> Bounds:
    given = [(dim, index) for dim, index in enumerate(indices) if index is not None]
    if len(given) != 1 or len(given[0][1].shape) != 1:
        raise UnknownError("an index of several dimensions")
    return _picked(out, source, *given[0])


def _picked(out: Shape, source: Bounds, dim: int, index: Tensor) -> Bounds:
    size = source.shape[dim]
    if all(ends.shape[dim % len(out) + 1] == 1 for ends in source.ends.values()):
        return source.changed(lambda ends: ends, out, source.channels)
    if index.is_meta:
        raise UnknownError("an index, whose values are not known")
    values = index.nonzero()[:, 0] if index.dtype == torch.bool else index % size
    return source.gathered(dim, values.numpy()[:, None])


def _glu(out: Shape, source: Bounds, dim: int = -1) -> Bounds:
    return joined(out, _split(out, source, source.shape[dim] // 2, dim))


def _rolled(out: Shape, source: Bounds, shifts: Any, dims: Any = ()) -> Bounds:
    if not dims:
        return _rolled(out, source.viewed((int(np.prod(out)),)), shifts, 0).viewed(out)
    for shift, dim in zip(_listed(shifts, 1), _listed(dims, 1), strict=True):
        source = source.gathered(dim, np.roll(np.arange(source.shape[dim]), shift)[:, None])
    return source


def _flipped(out: Shape, source: Bounds, dims: Sequence[int]) -> Bounds:
    for dim in dims:
        source = source.gathered(dim, np.arange(source.shape[dim])[::-1, None])
    return source


def _turned(out: Shape, source: Bounds, times: int = 1, dims: Sequence[int] = (0, 1)) -> Bounds:
    for _ in range(times % 4):
        source = _flipped(out, source.swapped(*dims), dims[:1])
    return source


def _repeated(out: Shape, source: Bounds, times: Sequence[int]) -> Bounds:
    source = source.expanded((*(1,) * (len(times) - len(source.shape)), *source.shape))
    for dim, count in enumerate(times):
        source = source.gathered(dim, np.tile(np.arange(source.shape[dim]), count)[:, None])
    return source


def _joined(out: Shape, parts: Sequence[Any], dim: int = 0) -> Bounds:
    return concatenated(out, dim, [_of(part) for part in parts])


def _stacked(out: Shape, parts: Sequence[Any], dim: int = 0) -> Bounds:
    dim %= len(out)
    single = (*out[:dim], 1, *out[dim + 1 :])
    return concatenated(out, dim, [_unsqueezed(single, _of(part), dim) for part in parts])


def _shuffled(out: Shape, source: Bounds, factor: int) -> Bounds:
    """Channels to pixels."""
    *lead, _, h, w = source.shape
    parts = source.viewed((*lead, out[-3], factor, factor, h, w))
    n = len(lead)
    return parts.permuted([*range(n), n, n + 3, n + 1, n + 4, n + 2]).viewed(out)


def _unshuffled(out: Shape, source: Bounds, factor: int) -> Bounds:
    """Pixels to channels, which are of one place from then on."""
    *lead, c, _, _ = source.shape
    n = len(lead)
    parts = source.viewed((*lead, c, out[-2], factor, out[-1], factor))
    found = parts.permuted([*range(n), n, n + 2, n + 4, n + 1, n + 3]).viewed(out)
    return Bounds(out, source.channels, found.ends)


def _channels_shuffled(out: Shape, source: Bounds, groups: int) -> Bounds:
    n, c, *spatial = source.shape
    return source.viewed((n, groups, c // groups, *spatial)).swapped(1, 2).viewed(out)


SEVERAL = frozenset({
    _ATEN.convolution, _ATEN.mm, _ATEN.bmm, _ATEN.addmm, _ATEN.baddbmm, _ATEN.mv, _ATEN.dot, _ATEN.cat, _ATEN.stack,
    _ATEN.where, _ATEN.masked_fill, _ATEN.masked_fill_, _ATEN.copy_, _ATEN.copy, _ATEN.fill_, _ATEN.fill,
    _ATEN._scaled_dot_product_flash_attention_for_cpu, _ATEN._scaled_dot_product_efficient_attention,
    _ATEN._scaled_dot_product_flash_attention, _ATEN._scaled_dot_product_attention_math,
})  # fmt: skip
"""Operators with a rule that takes more than the first argument from an input, as pointwise ones do."""

OVERWRITES = frozenset({
    _ATEN.copy_, _ATEN.fill_, _ATEN.zero_, _ATEN.uniform_, _ATEN.normal_, _ATEN.bernoulli_,
})  # fmt: skip
"""Operators that leave nothing of their first argument."""

MASKS = frozenset({_ATEN.tril, _ATEN.triu, _ATEN.tril_, _ATEN.triu_, _ATEN.where})
"""Operators that make masks, whose values decide what depends on what."""

RULES: dict[Any, Rule] = {
    _ATEN.convolution: _convolution,
    **dict.fromkeys(
        (_ATEN.max_pool2d_with_indices, _ATEN.max_pool3d_with_indices, _ATEN.max_pool1d, _ATEN.max_pool2d), _pool
    ),
    **dict.fromkeys((_ATEN.avg_pool1d, _ATEN.avg_pool2d, _ATEN.avg_pool3d), _average),
    **dict.fromkeys(
        (_ATEN._adaptive_avg_pool2d, _ATEN._adaptive_avg_pool3d, _ATEN.adaptive_avg_pool1d, _ATEN.adaptive_max_pool2d,
         _ATEN.adaptive_max_pool3d), _adaptive,
    ),
    **{
        function: _resized(function, rank, corners=corners)
        for function, rank, corners in (
            (_ATEN.upsample_nearest1d, 1, False), (_ATEN.upsample_nearest2d, 2, False),
            (_ATEN.upsample_nearest3d, 3, False), (_ATEN._upsample_nearest_exact1d, 1, False),
            (_ATEN._upsample_nearest_exact2d, 2, False), (_ATEN._upsample_nearest_exact3d, 3, False),
            (_ATEN.upsample_linear1d, 1, True), (_ATEN.upsample_bilinear2d, 2, True),
            (_ATEN.upsample_trilinear3d, 3, True), (_ATEN.upsample_bicubic2d, 2, True),
            (_ATEN._upsample_bilinear2d_aa, 2, True), (_ATEN._upsample_bicubic2d_aa, 2, True),
        )
    },
    _ATEN.constant_pad_nd: _padded("constant"),
    **dict.fromkeys((_ATEN.reflection_pad1d, _ATEN.reflection_pad2d, _ATEN.reflection_pad3d), _padded("reflect")),
    **dict.fromkeys((_ATEN.replication_pad1d, _ATEN.replication_pad2d, _ATEN.replication_pad3d), _padded("edge")),
    _ATEN.unfold: _unfolded,
    _ATEN.im2col: _patches,
    _ATEN.col2im: _folded,
    **dict.fromkeys(
        (_ATEN.mean, _ATEN.sum, _ATEN.nansum, _ATEN.amax, _ATEN.amin, _ATEN.max, _ATEN.min, _ATEN.argmax, _ATEN.argmin,
         _ATEN.prod, _ATEN.logsumexp, _ATEN.var, _ATEN.std, _ATEN.var_mean, _ATEN.std_mean, _ATEN.any, _ATEN.all,
         _ATEN.median, _ATEN.mode), _reduced,
    ),
    **dict.fromkeys((_ATEN.linalg_vector_norm, _ATEN.norm, _ATEN.kthvalue), _reduced_by),
    **dict.fromkeys(
        (_ATEN._softmax, _ATEN._log_softmax, _ATEN._safe_softmax, _ATEN.sort, _ATEN._fft_r2c, _ATEN._fft_c2c,
         _ATEN._fft_c2r), _spread,
    ),
    _ATEN.topk: _largest,
    **dict.fromkeys((_ATEN.cumsum, _ATEN.cumprod, _ATEN.cummax, _ATEN.cummin, _ATEN.logcumsumexp), _accumulated),
    **dict.fromkeys(
        (_ATEN.native_batch_norm, _ATEN._native_batch_norm_legit_no_training, _ATEN._native_batch_norm_legit),
        _batch_norm,
    ),
    _ATEN._native_batch_norm_legit_no_training: same,
    _ATEN.native_group_norm: _group_norm,
    **dict.fromkeys((_ATEN.native_layer_norm, _ATEN._fused_rms_norm), _layer_norm),
    **dict.fromkeys((_ATEN.mm, _ATEN.bmm), _product),
    **dict.fromkeys((_ATEN.addmm, _ATEN.baddbmm), _added_product),
    **dict.fromkeys((_ATEN.mv, _ATEN.dot), _vector_product),
    **dict.fromkeys(
        (_ATEN._scaled_dot_product_flash_attention_for_cpu, _ATEN._scaled_dot_product_efficient_attention,
         _ATEN._scaled_dot_product_flash_attention, _ATEN._scaled_dot_product_attention_math), _attention,
    ),
    **dict.fromkeys(
        (_ATEN.alias, _ATEN.detach, _ATEN.clone, _ATEN._to_copy, _ATEN.lift_fresh, _ATEN.native_dropout,
         # Activations that PyTorch does not mark as pointwise.
         _ATEN.hardswish, _ATEN.hardswish_, _ATEN.mish_, _ATEN._prelu_kernel, _ATEN.log_sigmoid_forward,
         _ATEN.rrelu_with_noise, _ATEN.rrelu_with_noise_), same,
    ),
    **dict.fromkeys(
        (_ATEN.zero_, _ATEN.uniform_, _ATEN.normal_, _ATEN.bernoulli_, _ATEN.empty_like, _ATEN.zeros_like,
         _ATEN.ones_like, _ATEN.full_like, _ATEN.rand_like, _ATEN.randn_like, _ATEN.new_empty, _ATEN.new_zeros,
         _ATEN.new_ones, _ATEN.new_full, _ATEN.new_empty_strided), _nothing,
    ),
    **dict.fromkeys((_ATEN.copy_, _ATEN.copy, _ATEN.fill_, _ATEN.fill), _copied),
    _ATEN.where: _where,
    **dict.fromkeys((_ATEN.masked_fill, _ATEN.masked_fill_), _filled),
    **dict.fromkeys((_ATEN.tril, _ATEN.triu, _ATEN.tril_, _ATEN.triu_), _chosen),
    _ATEN.expand: _expanded,
    _ATEN.permute: _permuted,
    **dict.fromkeys((_ATEN.transpose, _ATEN.transpose_, _ATEN.t, _ATEN.t_), _transposed),
    **dict.fromkeys(
        (_ATEN.view, _ATEN._unsafe_view, _ATEN.reshape, _ATEN._reshape_alias, _ATEN.squeeze, _ATEN.squeeze_), _viewed,
    ),
    **dict.fromkeys((_ATEN.unsqueeze, _ATEN.unsqueeze_), _unsqueezed),
    _ATEN.as_strided_: _restrided,
    _ATEN.slice: _sliced,
    _ATEN.select: _selected,
    _ATEN.unbind: _unbound,
    **dict.fromkeys((_ATEN.split, _ATEN.split_with_sizes, _ATEN.unsafe_split, _ATEN.unsafe_split_with_sizes), _split),
    _ATEN.index: _indexed,
    _ATEN.index_select: _picked,
    _ATEN.glu: _glu,
    _ATEN.roll: _rolled,
    _ATEN.flip: _flipped,
    _ATEN.rot90: _turned,
    _ATEN.repeat: _repeated,
    _ATEN.cat: _joined,
    _ATEN.stack: _stacked,
    _ATEN.pixel_shuffle: _shuffled,
    _ATEN.pixel_unshuffle: _unshuffled,
    _ATEN.channel_shuffle: _channels_shuffled,
}  # fmt: skip

"""What each operator of PyTorch makes of the bounds of its arguments: the rule of each, and what else is told of it."""

from typing import Any

import torch

from cnnkit.inspection import combined, moved, windows
from cnnkit.inspection.arguments import Rule

_ATEN = torch.ops.aten

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
    _ATEN.convolution: windows.convolution,
    **dict.fromkeys(
        (_ATEN.max_pool2d_with_indices, _ATEN.max_pool3d_with_indices, _ATEN.max_pool1d, _ATEN.max_pool2d), windows.pool
    ),
    **dict.fromkeys((_ATEN.avg_pool1d, _ATEN.avg_pool2d, _ATEN.avg_pool3d), windows.average),
    **dict.fromkeys(
        (_ATEN._adaptive_avg_pool2d, _ATEN._adaptive_avg_pool3d, _ATEN.adaptive_avg_pool1d, _ATEN.adaptive_max_pool2d,
         _ATEN.adaptive_max_pool3d), windows.adaptive,
    ),
    **{
        function: windows.resized(function, rank, corners=corners)
        for function, rank, corners in (
            (_ATEN.upsample_nearest1d, 1, False), (_ATEN.upsample_nearest2d, 2, False),
            (_ATEN.upsample_nearest3d, 3, False), (_ATEN._upsample_nearest_exact1d, 1, False),
            (_ATEN._upsample_nearest_exact2d, 2, False), (_ATEN._upsample_nearest_exact3d, 3, False),
            (_ATEN.upsample_linear1d, 1, True), (_ATEN.upsample_bilinear2d, 2, True),
            (_ATEN.upsample_trilinear3d, 3, True), (_ATEN.upsample_bicubic2d, 2, True),
            (_ATEN._upsample_bilinear2d_aa, 2, True), (_ATEN._upsample_bicubic2d_aa, 2, True),
        )
    },
    _ATEN.constant_pad_nd: windows.padded("constant"),
    **dict.fromkeys(
        (_ATEN.reflection_pad1d, _ATEN.reflection_pad2d, _ATEN.reflection_pad3d), windows.padded("reflect")
    ),
    **dict.fromkeys(
        (_ATEN.replication_pad1d, _ATEN.replication_pad2d, _ATEN.replication_pad3d), windows.padded("edge")
    ),
    _ATEN.unfold: windows.unfolded,
    _ATEN.im2col: windows.patches,
    _ATEN.col2im: windows.folded,
    **dict.fromkeys(
        (_ATEN.mean, _ATEN.sum, _ATEN.nansum, _ATEN.amax, _ATEN.amin, _ATEN.max, _ATEN.min, _ATEN.argmax, _ATEN.argmin,
         _ATEN.prod, _ATEN.logsumexp, _ATEN.var, _ATEN.std, _ATEN.var_mean, _ATEN.std_mean, _ATEN.any, _ATEN.all,
         _ATEN.median, _ATEN.mode), combined.reduced,
    ),
    **dict.fromkeys((_ATEN.linalg_vector_norm, _ATEN.norm, _ATEN.kthvalue), combined.reduced_by),
    **dict.fromkeys(
        (_ATEN._softmax, _ATEN._log_softmax, _ATEN._safe_softmax, _ATEN.sort, _ATEN._fft_r2c, _ATEN._fft_c2c,
         _ATEN._fft_c2r), combined.spread,
    ),
    _ATEN.topk: combined.largest,
    **dict.fromkeys(
        (_ATEN.cumsum, _ATEN.cumprod, _ATEN.cummax, _ATEN.cummin, _ATEN.logcumsumexp), combined.accumulated
    ),
    **dict.fromkeys((_ATEN.native_batch_norm, _ATEN._native_batch_norm_legit), combined.batch_norm),
    _ATEN._native_batch_norm_legit_no_training: moved.same,
    _ATEN.native_group_norm: combined.group_norm,
    **dict.fromkeys((_ATEN.native_layer_norm, _ATEN._fused_rms_norm), combined.layer_norm),
    **dict.fromkeys((_ATEN.mm, _ATEN.bmm), combined.product),
    **dict.fromkeys((_ATEN.addmm, _ATEN.baddbmm), combined.added_product),
    **dict.fromkeys((_ATEN.mv, _ATEN.dot), combined.vector_product),
    **dict.fromkeys(
        (_ATEN._scaled_dot_product_flash_attention_for_cpu, _ATEN._scaled_dot_product_efficient_attention,
         _ATEN._scaled_dot_product_flash_attention, _ATEN._scaled_dot_product_attention_math), combined.attention,
    ),
    **dict.fromkeys(
        (_ATEN.alias, _ATEN.detach, _ATEN.clone, _ATEN._to_copy, _ATEN.lift_fresh, _ATEN.native_dropout,
         # Activations that PyTorch does not mark as pointwise.
         _ATEN.hardswish, _ATEN.hardswish_, _ATEN.mish_, _ATEN._prelu_kernel, _ATEN.log_sigmoid_forward,
         _ATEN.rrelu_with_noise, _ATEN.rrelu_with_noise_), moved.same,
    ),
    **dict.fromkeys(
        (_ATEN.zero_, _ATEN.uniform_, _ATEN.normal_, _ATEN.bernoulli_, _ATEN.empty_like, _ATEN.zeros_like,
         _ATEN.ones_like, _ATEN.full_like, _ATEN.rand_like, _ATEN.randn_like, _ATEN.new_empty, _ATEN.new_zeros,
         _ATEN.new_ones, _ATEN.new_full, _ATEN.new_empty_strided), moved.nothing,
    ),
    **dict.fromkeys((_ATEN.copy_, _ATEN.copy, _ATEN.fill_, _ATEN.fill), moved.copied),
    _ATEN.where: combined.where,
    **dict.fromkeys((_ATEN.masked_fill, _ATEN.masked_fill_), combined.filled),
    **dict.fromkeys((_ATEN.tril, _ATEN.triu, _ATEN.tril_, _ATEN.triu_), combined.chosen),
    _ATEN.expand: moved.expanded,
    _ATEN.permute: moved.permuted,
    **dict.fromkeys((_ATEN.transpose, _ATEN.transpose_, _ATEN.t, _ATEN.t_), moved.transposed),
    **dict.fromkeys((_ATEN.view, _ATEN._unsafe_view, _ATEN.reshape, _ATEN._reshape_alias), moved.viewed),
    **dict.fromkeys((_ATEN.squeeze, _ATEN.squeeze_), moved.squeezed),
    **dict.fromkeys((_ATEN.unsqueeze, _ATEN.unsqueeze_), moved.unsqueezed),
    _ATEN.as_strided_: moved.restrided,
    _ATEN.slice: moved.sliced,
    _ATEN.select: moved.selected,
    _ATEN.unbind: moved.unbound,
    **dict.fromkeys(
        (_ATEN.split, _ATEN.split_with_sizes, _ATEN.unsafe_split, _ATEN.unsafe_split_with_sizes), moved.split
    ),
    _ATEN.index: moved.indexed,
    _ATEN.index_select: moved.picked,
    _ATEN.glu: moved.glu,
    _ATEN.roll: moved.rolled,
    _ATEN.flip: moved.flipped,
    _ATEN.rot90: moved.turned,
    _ATEN.repeat: moved.repeated,
    _ATEN.cat: moved.concatenated_parts,
    _ATEN.stack: moved.stacked,
    _ATEN.pixel_shuffle: moved.shuffled,
    _ATEN.pixel_unshuffle: moved.unshuffled,
    _ATEN.channel_shuffle: moved.channels_shuffled,
}  # fmt: skip

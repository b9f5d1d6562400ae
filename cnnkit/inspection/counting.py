"""Multiply-adds by operator: convolutions, matrix products and attention, wherever a network calls them.

The formulas of `torch.utils.flop_counter` count floating-point operations, two to each multiply-add; it lacks the
products with a vector, which are here.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import flop_registry

_ATEN = torch.ops.aten


def _by_vector(matrix: torch.Tensor, vector: torch.Tensor, **rest: Any) -> int:
    return matrix.numel()


def _added_by_vector(_: torch.Tensor, matrix: torch.Tensor, vector: torch.Tensor, **rest: Any) -> int:
    return matrix.numel()


def _outer(_: torch.Tensor, left: torch.Tensor, right: torch.Tensor, **rest: Any) -> int:
    return left.numel() * right.numel()


def _bilinear(left: torch.Tensor, weight: torch.Tensor, right: torch.Tensor, *sums: Any, **rest: Any) -> int:
    """Each pair of a left and a right feature meets a weight; one more product sums them up for each output."""
    rows = left.shape[0]
    return int(rows * (weight.numel() + weight.shape[0] * weight.shape[-1]))


_OWN: dict[Any, Callable[..., int]] = {
    _ATEN.mv: _by_vector,
    _ATEN.dot: _by_vector,
    _ATEN.addmv: _added_by_vector,
    _ATEN.addr: _outer,
    _ATEN._trilinear: _bilinear,
}


def counter_of(function: torch._ops.OpOverload) -> Callable[..., int] | None:
    """Return what counts the multiply-adds of an operator; None where it has none.

    It is called as the operator is, and with its result as `out_val`.
    """
    packet = function.overloadpacket
    if packet in _OWN:
        return _OWN[packet]
    if packet in flop_registry:
        formula = flop_registry[packet]
        return lambda *args, **kwargs: int(formula(*args, **kwargs)) // 2
    return None

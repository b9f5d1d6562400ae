"""What an ONNX graph holds as constants, and which operations make and use each of its tensors."""

from collections.abc import Callable, Mapping
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cnnkit.runtime.graphs import attribute, constant

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto, TensorProto

Values = NDArray[np.float64]

_LONGEST = 32
"""Operations between weights and their use that are followed."""
_DEEPEST = 8
"""Operations between a constant and its use that are followed."""
_SMALL = 1024
"""Values of a constant with which is computed."""
_FOLDED: Mapping[str, Callable[..., Any]] = {
    "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide, "Sqrt": np.sqrt, "Neg": np.negative,
    "Reciprocal": np.reciprocal, "Cast": np.asarray, "Identity": np.asarray, "Unsqueeze": np.asarray,
    "Squeeze": np.asarray, "Reshape": np.asarray,
}  # fmt: skip


class Wiring:
    """Constants, makers and users of the tensors of a graph, by name.

    Args:
        graph: with local functions replaced by their bodies.
    """

    def __init__(self, graph: "GraphProto") -> None:
        self._stored: dict[str, TensorProto] = {tensor.name: tensor for tensor in graph.initializer}
        self._makers: dict[str, NodeProto] = {}
        self._users: dict[str, list[NodeProto]] = {}
        for node in graph.node:
            if (tensor := constant(node)) is not None:
                self._stored[node.output[0]] = tensor
            self._makers.update(dict.fromkeys(node.output, node))
            for each in dict.fromkeys(node.input):
                self._users.setdefault(each, []).append(node)

    def users(self, name: str) -> "list[NodeProto]":
        """Return the operations that take a tensor."""
        return self._users.get(name, [])

    def maker(self, name: str) -> "NodeProto | None":
        """Return the operation that makes a tensor; None of inputs and stored weights."""
        return self._makers.get(name)

    def values(self, name: str, deep: int = _DEEPEST) -> Values | None:
        """Return a stored constant, or what a few operations make of small ones: exporters need not fold them."""
        from onnx import numpy_helper

        if name in self._stored:
            tensor = self._stored[name]
            return None if tensor.external_data else numpy_helper.to_array(tensor).astype(np.float64)
        maker = self._makers.get(name)
        if maker is None or not deep or maker.domain or maker.op_type not in _FOLDED:
            return None
        if maker.op_type in {"Cast", "Identity"}:
            return self.values(maker.input[0], deep - 1)
        given = [self.values(each, deep - 1) for each in maker.input if each]
        known = [each for each in given if each is not None]
        return _folded(maker, known) if len(known) == len(given) else None

    def whole_numbers(self, name: str) -> list[int] | None:
        """Return a small constant as a list of whole numbers; None also where some are none, as infinity is not."""
        if name in self._stored and prod(self._stored[name].dims) > _SMALL:
            return None
        values = self.values(name)
        if values is None or values.size > _SMALL or not np.isfinite(values).all():
            return None
        return [int(value) for value in values.ravel()]

    def per_channel(self, node: "NodeProto") -> tuple[Values, Values, bool] | None:
        """Return factor and shift of each channel, and whether the channels come in the opposite order.

        None where a convolution does not only that.
        """
        weights = self.values(node.input[1])
        bias = self.values(node.input[2]) if len(node.input) > 2 else np.zeros(1)
        moves = attribute(node, "strides", [1, 1]) != [1, 1] or any(attribute(node, "pads", ()))
        if weights is None or bias is None or moves or weights.shape[2:] != (1, 1):
            return None
        count, table = len(weights), weights[:, :, 0, 0]
        if attribute(node, "group", 1) == count and table.shape[1] == 1:
            table = np.diag(table[:, 0])
        if table.shape != (count, count) or count not in {1, 3}:
            return None
        turned = not table[0, 0]
        table = table[:, ::-1] if turned else table
        if not np.diag(table).all() or np.count_nonzero(table) != count:
            return None
        return np.diag(table), bias, turned

    def picked(self, node: "NodeProto") -> tuple[int, int] | None:
        """Return the axis and the place of which a `Gather` or `Slice` takes a single part, or None."""
        parts = [self.whole_numbers(each) for each in node.input[1:]]
        if not parts or any(each is None or len(each) != 1 for each in parts):
            return None
        first, *others = (each[0] for each in parts if each)
        if node.op_type == "Gather":
            return attribute(node, "axis", 0), first
        if node.op_type == "Slice" and len(others) >= 2 and others[0] == first + 1:
            return others[1], first
        return None

    def shape(self, name: str) -> tuple[int, ...] | None:
        """Return the shape of stored weights, through operations that only convert or transpose them."""
        orders: list[list[int] | None] = []
        for _ in range(_LONGEST):
            if name in self._stored:
                shape = tuple(self._stored[name].dims)
                for order in reversed(orders):
                    shape = tuple(shape[axis] for axis in (order or range(len(shape))[::-1]))
                return shape
            maker = self._makers.get(name)
            if maker is None or maker.op_type not in {"Cast", "Identity", "Transpose", "DequantizeLinear"}:
                return None
            if maker.op_type == "Transpose":
                orders.append(attribute(maker, "perm"))
            name = maker.input[0]
        return None


def _folded(node: "NodeProto", given: list[Values]) -> Values | None:
    """Return what an operation makes of small constants, or None."""
    if not given or any(each.size > _SMALL for each in given):
        return None
    first, *others = given
    kind = node.op_type
    try:
        with np.errstate(all="ignore"):
            if kind == "Reshape":
                return first.reshape([first.shape[at] if not side else int(side) for at, side in enumerate(others[0])])
            if kind in {"Unsqueeze", "Squeeze"}:
                axes = tuple(int(axis) for axis in (others[0] if others else attribute(node, "axes", ())))
                if kind == "Unsqueeze":
                    return np.expand_dims(first, axes)
                return first.squeeze(axes or None)
            return np.asarray(_FOLDED[kind](first, *others))
    except (ValueError, TypeError, IndexError, OverflowError):  # shapes that do not fit
        return None

"""What an ONNX graph holds as constants, and which operations make and use each of its tensors."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cnnkit.runtime.graphs import attribute, constant

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto, TensorProto

Values = NDArray[np.float64]

_LONGEST = 32
"""Operations between a constant and its use that are followed."""


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

    def values(self, name: str) -> Values | None:
        """Return a stored constant, through operations that only convert it."""
        from onnx import numpy_helper

        for _ in range(_LONGEST):
            if name in self._stored:
                tensor = self._stored[name]
                return None if tensor.external_data else numpy_helper.to_array(tensor).astype(np.float64)
            maker = self._makers.get(name)
            if maker is None or maker.op_type not in {"Cast", "Identity"}:
                return None
            name = maker.input[0]
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

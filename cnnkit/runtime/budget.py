"""How much memory and time an ONNX graph takes, before it is run."""

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING

from cnnkit.errors import OnnxError
from cnnkit.runtime import shapes
from cnnkit.runtime.counting import multiply_adds

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

MAX_TENSOR_BYTES = 2**31
"""Of one intermediate result at batch 1."""
MAX_TOTAL_BYTES = 2**33
"""Of all intermediate results at batch 1."""
MAX_MULTIPLY_ADDS = 10**13
"""At batch 1: minutes on a processor."""


class UnsizedError(OnnxError):
    """The sizes of a graph contradict each other: all else in it is in order."""


def check_sizes(model: "ModelProto", sizes: Mapping[str, shapes.Shape]) -> None:
    """Work out how much memory and time inputs of these sizes take.

    Raises:
        OnnxError: more than an image may take, or a division that could end the process.
        UnsizedError: sizes that contradict each other.
    """
    from onnx import TensorProto
    from onnx.helper import tensor_dtype_to_np_dtype

    found = shapes.infer(model, sizes)
    total, work, unsized = 0, 0, ""
    for node in found.nodes:
        _check_division(node, found)
        work += multiply_adds(node, found.shapes)
        problem = found.problems.get(node.output[0] if node.output else "")
        if problem and not unsized:
            unsized = f"the size of {_named(node)} cannot be told: {problem}."
        for name in node.output:
            shape, kind = found.shapes.get(name), found.types.get(name, TensorProto.FLOAT)
            if shape is None:
                continue
            size = prod(shape) * (tensor_dtype_to_np_dtype(kind).itemsize if kind else 1)
            total += size
            if min(shape, default=0) < 0 or size > MAX_TENSOR_BYTES or total > MAX_TOTAL_BYTES:
                listed = "×".join(map(str, shape))
                raise OnnxError(f"{_named(node)} has the size {listed}: more memory than an image may take.")
    if work > MAX_MULTIPLY_ADDS:
        raise OnnxError(f"one image takes {work:.1e} multiply-adds; {MAX_MULTIPLY_ADDS:.0e} are the most.")
    if unsized:
        raise UnsizedError(unsized)


def _named(node: "NodeProto") -> str:
    return f"what its node {node.name or node.output[0]!r} ({node.op_type}) gives"


def _check_division(node: "NodeProto", found: shapes.Inferred) -> None:
    """Refuse to divide integers by -1 or 0: the smallest integer divided by -1 ends the process."""
    from onnx import TensorProto, numpy_helper

    integers = {TensorProto.INT8, TensorProto.INT16, TensorProto.INT32, TensorProto.INT64}
    if node.op_type not in {"Div", "Mod"} or node.domain or found.types.get(node.input[1]) not in integers:
        return
    divisor = found.constants.get(node.input[1])
    if divisor is None or {0, -1} & set(numpy_helper.to_array(divisor).ravel().tolist()):
        raise OnnxError(f"its node {node.name or node.output[0]!r} divides integers by 0, -1 or what nobody can tell.")

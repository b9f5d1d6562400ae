"""Multiply-adds of ONNX nodes: of convolutions, matrix products and recurrent layers, as for a PyTorch network."""

from collections import defaultdict
from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING

from cnnkit.runtime.graphs import attribute

if TYPE_CHECKING:
    from onnx import NodeProto

Shape = tuple[int, ...]

# Where the weights of a convolution, or the factors of a product, are among the inputs.
_CONVOLUTIONS = {"Conv": 1, "FusedConv": 1, "NhwcFusedConv": 1, "ConvInteger": 1, "DeformConv": 1, "QLinearConv": 3}
_PRODUCTS = {"MatMul", "MatMulInteger", "QLinearMatMul", "FusedMatMul", "DynamicQuantizeMatMul", "MatMulIntegerToFloat"}
_RECURRENT = {"LSTM", "GRU", "RNN"}


def multiply_adds(node: "NodeProto", shapes: Mapping[str, Shape]) -> int:
    """Return the multiply-adds of one node; 0 for one that multiplies no matrices, or of unknown shapes.

    Args:
        node: of the standard operators, or one of onnxruntime's variants of them.
        shapes: of the tensors by name.
    """
    inputs = [shapes.get(name) for name in node.input]
    output = shapes.get(node.output[0]) if node.output else None
    kind = node.op_type
    try:
        if kind in _CONVOLUTIONS:
            return _convolution(inputs[_CONVOLUTIONS[kind]], output)
        if kind == "ConvTranspose":
            return _convolution(inputs[1], inputs[0])
        if kind in {"Gemm", "FusedGemm", "QGemm"}:
            return _product(inputs[0], output, transposed=bool(attribute(node, "transA", 0)))
        if kind in _PRODUCTS:
            return _product(inputs[0], output, transposed=bool(attribute(node, "transA", 0)))
        if kind == "Einsum":
            return _einsum(attribute(node, "equation", b"").decode(), inputs)
        if kind in _RECURRENT:
            return _recurrent(inputs)
        if kind == "Attention" and node.domain in {"", "ai.onnx"}:
            return _attention(inputs, output)
    except (IndexError, ValueError):  # too few inputs or dimensions, or an equation that does not fit them
        return 0
    return 0


def _convolution(weights: Shape | None, places: Shape | None) -> int:
    """Each place, of the output or of a transposed convolution's input, meets one filter [channels / groups, *kernel].

    `weights` are [M, C / groups, *kernel], or [C, M / groups, *kernel] where transposed.
    """
    return 0 if weights is None or places is None else prod(places) * prod(weights[1:])


def _product(left: Shape | None, output: Shape | None, *, transposed: bool) -> int:
    if left is None or output is None:
        return 0
    return prod(output) * left[-2 if transposed else -1]


def _einsum(equation: str, inputs: list[Shape | None]) -> int:
    """Count every combination of indices once for each product of two factors."""
    terms = equation.replace(" ", "").partition("->")[0].split(",")
    sizes: dict[str, int] = defaultdict(lambda: 1)
    for term, shape in zip(terms, inputs, strict=True):
        if shape is None:
            return 0
        before, dots, after = term.partition("...")
        spread = len(shape) - len(before) - len(after) if dots else 0
        # What the dots stand for is aligned at its end, as in broadcasting.
        labels = [*before, *(f"...{index}" for index in range(spread, 0, -1)), *after]
        for label, size in zip(labels, shape, strict=True):
            sizes[label] = max(sizes[label], size)
    return prod(sizes.values()) * (len(terms) - 1)


def _recurrent(inputs: list[Shape | None]) -> int:
    """Each step of each sequence multiplies with W and R; the inputs are X [steps, batch, size], W and R."""
    sequence, weights, recurrence = inputs[:3]
    if sequence is None or weights is None or recurrence is None:
        return 0
    return sequence[0] * sequence[1] * (prod(weights) + prod(recurrence))


def _attention(inputs: list[Shape | None], output: Shape | None) -> int:
    """Each query meets every key, and each weight every value; the keys' last but one dimension is their number."""
    query, key = inputs[:2]
    if query is None or key is None or output is None:
        return 0
    return (prod(query) + prod(output)) * key[-2]

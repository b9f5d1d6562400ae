"""Onnxruntime's own operators (`com.microsoft`) as its optimiser and quantiser write them: what they give, and of what type.

The onnx library knows nothing of them. Each is traced to the standard operator whose work it does.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cnnkit.runtime.graphs import attribute

if TYPE_CHECKING:
    from onnx import NodeProto

Shape = tuple[int, ...]
DOMAIN = "com.microsoft"
_FLOAT, _UINT8 = 1, 2  # TensorProto.DataType


@dataclass(frozen=True)
class Rule:
    """What an operator gives.

    Attributes:
        standard: operator that gives the same shape; empty where it is that of the first input.
        inputs: those that the standard operator takes.
        typed: input whose type the result has; None for float32.
        otherwise: type where that input is absent.
        most: inputs that it may have. Later ones are masks and caches, whose values are taken for places in memory.
    """

    standard: str = ""
    inputs: tuple[int, ...] = (0,)
    typed: int | None = 0
    otherwise: int = _FLOAT
    most: int = 16


RULES = {
    **dict.fromkeys(("Gelu", "FastGelu", "QuickGelu", "BiasGelu", "BiasSoftmax", "QLinearSigmoid"), Rule()),
    **dict.fromkeys(("QLinearLeakyRelu", "QLinearSoftmax", "SkipLayerNormalization"), Rule()),
    "SkipSimplifiedLayerNormalization": Rule(),
    "FusedConv": Rule("Conv", (0, 1, 2)),
    "QLinearConv": Rule("Conv", (0, 3), typed=7),
    "FusedGemm": Rule("Gemm", (0, 1, 2)),
    "QGemm": Rule("Gemm", (0, 3), typed=8),
    "FusedMatMul": Rule("MatMul", (0, 1)),
    "DynamicQuantizeMatMul": Rule("MatMul", (0, 1), typed=None),
    "MatMulIntegerToFloat": Rule("MatMul", (0, 1), typed=2),
    "MatMulNBits": Rule("MatMulNBits"),
    "QLinearAdd": Rule("Add", (0, 3)),
    "QLinearMul": Rule("Mul", (0, 3)),
    "QLinearConcat": Rule("Concat", typed=2, most=2**31),
    "QLinearAveragePool": Rule("AveragePool"),
    "QLinearGlobalAveragePool": Rule("GlobalAveragePool"),
    "NhwcMaxPool": Rule("MaxPool"),
    "QuantizeLinear": Rule(typed=2, otherwise=_UINT8),
    "DequantizeLinear": Rule(typed=1),
    "Attention": Rule("Attention", (0, 1), most=3),
    "QAttention": Rule("Attention", (0, 1), typed=3, most=5),
    "MultiHeadAttention": Rule("MultiHeadAttention", (0, 2), most=4),
}


def result_of(
    node: "NodeProto", shapes: list[Shape], types: list[int], standard: Callable[["NodeProto", list[Shape]], Shape]
) -> tuple[Shape, int]:
    """Return the shape and the type of what a node of `RULES` gives.

    Args:
        node: with all inputs of known shapes.
        shapes: of its inputs; empty for absent ones.
        types: of its inputs, 0 for absent ones.
        standard: gives the result of a node of a standard operator on float32.

    Raises:
        IndexError, ValueError: inputs that the operator cannot have.
    """
    rule = RULES[node.op_type]
    kind = _FLOAT if rule.typed is None else (types[rule.typed] if rule.typed < len(types) else 0) or rule.otherwise
    taken = [shapes[place] for place in rule.inputs if place < len(shapes)]
    first = taken[0]
    if rule.standard == "MatMulNBits":
        return (*first[:-1], attribute(node, "N")), kind
    if rule.standard == "Attention":  # the weights are those of query, key and value side by side
        return (*first[:-1], attribute(node, "qkv_hidden_sizes", [taken[1][1] // 3])[-1]), kind
    if rule.standard == "MultiHeadAttention":
        if len(first) != 3 or len(taken[1]) != 3:
            raise ValueError("packed heads")
        return (*first[:-1], taken[1][-1]), kind
    if not rule.standard:
        return first, kind
    if rule.standard == "Concat":
        taken = shapes[2::3]
    if rule.standard == "MatMul":
        if attribute(node, "transBatchA", 0) or attribute(node, "transBatchB", 0):
            raise ValueError("a transposed batch")
        for place, name in enumerate(("transA", "transB")):
            if attribute(node, name, 0):
                taken[place] = (*taken[place][:-2], *taken[place][:-3:-1])
    if rule.standard == "Gemm":
        taken = taken[:2]
    last = node.op_type == "NhwcMaxPool" or attribute(node, "channels_last", 0)
    if last:
        taken[0] = (first[0], first[-1], *first[1:-1])
    shape = standard(node, taken)
    return ((shape[0], *shape[2:], shape[1]) if last else shape), kind

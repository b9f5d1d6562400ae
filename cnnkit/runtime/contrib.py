"""Onnxruntime's own operators (`com.microsoft`) as its optimiser and quantiser write them: shape and type of a result.

The onnx library knows nothing of them. Each is traced to the standard operator whose work it does.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from cnnkit.runtime.graphs import attribute

if TYPE_CHECKING:
    from onnx import NodeProto

Shape = tuple[int, ...]
DOMAIN = "com.microsoft"
_FLOAT, _UINT8 = 1, 2  # TensorProto.DataType


class Rule(NamedTuple):
    """What an operator gives.

    Attributes:
        standard: operator that gives the same shape; empty where it is that of the first input.
        inputs: those that the standard operator takes.
        typed: input whose type the result has; past the last one for `otherwise`.
        otherwise: type where that input is absent.
        most: inputs that it may have. Later ones are masks and caches, whose values are taken for places in memory.
    """

    standard: str = ""
    inputs: tuple[int, ...] = (0,)
    typed: int = 0
    otherwise: int = _FLOAT
    most: int = 9


RULES = {
    **dict.fromkeys(("Gelu", "FastGelu", "QuickGelu", "BiasGelu", "BiasSoftmax", "QLinearSigmoid"), Rule()),
    **dict.fromkeys(("QLinearLeakyRelu", "QLinearSoftmax", "SkipLayerNormalization"), Rule()),
    "SkipSimplifiedLayerNormalization": Rule(),
    "FusedConv": Rule("Conv", (0, 1, 2)), "QLinearConv": Rule("Conv", (0, 3), typed=7),
    "FusedGemm": Rule("Gemm", (0, 1)), "QGemm": Rule("Gemm", (0, 3), typed=8),
    "FusedMatMul": Rule("MatMul", (0, 1)), "DynamicQuantizeMatMul": Rule("MatMul", (0, 1), typed=9),
    "MatMulIntegerToFloat": Rule("MatMul", (0, 1), typed=2), "MatMulNBits": Rule("MatMulNBits"),
    "QLinearAdd": Rule("Add", (0, 3)), "QLinearMul": Rule("Mul", (0, 3)),
    "QLinearConcat": Rule("Concat", typed=2, most=2**31), "NhwcMaxPool": Rule("MaxPool"),
    "QLinearAveragePool": Rule("AveragePool"), "QLinearGlobalAveragePool": Rule("GlobalAveragePool"),
    "QuantizeLinear": Rule(typed=2, otherwise=_UINT8), "DequantizeLinear": Rule(typed=1),
    "Attention": Rule("Attention", (0, 1), most=3), "QAttention": Rule("Attention", (0, 1), typed=3, most=5),
    "MultiHeadAttention": Rule("MultiHeadAttention", (0, 2), most=4),
}  # fmt: skip


def result_of(
    node: "NodeProto", shapes: list[Shape], types: list[int], standard: Callable[["NodeProto", list[Shape]], Shape]
) -> tuple[Shape, int]:
    """Return the shape and the type of what a node of `RULES` gives.

    Args:
        node: of which all inputs are known.
        shapes, types: of its inputs; empty and 0 for absent ones.
        standard: gives the shape of the node's standard operator.

    Raises:
        IndexError, ValueError: inputs that the operator cannot have.
    """
    rule = RULES[node.op_type]
    kind = (types[rule.typed] if rule.typed < len(types) else 0) or rule.otherwise
    taken = shapes[2::3] if rule.standard == "Concat" else [shapes[i] for i in rule.inputs if i < len(shapes)]
    first = taken[0]
    if rule.standard in {"MatMulNBits", "Attention", "MultiHeadAttention"}:
        if rule.standard == "MatMulNBits":
            last = attribute(node, "N")
        elif rule.standard == "Attention":  # the weights are those of query, key and value side by side
            last = attribute(node, "qkv_hidden_sizes", [taken[1][1] // 3])[-1]
        else:
            last = taken[1][2]
        return (*first[:-1], last), kind
    for place, name in enumerate(("transA", "transB") if rule.standard == "MatMul" else ()):
        if attribute(node, name.replace("trans", "transBatch"), 0):
            raise ValueError("a transposed batch")
        if attribute(node, name, 0):
            taken[place] = (*taken[place][:-2], *taken[place][:-3:-1])
    if node.op_type == "NhwcMaxPool" or attribute(node, "channels_last", 0):
        taken[0] = (first[0], first[-1], *first[1:-1])
        batch, channels, *sides = standard(node, taken)
        return (batch, *sides, channels), kind
    return (standard(node, taken) if rule.standard else first), kind

"""The operators that a file may use: what classifiers are made of, and whose work is the same for every image.

A file is tried before it is trusted, on a few images of the one size and of every number that will run. No other image
may then take another path: no size may depend on the pixels, and no division of integers.
"""

from collections import ChainMap
from typing import TYPE_CHECKING, Any, NamedTuple

from cnnkit.errors import OnnxError
from cnnkit.runtime import graphs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnx import GraphProto, ModelProto, NodeProto


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_STANDARD = _names("""
    Abs Acos Acosh Add AffineGrid And ArgMax ArgMin Asin Asinh Atan Atanh Attention AveragePool BatchNormalization
    BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast CastLike Ceil Celu CenterCropPad Clip Concat Constant
    ConstantOfShape Conv ConvInteger ConvTranspose Cos Cosh CumSum DFT DepthToSpace DequantizeLinear Det Div Dropout
    DynamicQuantizeLinear Einsum Elu Equal Erf Exp Expand EyeLike Flatten Floor GRU Gather GatherElements GatherND Gelu
    Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool Greater GreaterOrEqual GridSample GroupNormalization HardSigmoid
    HardSwish Hardmax Identity If InstanceNormalization IsInf IsNaN LRN LSTM LayerNormalization LeakyRelu Less
    LessOrEqual Log LogSoftmax LpNormalization LpPool MatMul MatMulInteger Max MaxPool Mean MeanVarianceNormalization
    Min Mish Mod Mul Neg Not OneHot Or PRelu Pad Pow QLinearConv QLinearMatMul QuantizeLinear RMSNormalization RNN
    RandomNormalLike RandomUniformLike Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax
    ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize ReverseSequence RotaryEmbedding Round
    ScatterElements ScatterND Selu Shape Shrink Sigmoid Sign Sin Sinh Size Slice Softmax Softplus Softsign SpaceToDepth
    Split Sqrt Squeeze Sub Sum Swish Tan Tanh ThresholdedRelu Tile TopK Transpose Trilu Unsqueeze Upsample Where Xor
""")
_LEARNING = _names("ArrayFeatureExtractor LabelEncoder LinearClassifier Normalizer Scaler ZipMap")
_CONTRIB = "com.microsoft"
_FLOAT = 1  # TensorProto.DataType
_FLOATS = {1, 10, 11, 16}
"""float32, float16, float64 and bfloat16."""
_OWN = {
    **dict.fromkeys(_names("""
        BiasGelu BiasSoftmax FastGelu FusedConv FusedGemm FusedMatMul Gelu MatMulNBits NhwcMaxPool QLinearAdd
        QLinearAveragePool QLinearGlobalAveragePool QLinearLeakyRelu QLinearMul QLinearSigmoid QLinearSoftmax QuickGelu
        SkipLayerNormalization SkipSimplifiedLayerNormalization
    """), (0, 9)),
    "DequantizeLinear": (1, 9), "DynamicQuantizeMatMul": (9, 9), "MatMulIntegerToFloat": (2, 9), "QGemm": (8, 9),
    "QLinearConcat": (2, 2**31), "QLinearConv": (7, 9), "QuantizeLinear": (2, 9),
    "Attention": (0, 3), "MultiHeadAttention": (0, 4), "QAttention": (3, 5),
}  # fmt: skip
"""onnxruntime's own, as its optimiser and quantiser write them: the input that a result has the type of, and how many
inputs there may be. Later ones are masks and caches, whose values native code takes for places in memory."""
OPERATORS = {"": _STANDARD, "ai.onnx.ml": _LEARNING, _CONTRIB: frozenset(_OWN)}
"""What is allowed, by domain."""

_BY_PIXELS = {"Compress", "NonMaxSuppression", "NonZero", "Unique"}
_LOOPS = {"Loop", "Scan", "SequenceMap"}
_COMPILED = {"com.microsoft.nchwc", "com.ms.internal.nhwc"}
"""Domains of operators that onnxruntime puts into a graph for the processor or GPU at hand."""
_SIZING = {
    **dict.fromkeys(_names("AffineGrid CenterCropPad CumSum Expand OneHot Reshape ReverseSequence Split Squeeze Tile "
                           "TopK Trilu Unsqueeze Upsample"), (1,)),
    **{name: (1,) for name in _STANDARD if name.startswith("Reduce")},
    **dict.fromkeys(("LSTM", "GRU", "RNN"), (4,)), "RotaryEmbedding": (3,), "Attention": (6,), "If": (0,),
    "ConstantOfShape": (0,), "DFT": (1, 2), "Pad": (1, 3), "Range": (0, 1, 2), "Resize": (1, 2, 3),
    "Slice": (1, 2, 3, 4),
}  # fmt: skip
"""Inputs whose values decide about sizes, lengths or places."""


class _Value(NamedTuple):
    """What is known of a tensor.

    Attributes:
        kind: its `TensorProto.DataType`; 0 where it is not known.
        by_pixels: it may be another one for an image of the same size.
        stored: its value, where that is in the file.
    """

    kind: int = 0
    by_pixels: bool = True
    stored: Any = None


_NONE = _Value(by_pixels=False)


def check_operators(model: "ModelProto") -> None:
    """Make sure that a model, without local functions, has only operators that are allowed, as they are allowed.

    Raises:
        OnnxError: it has others.
    """
    versions = {entry.domain: entry.version for entry in model.opset_import}
    given = {value.name: _Value(value.type.tensor_type.elem_type) for value in model.graph.input}
    _check_graph(model.graph, ChainMap(given), versions)


def _check_graph(graph: "GraphProto", known: ChainMap[str, _Value], versions: "Mapping[str, int]") -> bool:
    """Go through the nodes in their order, which is that of a run; return whether the results depend on the pixels.

    Args:
        graph: the whole one, or a branch of an `If`.
        known: of the inputs and, in a branch, of what is around it.
        versions: of the operators, by domain.
    """
    for tensor in graph.initializer:
        known[tensor.name] = _Value(tensor.data_type, by_pixels=False, stored=tensor)
    for sparse in graph.sparse_initializer:
        known[sparse.values.name] = _Value(sparse.values.data_type, by_pixels=False)
    for node in graph.node:
        _require_allowed(node, versions)
        given = [known.get(name, _Value()) if name else _NONE for name in node.input]
        _check(node, given)
        bodies = [each.g for each in node.attribute if each.HasField("g")]
        inside = [_check_graph(body, known.new_child(), versions) for body in bodies]
        by_pixels = any(value.by_pixels for value in given) or any(inside)
        if node.op_type in {"Shape", "Size"}:  # no size depends on the pixels
            by_pixels = False
        elif node.op_type == "Dropout" or node.op_type.startswith("Random"):
            by_pixels = True
        if (tensor := graphs.constant(node)) is not None:
            known[node.output[0]] = _Value(tensor.data_type, by_pixels=False, stored=tensor)
        else:
            known.update({name: _Value(kind, by_pixels) for name, kind in _kinds(node, given, versions).items()})
    return any(known.get(output.name, _Value()).by_pixels for output in graph.output)


def _kinds(node: "NodeProto", given: list[_Value], versions: "Mapping[str, int]") -> dict[str, int]:
    """Return the types of a node's results, as far as the standard tells them by those of its inputs."""
    from onnx import TensorProto, defs

    if node.domain == _CONTRIB:
        place = _OWN[node.op_type][0]
        return dict.fromkeys(node.output, (given[place].kind if place < len(given) else 0) or _FLOAT)
    schema = defs.get_schema(node.op_type, versions.get(node.domain, 1), node.domain)
    by_name = {param.type_str: value.kind for param, value in zip(schema.inputs, given, strict=False) if value.kind}
    found = dict.fromkeys(node.output, 0)
    for name, param in zip(node.output, schema.outputs, strict=False):
        kind = param.type_str.removeprefix("tensor(").rstrip(")").upper()
        stated = graphs.attribute(node, "to", 0) if node.op_type == "Cast" else 0
        found[name] = stated or by_name.get(param.type_str, 0) or dict(TensorProto.DataType.items()).get(kind, 0)
    return found


def _require_allowed(node: "NodeProto", versions: "Mapping[str, int]") -> None:
    from onnx import defs

    kind, version = node.op_type, versions.get(node.domain, 1)
    if kind in OPERATORS.get(node.domain, ()):
        if node.domain == _CONTRIB or defs.has(kind, version, node.domain):
            return
        why = "which does not have it. Export it again."
    elif node.domain in _COMPILED or kind == "EPContext":
        why = "so it was optimised for one machine. Use the file that it was made from, or export it again."
    elif kind in _LOOPS:
        why = "whose running time cannot be bounded. Export it with the loop unrolled."
    elif kind in _BY_PIXELS:
        why = "whose results depend on the pixels in size. Export it without it."
    else:
        why = "which is not one of those that cnnkit runs (see docs/onnx.md). Export it with standard operators."
    raise OnnxError(f"it needs the operator {kind} of {node.domain or f'opset {version}'}, {why}")


def _check(node: "NodeProto", given: list[_Value]) -> None:
    """Refuse what may end the process, or take another path, for some image that is not tried."""
    from onnx.numpy_helper import to_array

    name = f"its node {node.name or node.output[0]!r} ({node.op_type})"
    if node.domain == _CONTRIB and any(node.input[_OWN[node.op_type][1] :]):
        raise OnnxError(f"{name} has masks or caches, which cnnkit does not run. Export it without them.")
    if node.domain:
        return
    if any(given[place].by_pixels for place in _SIZING.get(node.op_type, ()) if place < len(given)):
        raise OnnxError(f"{name} gives a result whose size shows only when it runs. Export it with fixed sizes.")
    # The smallest integer divided by -1, or any by 0, ends the process.
    whole = not all(value.kind in _FLOATS for value in given)
    if node.op_type in {"Div", "Mod"} and whole and any(value.by_pixels for value in given):
        divisor = None if given[1].stored is None else to_array(given[1].stored)
        if divisor is None or ((divisor == 0) | (divisor == -1)).any():
            said = "by 0, -1 or a value that depends on the pixels, or pixels by a computed one"
            raise OnnxError(f"{name} divides integers {said}.")
    if node.op_type == "GridSample" and graphs.attribute(node, "padding_mode", b"zeros") == b"reflection":
        raise OnnxError(f"{name} samples by reflection, at places that depend on the pixels.")

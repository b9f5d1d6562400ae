"""The operators that a file may use: what classifiers are made of, and whose work is the same for every image.

A file is tried before it is trusted, on a few images. No other image may then take another path: sizes must follow from
the file and the size of the images alone, and nothing may divide integers by a value that is not in the file.
"""

from collections import Counter
from itertools import chain
from math import prod
from typing import TYPE_CHECKING

from cnnkit.errors import OnnxError
from cnnkit.runtime import contrib, graphs, shapes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnx import ModelProto, NodeProto

MAX_RESULT_BYTES = 2**31
"""Of one intermediate result for one image."""
BATCH = 64
"""Images in a batch, for which a result may be so many times as large as for one."""


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_CHEAP = _names("""
    Abs Add And Cast Ceil Clip Concat Constant Div Equal Flatten Floor Gather Greater GreaterOrEqual Identity Less
    LessOrEqual Max Min Mod Mul Neg Not Or Relu Reshape Round Shape Sigmoid Sign Size Slice Softmax Sqrt Squeeze Sub
    Tanh Transpose Unsqueeze Where Xor
""")
"""What the branches of an `If` may hold: of two, only one is tried."""
_STANDARD = _CHEAP | _names("""
    Acos Acosh AffineGrid ArgMax ArgMin Asin Asinh Atan Atanh Attention AveragePool BatchNormalization BitShift
    BitwiseAnd BitwiseNot BitwiseOr BitwiseXor CastLike Celu CenterCropPad ConstantOfShape Conv ConvInteger
    ConvTranspose Cos Cosh CumSum DFT DepthToSpace DequantizeLinear Det Dropout DynamicQuantizeLinear Einsum Elu Erf
    Exp Expand EyeLike GRU GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool GridSample
    GroupNormalization HardSigmoid HardSwish Hardmax If InstanceNormalization IsInf IsNaN LRN LSTM
    LayerNormalization LeakyRelu Log LogSoftmax LpNormalization LpPool MatMul MatMulInteger MaxPool Mean
    MeanVarianceNormalization Mish OneHot PRelu Pad Pow QLinearConv QLinearMatMul QuantizeLinear RMSNormalization
    RNN RandomNormalLike RandomUniformLike Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax
    ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Resize ReverseSequence RotaryEmbedding ScatterElements
    ScatterND Selu Shrink Sin Sinh Softplus Softsign SpaceToDepth Split Sum Swish Tan ThresholdedRelu Tile TopK
    Trilu Upsample
""")
_LEARNING = _names("ArrayFeatureExtractor LabelEncoder LinearClassifier Normalizer Scaler ZipMap")
_ALLOWED = {"": _STANDARD, "ai.onnx.ml": _LEARNING, contrib.DOMAIN: frozenset(contrib.RULES)}

_BY_PIXELS = {"Compress", "NonMaxSuppression", "NonZero", "Unique"}
_LOOPS = {"Loop", "Scan", "SequenceMap"}
_COMPILED = {"com.microsoft.nchwc", "com.ms.internal.nhwc"}
"""Domains of operators that onnxruntime puts into a graph for the processor or GPU at hand."""
_FLOATS = {1, 10, 11, 16}
"""float32, float16, float64 and bfloat16 as `TensorProto.DataType`."""
_FIXED = {
    "LSTM": (4,), "GRU": (4,), "RNN": (4,), "ReverseSequence": (1,), "Resize": (1, 2, 3), "OneHot": (1,), "Trilu": (1,),
    "CumSum": (1,), "RotaryEmbedding": (3,), "Attention": (6,),
}  # fmt: skip
"""Inputs that native code takes for lengths: they must be known before a run."""


def check_operators(model: "ModelProto") -> None:
    """Make sure that a model, without local functions, has only operators that are allowed.

    Raises:
        OnnxError: it has others, or names that mean two things.
    """
    import onnx

    versions = {entry.domain: entry.version for entry in model.opset_import}
    for node in graphs.nodes(model):
        kind, version = node.op_type, versions.get(node.domain, 1)
        if kind in _ALLOWED.get(node.domain, ()):
            if node.domain == contrib.DOMAIN or onnx.defs.has(kind, version, node.domain):
                continue
            why = "which does not have it. Export it again."
        elif node.domain in _COMPILED or kind == "EPContext":
            why = "for the machine that it was optimised for. Use the file that it was made from, or export it again."
        elif kind in _LOOPS:
            why = "whose running time cannot be bounded. Export it with the loop unrolled."
        elif kind in _BY_PIXELS:
            why = "whose results depend on the pixels in size. Export it without it."
        else:
            why = "which is not one of those that cnnkit runs (see docs/onnx.md). Export it with standard operators."
        raise OnnxError(f"it needs the operator {kind} of {node.domain or f'opset {version}'}, {why}")
    made = chain.from_iterable(
        (*(t.name for t in getattr(block, "initializer", ())), *(o for node in block.node for o in node.output if o))
        for block in graphs.blocks(model)
    )
    twice = next((name for name, count in Counter(made).items() if count > 1), None)
    if twice is not None:
        raise OnnxError(f"its branches give the name {twice!r} to two results. Export it with a name for each.")


def check_sizes(model: "ModelProto", sizes: "Mapping[str, shapes.Shape]", batched: str) -> str:
    """Make sure that every size and every step is known for inputs of these sizes.

    Args:
        model: that passed `check_operators`.
        sizes: of its inputs by name.
        batched: input whose batch is open; empty where there is none.

    Returns:
        the first contradiction between sizes, empty where there is none: all else is in order.

    Raises:
        OnnxError: a step or a size depends on the pixels, or is more than an image may take.
    """
    from onnx.helper import tensor_dtype_to_np_dtype

    found = shapes.infer(model, sizes)
    for node in found.nodes:
        if problem := found.problems.get(node.output[0] if node.output else ""):
            return f"the size of {_named(node)} cannot be told: {problem}."
        _check_steps(node, found)
        for name in found.shapes.keys() & set(node.output):
            shape, kind = found.shapes[name], found.types.get(name) or 1
            if min(shape, default=0) < 0 or prod(shape) * tensor_dtype_to_np_dtype(kind).itemsize > MAX_RESULT_BYTES:
                raise OnnxError(f"{_named(node)} has the size {'×'.join(map(str, shape))}: more memory than an image "
                                "may take.")  # fmt: skip
    larger = shapes.infer(model, {**sizes, batched: (BATCH, *sizes[batched][1:])}) if batched else found
    for node in larger.nodes:
        for name in found.shapes.keys() & larger.shapes.keys() & set(node.output):
            if prod(larger.shapes[name]) > BATCH * max(1024, prod(found.shapes[name])):
                raise OnnxError(f"{_named(node)} grows faster than the number of images. Export it with batch 1.")
    return ""


def _named(node: "NodeProto") -> str:
    return f"the result of its node {node.name or node.output[0]!r} ({node.op_type})"


def _check_steps(node: "NodeProto", found: shapes.Inferred) -> None:
    """Refuse what may end the process, or take another path, for some image that is not tried."""
    from onnx.numpy_helper import to_array

    name = f"its node {node.name or node.output[0]!r} ({node.op_type})"
    if node.domain == contrib.DOMAIN and any(node.input[contrib.RULES[node.op_type].most :]):
        raise OnnxError(f"{name} has masks or caches, which cnnkit does not run. Export it without them.")
    if node.domain:
        return
    floats = all(found.types.get(given) in _FLOATS for given in node.input if given)
    # The smallest integer divided by -1, or any by 0, ends the process. Sizes are no constants: a batch may be any.
    if node.op_type in {"Div", "Mod"} and not floats:
        divisor = found.stored.get(node.input[1])
        if divisor is None or {0, -1} & set(to_array(divisor).ravel().tolist()):
            raise OnnxError(f"{name} divides integers by 0, -1 or a value that is not stored in the file.")
    if node.op_type in {"ReduceMean", "Mean"} and found.types.get(node.input[0]) not in _FLOATS:
        raise OnnxError(f"{name} takes the mean of integers, of which there may be none. Cast them to float32.")
    if any(node.input[place] and node.input[place] not in found.constants
           for place in _FIXED.get(node.op_type, ()) if place < len(node.input)):  # fmt: skip
        raise OnnxError(f"{name} takes a length that shows only when it runs.")
    if node.op_type == "GridSample" and graphs.attribute(node, "padding_mode", b"zeros") == b"reflection":
        raise OnnxError(f"{name} samples by reflection, at places that depend on the pixels.")
    if node.op_type == "If":
        blocks = [block for each in node.attribute if each.HasField("g") for block in graphs.inside(each.g)]
        costly = [n.op_type for block in blocks for n in block.node if n.domain or n.op_type not in _CHEAP]
        if costly:
            raise OnnxError(f"{name} has a {costly[0]} in one of two branches. Export it with the branch that is used.")

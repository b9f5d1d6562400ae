"""The operators that a file may use: what classifiers are made of, and whose work is the same for every image.

A file is tried before it is trusted, on a few images. No other image may then take another path: sizes must follow from
the file and the size of the images alone, and nothing may divide integers by a value that is not in the file.
"""

from collections import Counter
from itertools import chain
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnkit.errors import OnnxError
from cnnkit.runtime import contrib, graphs, shapes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnx import ModelProto, NodeProto

MAX_RESULT_BYTES = 2**31
"""Of one intermediate result for one image."""
BATCH = 64
"""Images in a batch, for which a result may be so many times as large as for one."""

_CHEAP = set(
    "Abs Add And Cast Ceil Clip Concat Constant Div Equal Flatten Floor Gather Greater GreaterOrEqual Identity Less "
    "LessOrEqual Max Min Mod Mul Neg Not Or Relu Reshape Round Shape Sigmoid Sign Size Slice Softmax Sqrt Squeeze Sub "
    "Tanh Transpose Unsqueeze Where Xor".split()
)
"""What the branches of an `If` may hold: of two, only one is tried."""
_STANDARD = _CHEAP | set(
    "Acos Acosh AffineGrid ArgMax ArgMin Asin Asinh Atan Atanh Attention AveragePool BatchNormalization BitShift "
    "BitwiseAnd BitwiseNot BitwiseOr BitwiseXor CastLike Celu CenterCropPad ConstantOfShape Conv ConvInteger "
    "ConvTranspose Cos Cosh CumSum DFT DepthToSpace DequantizeLinear Det Dropout DynamicQuantizeLinear Einsum Elu Erf "
    "Exp Expand EyeLike GRU GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool GridSample "
    "GroupNormalization HardSigmoid HardSwish Hardmax If InstanceNormalization IsInf IsNaN LRN LSTM LayerNormalization "
    "LeakyRelu Log LogSoftmax LpNormalization LpPool MatMul MatMulInteger MaxPool Mean MeanVarianceNormalization Mish "
    "OneHot PRelu Pad Pow QLinearConv QLinearMatMul QuantizeLinear RMSNormalization RNN RandomNormalLike "
    "RandomUniformLike Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin "
    "ReduceProd ReduceSum ReduceSumSquare Resize ReverseSequence RotaryEmbedding ScatterElements ScatterND Selu Shrink "
    "Sin Sinh Softplus Softsign SpaceToDepth Split Sum Swish Tan ThresholdedRelu Tile TopK Trilu Upsample".split()
)
_LEARNING = set("ArrayFeatureExtractor LabelEncoder LinearClassifier Normalizer Scaler ZipMap".split())
_ALLOWED = {"": _STANDARD, "ai.onnx.ml": _LEARNING, contrib.DOMAIN: set(contrib.RULES)}

_BY_PIXELS = {"Compress", "NonMaxSuppression", "NonZero", "Unique"}
_LOOPS = {"Loop", "Scan", "SequenceMap"}
_COMPILED = {"com.microsoft.nchwc", "com.ms.internal.nhwc"}
"""Domains of operators that onnxruntime puts into a graph for the processor or GPU at hand."""
_FIXED = {"LSTM": (4,), "GRU": (4,), "RNN": (4,), "ReverseSequence": (1,), "Resize": (1, 2, 3), "OneHot": (1,)}
"""Inputs that native code takes for lengths: they must be known before a run."""


def check_operators(model: "ModelProto") -> None:
    """Make sure that a model, without local functions, has only operators that are allowed.

    Raises:
        OnnxError: it has others, or names that mean two things.
    """
    import onnx

    versions = {entry.domain: entry.version for entry in model.opset_import}
    for node in graphs.nodes(model):
        kind, place = node.op_type, f"of {node.domain}" if node.domain else f"in opset {versions.get('', 1)}"
        if kind in _ALLOWED.get(node.domain, ()):
            known = node.domain == contrib.DOMAIN or onnx.defs.has(kind, versions.get(node.domain, 1), node.domain)
            if not known:
                raise OnnxError(f"it needs the operator {kind} {place}, which this onnxruntime does not have.")
            continue
        if node.domain in _COMPILED or kind == "EPContext":
            raise OnnxError(
                f"it was optimised for one machine: its operator {kind} {place} is only for the processor or the "
                "device that it was made on. Use the file that it was made from, or export it again."
            )
        if kind in _LOOPS:
            raise OnnxError(f"it has a {kind}, whose running time cannot be bounded. Export it with the loop unrolled.")
        if kind in _BY_PIXELS:
            raise OnnxError(f"it has a {kind}, the size of whose result depends on the pixels. Export it without it.")
        raise OnnxError(
            f"it needs the operator {kind} {place}, which is not one of those that cnnkit runs (docs/onnx.md lists "
            "them). Export it with standard operators."
        )
    made = chain.from_iterable(
        (*(t.name for t in getattr(block, "initializer", ())), *(o for node in block.node for o in node.output if o))
        for block in graphs.blocks(model)
    )
    twice = next((name for name, count in Counter(made).items() if count > 1), None)
    if twice is not None:
        raise OnnxError(f"its branches give the name {twice!r} to two results. Export it with a name for each.")


def check_sizes(model: "ModelProto", sizes: "Mapping[str, shapes.Shape]", *, batched: str = "") -> str:
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
    found = shapes.infer(model, sizes)
    unsized = ""
    for node in found.nodes:
        _check_steps(node, found)
        problem = found.problems.get(node.output[0] if node.output else "")
        if problem and not unsized:
            unsized = f"the size of {_named(node)} cannot be told: {problem}."
        for name in node.output:
            if name in found.shapes and _bytes(name, found) > MAX_RESULT_BYTES:
                listed = "×".join(map(str, found.shapes[name]))
                raise OnnxError(f"{_named(node)} has the size {listed}: more memory than an image may take.")
    if batched and not unsized:
        larger = shapes.infer(model, {**sizes, batched: (BATCH, *sizes[batched][1:])})
        for node in larger.nodes:
            for name in set(node.output) & found.shapes.keys() & larger.shapes.keys():
                if prod(larger.shapes[name]) > BATCH * max(1024, prod(found.shapes[name])):
                    raise OnnxError(f"{_named(node)} grows faster than the number of images. Export it with batch 1.")
    return unsized


def _bytes(name: str, found: shapes.Inferred) -> float:
    from onnx.helper import tensor_dtype_to_np_dtype

    shape, kind = found.shapes[name], found.types.get(name, 1)
    if min(shape, default=0) < 0:
        return float("inf")
    return prod(shape) * (tensor_dtype_to_np_dtype(kind).itemsize if kind else 1)


def _named(node: "NodeProto") -> str:
    return f"the result of its node {node.name or node.output[0]!r} ({node.op_type})"


def _check_steps(node: "NodeProto", found: shapes.Inferred) -> None:
    """Refuse what may end the process, or take another path, for some image that is not tried."""
    from onnx import numpy_helper

    name = f"its node {node.name or node.output[0]!r}"
    if node.domain == contrib.DOMAIN and any(node.input[contrib.RULES[node.op_type].most :]):
        raise OnnxError(f"{name} ({node.op_type}) has masks or caches, which cnnkit does not run. Export it anew.")
    if node.domain:
        return
    kinds: list[Any] = [found.types.get(given) for given in node.input if given]
    # The smallest integer divided by -1, or any by 0, ends the process. Sizes are no constants: a batch may be any.
    if node.op_type in {"Div", "Mod"} and kinds[1:] != [kind for kind in kinds[1:] if kind in _FLOATS]:
        divisor = found.stored.get(node.input[1])
        if divisor is None or {0, -1} & set(numpy_helper.to_array(divisor).ravel().tolist()):
            raise OnnxError(f"{name} divides integers by 0, -1 or a value that is not stored in the file.")
    if node.op_type in {"ReduceMean", "Mean"} and not set(kinds[:1]) <= _FLOATS:
        raise OnnxError(f"{name} takes the mean of integers, of which there may be none. Cast them to float32.")
    for place in _FIXED.get(node.op_type, ()):
        if place < len(node.input) and node.input[place] and node.input[place] not in found.constants:
            raise OnnxError(f"{name} ({node.op_type}) takes a length that shows only when it runs.")
    if node.op_type == "GridSample" and graphs.attribute(node, "padding_mode", b"zeros") == b"reflection":
        raise OnnxError(f"{name} samples by reflection, at places that depend on the pixels.")
    if node.op_type == "If":
        inner = [n for a in node.attribute if a.HasField("g") for block in graphs.inside(a.g) for n in block.node]
        costly = next((n.op_type for n in inner if n.domain or n.op_type not in _CHEAP), None)
        if costly is not None:
            raise OnnxError(f"{name} has a {costly} in one of two branches. Export it with the branch that is used.")


_FLOATS = {1, 10, 11, 16}
"""float32, float16, float64, bfloat16."""

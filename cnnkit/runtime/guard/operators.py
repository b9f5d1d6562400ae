"""The operators that a file may use: what classifiers are made of, and whose work is the same for every image.

A file is tried before it is trusted, on a few images. No other image may then take another path: sizes must follow from
the file and the size of the images alone, and nothing may divide integers by a value that is not in the file.
"""

from collections import ChainMap
from typing import TYPE_CHECKING, Any

from cnnkit.errors import OnnxError
from cnnkit.runtime import graphs

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto


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
_STORED, _SIZED, _CHOSEN, _PIXELS = 0, 1, 2, 3
"""What values depend on: the file alone, the sizes too, growing with them or chosen by them, or the images."""
_GROWING = _names("""
    Add Cast Concat ConstantOfShape Expand Flatten Floor Identity Mul ReduceProd Reshape Shape Size Squeeze Tile
    Transpose Unsqueeze
""")
"""Whose results grow with sizes, so that a trial of few and of many images shows the most they can be."""


def check_operators(model: "ModelProto") -> bool:
    """Make sure that a model, without local functions, has only operators that are allowed, as they are allowed.

    Returns:
        whether inputs of other sizes than those of a trial may do harm: it divides integers by sizes, which may be 0
        then, or chooses sizes by sizes.

    Raises:
        OnnxError: it has others.
    """
    walk = _Walk(model)
    walk.enter(model.graph)
    return walk.by_sizes


class _Walk:
    """Goes through the nodes in their order, which is that of a run."""

    def __init__(self, model: "ModelProto") -> None:
        self.by_sizes = False
        self._versions = {entry.domain: entry.version for entry in model.opset_import}
        # By name, those of a branch before those around it.
        self._types = ChainMap({value.name: value.type.tensor_type.elem_type for value in model.graph.input})
        self._depends: ChainMap[str, int] = ChainMap()
        self._values: ChainMap[str, Any] = ChainMap()
        self._makers: dict[str, NodeProto] = {}
        self._divisors: dict[int, tuple[Any, bool]] = {}

    def enter(self, graph: "GraphProto") -> None:
        for tensor in graph.initializer:
            self._store(tensor.name, tensor)
        for sparse in graph.sparse_initializer:
            self._depends[sparse.values.name] = _STORED
        for node in graph.node:
            self._require_allowed(node)
            bodies = [each.g for each in node.attribute if each.HasField("g")]
            given = [self._depends.get(name, _PIXELS) for name in node.input if name]
            depends = max([*given, *map(self._inside, bodies)], default=_STORED)
            if node.op_type in {"Shape", "Size"}:
                depends = min(depends, _SIZED)
            elif node.op_type == "Dropout" or node.op_type.startswith("Random"):
                depends = _PIXELS
            elif self._is_floor(node):
                depends = min(depends, _SIZED)
            elif depends == _SIZED and not self._grows(node):
                depends = _CHOSEN
            self._check(node)
            self._depends.update(dict.fromkeys(node.output, depends))
            self._makers.update(dict.fromkeys(node.output, node))
            if (tensor := graphs.constant(node)) is not None:
                self._store(node.output[0], tensor)
            else:
                self._types.update(self._typed(node))

    def _grows(self, node: "NodeProto") -> bool:
        """Whether a result that depends on sizes grows with them."""
        if node.op_type in {"Gather", "Slice", "Split", "Div"}:
            return not any(self._depends.get(name, _PIXELS) for name in node.input[1:] if name)
        return node.op_type in _GROWING

    def _is_floor(self, node: "NodeProto") -> bool:
        """Whether it puts ones in place of some sizes, as PyTorch writes `expand`: that makes nothing larger."""
        from onnx.numpy_helper import to_array

        if node.op_type != "Where" or self._depends.get(node.input[2], _PIXELS) > _SIZED:
            return False
        test, ones = (self._makers.get(name) for name in node.input[:2])
        if test is None or ones is None or (test.op_type, ones.op_type) != ("Equal", "ConstantOfShape"):
            return False
        value = graphs.attribute(ones, "value")
        return node.input[2] in test.input and value is not None and bool((to_array(value) == 1).all())

    def _inside(self, body: "GraphProto") -> int:
        """Go through a branch, and return what its results depend on."""
        around = self._types, self._depends, self._values
        self._types, self._depends, self._values = (each.new_child() for each in around)
        self.enter(body)
        depends = max((self._depends.get(output.name, _PIXELS) for output in body.output), default=_PIXELS)
        self._types, self._depends, self._values = around
        return depends

    def _store(self, name: str, tensor: Any) -> None:
        self._depends[name], self._types[name], self._values[name] = _STORED, tensor.data_type, tensor

    def _typed(self, node: "NodeProto") -> dict[str, int]:
        """Return the types of a node's results, as far as the standard tells them by those of its inputs."""
        from onnx import TensorProto, defs

        kinds = [self._types.get(name, 0) for name in node.input]
        if node.domain == _CONTRIB:
            place = _OWN[node.op_type][0]
            return dict.fromkeys(node.output, (kinds[place] if place < len(kinds) else 0) or _FLOAT)
        schema = defs.get_schema(node.op_type, self._versions.get(node.domain, 1), node.domain)
        by_name = {param.type_str: kind for param, kind in zip(schema.inputs, kinds, strict=False) if kind}
        found = {}
        for name, param in zip(node.output, schema.outputs, strict=False):
            kind = param.type_str.removeprefix("tensor(").rstrip(")").upper()
            stated = graphs.attribute(node, "to", 0) if node.op_type == "Cast" else 0
            found[name] = stated or by_name.get(param.type_str, 0) or dict(TensorProto.DataType.items()).get(kind, 0)
        return found

    def _has_zero_or_minus_one(self, divisor: Any) -> bool:
        from onnx.numpy_helper import to_array

        if id(divisor) not in self._divisors:  # many nodes may divide by one constant
            values = to_array(divisor)
            self._divisors[id(divisor)] = divisor, bool(((values == 0) | (values == -1)).any())
        return self._divisors[id(divisor)][1]

    def _require_allowed(self, node: "NodeProto") -> None:
        from onnx import defs

        kind, version = node.op_type, self._versions.get(node.domain, 1)
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

    def _check(self, node: "NodeProto") -> None:
        """Refuse what may end the process, or take another path, for some image that is not tried."""
        name = f"its node {node.name or node.output[0]!r} ({node.op_type})"
        if node.domain:
            if node.domain == _CONTRIB and any(node.input[_OWN[node.op_type][1] :]):
                raise OnnxError(f"{name} has masks or caches, which cnnkit does not run. Export it without them.")
            return
        sizing = [node.input[place] for place in _SIZING.get(node.op_type, ()) if place < len(node.input)]
        if any(given and self._depends.get(given, _PIXELS) == _PIXELS for given in sizing):
            raise OnnxError(f"{name} gives a result whose size shows only when it runs. Export it with fixed sizes.")
        self.by_sizes |= any(self._depends.get(given) == _CHOSEN for given in sizing)
        floats = all(self._types.get(given) in _FLOATS for given in node.input if given)
        # The smallest integer divided by -1, or any by 0, ends the process.
        if node.op_type in {"Div", "Mod"} and not floats:
            divisor = self._values.get(node.input[1])
            if divisor is None:
                self.by_sizes = True
            # A trial shows whether a computed divisor is 0 or -1 only where what it divides is the same for all images.
            harmful = (
                _PIXELS in {self._depends.get(given, _PIXELS) for given in node.input}
                if divisor is None
                else self._has_zero_or_minus_one(divisor)
            )
            if harmful:
                said = "by 0, -1 or a value that depends on the pixels, or pixels by a computed one"
                raise OnnxError(f"{name} divides integers {said}.")
        if node.op_type in {"ReduceMean", "Mean"} and self._types.get(node.input[0]) not in _FLOATS:
            raise OnnxError(f"{name} takes the mean of integers, of which there may be none. Cast them to float32.")
        if node.op_type == "GridSample" and graphs.attribute(node, "padding_mode", b"zeros") == b"reflection":
            raise OnnxError(f"{name} samples by reflection, at places that depend on the pixels.")
        blocks = [block for each in node.attribute if each.HasField("g") for block in graphs.inside(each.g)]
        costly = [n.op_type for block in blocks for n in block.node if n.domain or n.op_type not in _CHEAP]
        if costly:
            raise OnnxError(f"{name} has a {costly[0]} in one of two branches. Export it with the branch that is used.")

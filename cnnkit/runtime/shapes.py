"""Static shapes of an ONNX graph for inputs of a given size, node by node: onnx's inference, and shape arithmetic.

onnx infers whole graphs too, but follows shapes that are computed by other operators only so far, and can be made to
use any amount of memory by what it does follow.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnkit.runtime.graphs import attribute, constant, inside

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto, TypeProto

Shape = tuple[int, ...]

_SMALL = 4096
"""Elements of a constant that may be a shape or take part in computing one."""

MISFIT = "its inputs and attributes do not fit each other"
"""The problem of a node that another size of the images may solve."""

# What exporters compute shapes with.
_ARITHMETIC = {
    "Abs", "Add", "And", "Cast", "Ceil", "Concat", "ConstantOfShape", "Div", "Equal", "Expand", "Floor", "Gather",
    "Greater", "Identity", "Less", "Max", "Min", "Mod", "Mul", "Neg", "Not", "Or", "Range", "ReduceMax", "ReduceMin",
    "ReduceProd", "ReduceSum", "Reshape", "Size", "Slice", "Sqrt", "Squeeze", "Sub", "Tile", "Transpose", "Unsqueeze",
    "Where",
}  # fmt: skip


_UNSAID = {"GroupNormalization", "MeanVarianceNormalization"}
"""Operators that give what is as large as what they take, of which onnx says no sizes."""


@dataclass(frozen=True)
class Inferred:
    """What is known of a graph before it runs.

    Attributes:
        nodes: all of them, those of branches before the node that chooses.
        shapes: of tensors by name; absent where nobody can tell.
        types: `TensorProto.DataType` by name; absent for what is no tensor.
        constants: values that are stored in the file or follow from shapes, as far as they are small.
        problems: why a node's results have no shape, by the name of its first result; empty where that is no fault of
            the node: it is one of onnxruntime's own, or takes what has no shape.
    """

    nodes: "list[NodeProto]" = field(default_factory=list)
    shapes: dict[str, Shape] = field(default_factory=dict)
    types: dict[str, int] = field(default_factory=dict)
    constants: "dict[str, TensorProto]" = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)


def infer(model: "ModelProto", sizes: Mapping[str, Shape], *, fits: bool = False) -> Inferred:
    """Infer the shapes of everything that the graph computes for inputs of these sizes.

    Args:
        model: without local functions.
        sizes: the shape of each input by name.
        fits: only find out whether they fit: stop at the first node that they do not fit.
    """
    walk = _Walk(model, fits)
    for value in model.graph.input:
        if value.name in sizes:
            walk.know(value.name, _type(value.type.tensor_type.elem_type, sizes[value.name]))
    walk.enter(model.graph)
    return walk.found


class _Walk:
    """Goes through the nodes in their order, which is that of a run."""

    def __init__(self, model: "ModelProto", fits: bool) -> None:
        self.found = Inferred()
        self._fits = fits
        self._types: dict[str, TypeProto] = {}
        self._opsets = {entry.domain: entry.version for entry in model.opset_import}
        self._ir_version = model.ir_version
        self._used: set[str] = set()

    def know(self, name: str, kind: "TypeProto") -> None:
        self._types[name] = kind
        if kind.HasField("tensor_type"):
            self.found.types[name] = kind.tensor_type.elem_type
            shape = _static(kind)
            if shape is not None:
                self.found.shapes[name] = shape

    def enter(self, graph: "GraphProto") -> None:
        self._used |= {output.name for output in graph.output}
        self._used |= {name for block in inside(graph) for node in block.node for name in node.input}
        for tensor in graph.initializer:
            self._store(tensor.name, tensor)
        for sparse in graph.sparse_initializer:
            self.know(sparse.values.name, _type(sparse.values.data_type, tuple(sparse.dims)))
        for node in graph.node:
            self._visit(node)
            self.found.nodes.append(node)
            if self._fits and node.output and self.found.problems.get(node.output[0], "").startswith(MISFIT):
                return

    def _store(self, name: str, tensor: "TensorProto") -> None:
        from onnx import TensorProto

        self.know(name, _type(tensor.data_type, tuple(tensor.dims)))
        if prod(tensor.dims) <= _SMALL and tensor.data_location != TensorProto.EXTERNAL:
            self.found.constants[name] = tensor

    def _visit(self, node: "NodeProto") -> None:
        tensor = constant(node)
        if tensor is not None:
            self._store(node.output[0], tensor)
            return
        bodies = [found.g for found in node.attribute if found.HasField("g")]
        for body in bodies:
            self.enter(body)
        if bodies:
            self._choose(node, bodies)
        elif any(name and name not in self._types for name in node.input):
            self.found.problems[node.output[0]] = ""
        else:
            self._infer(node)
            self._compute(node)

    def _choose(self, node: "NodeProto", bodies: "list[GraphProto]") -> None:
        """Give an `If` the shapes of its branches, where these agree."""
        for index, name in enumerate(node.output):
            found = [body.output[index].name for body in bodies if index < len(body.output)]
            shapes = {self.found.shapes.get(inner) for inner in found}
            if node.op_type == "If" and len(shapes) == 1 and None not in shapes:
                self.know(name, self._types[found[0]])
            else:
                self.found.problems[name] = "its branches give different shapes"

    def _infer(self, node: "NodeProto") -> None:
        from onnx import defs, helper, shape_inference

        domain = node.domain if node.domain != "ai.onnx" else ""
        if not defs.has(node.op_type, domain):
            self.found.problems[node.output[0]] = ""
            return
        try:
            results = shape_inference.infer_node_outputs(
                defs.get_schema(node.op_type, self._opsets.get(domain, 1), domain),
                node,
                {name: self._types[name] for name in node.input if name},
                {name: self.found.constants[name] for name in node.input if name in self.found.constants},
                opset_imports=[helper.make_opsetid(*entry) for entry in self._opsets.items()],
                ir_version=self._ir_version,
            )
        except Exception as error:  # onnx raises its own types
            reason = " ".join(str(error).rpartition("InferenceError] ")[2].split())[:200].rstrip(".")
            self.found.problems[node.output[0]] = f"{MISFIT}: {reason}"
            return
        if node.op_type in _UNSAID and not domain:
            results = {node.output[0]: self._types[node.input[0]]}
        if node.op_type == "Dropout" and not domain and len(node.output) > 1 and node.output[0] in results:
            # Before opset 12, onnx says nothing of the mask, which is as large as what it masks.
            sized, mask = results[node.output[0]], results.get(node.output[1])
            kind = mask.tensor_type.elem_type if mask is not None else sized.tensor_type.elem_type
            if (shape := _static(sized)) is not None:
                results[node.output[1]] = _type(kind or sized.tensor_type.elem_type, shape)
        for name, kind in results.items():
            self.know(name, kind)
            if name in self._used and kind.HasField("tensor_type") and _static(kind) is None:
                self.found.problems[node.output[0]] = "its size shows only when it runs; export it with fixed sizes"

    def _compute(self, node: "NodeProto") -> None:
        """Work out what a node gives where that is a small constant."""
        from onnx import numpy_helper

        known, name = self.found.constants, node.output[0]
        if node.op_type == "Shape" and node.input[0] in self.found.shapes:
            shape = self.found.shapes[node.input[0]]
            part = shape[attribute(node, "start", 0) : attribute(node, "end", len(shape))]
            self._store(name, numpy_helper.from_array(np.array(part, np.int64), name))
            return
        if (
            node.domain
            or node.op_type not in _ARITHMETIC | {"Constant"}
            or any(i and i not in known for i in node.input)
        ):
            return
        if prod(self.found.shapes.get(name, (_SMALL + 1,))) > _SMALL:
            return
        from onnx.reference import ReferenceEvaluator

        feeds = {given: numpy_helper.to_array(known[given]) for given in node.input if given}
        try:
            with np.errstate(all="ignore"):
                result: Any = ReferenceEvaluator(node, opsets={"": self._opsets.get("", 1)}).run(None, feeds)
            self._store(name, numpy_helper.from_array(np.asarray(result[0]), name))
        except Exception:  # nonsense of whatever kind computes no shape
            return


def _type(kind: int, shape: Shape) -> "TypeProto":
    from onnx import helper

    return helper.make_tensor_type_proto(kind, list(shape))


def _static(kind: "TypeProto") -> Shape | None:
    tensor = kind.tensor_type
    if not tensor.HasField("shape"):
        return None
    shape = tuple(dim.dim_value for dim in tensor.shape.dim if dim.HasField("dim_value"))
    return shape if len(shape) == len(tensor.shape.dim) else None

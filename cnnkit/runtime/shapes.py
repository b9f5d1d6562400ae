"""Static shapes of an ONNX graph for inputs of a given size: onnx's shape inference, helped over shape arithmetic."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cnnkit.runtime.graphs import attribute, blocks, constant

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

Shape = tuple[int, ...]

_SMALL = 4096
"""Elements of a constant that may be a shape or take part in computing one."""
_PASSES = 64

# What exporters compute shapes with, beyond what onnx follows by itself.
_ARITHMETIC = {
    "Abs", "Add", "And", "Cast", "Ceil", "Concat", "ConstantOfShape", "Div", "Equal", "Expand", "Floor", "Gather",
    "Greater", "Identity", "Less", "Max", "Min", "Mod", "Mul", "Neg", "Not", "Or", "Range", "ReduceMax", "ReduceMin",
    "ReduceProd", "ReduceSum", "Reshape", "Size", "Slice", "Sqrt", "Squeeze", "Sub", "Tile", "Transpose", "Unsqueeze",
    "Where",
}  # fmt: skip


@dataclass(frozen=True)
class Inferred:
    """A model without its large weights, local functions inlined, and the shapes of what it computes.

    Attributes:
        model: as inferred; shapes of graphs inside nodes are in their own `value_info`.
        shapes: of tensors by name; absent where nobody can tell.
        types: `TensorProto.DataType` by name.
    """

    model: "ModelProto"
    shapes: dict[str, Shape]
    types: dict[str, int]


def real_inputs(graph: "GraphProto") -> "list[ValueInfoProto]":
    """Return the inputs that a run must be given: old files list their weights as inputs too."""
    weights = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in weights]


def dimensions(value: "ValueInfoProto") -> tuple[int | str, ...]:
    """Return the dimensions of an input: a size, or the name of an open one, `?` if it has none."""
    return tuple(
        dim.dim_value if dim.HasField("dim_value") else dim.dim_param or "?" for dim in value.type.tensor_type.shape.dim
    )


def infer(model: "ModelProto", sizes: Mapping[str, Shape]) -> Inferred:
    """Infer the shapes of everything that the graph computes for inputs of these sizes.

    Args:
        model: checked; its local functions do not call each other in circles.
        sizes: the shape of each input by name.
    """
    from onnx import inliner, shape_inference

    light = _without_weights(model)
    if model.functions:
        light = inliner.inline_local_functions(light)
    for value in light.graph.input:
        if value.name in sizes:
            _set_shape(value, sizes[value.name])
    _forget(light.graph)
    for _ in range(_PASSES):
        inferred = shape_inference.infer_shapes(light, data_prop=True)
        found = _collect(inferred)
        names = (name for node in inferred.graph.node for name in node.output if name)
        if all(name in found.shapes for name in names) or not _fold(light.graph, found, _opset(model)):
            break
    return found


def values(block: Any) -> "Iterator[ValueInfoProto]":
    """Yield what a graph says about its own tensors."""
    yield from block.value_info
    yield from getattr(block, "input", ())
    yield from getattr(block, "output", ())


def static_shape(value: "ValueInfoProto") -> Shape | None:
    """Return the shape of a tensor whose dimensions are all known."""
    kind = value.type.tensor_type
    if not value.type.HasField("tensor_type") or not kind.HasField("shape"):
        return None
    shape = tuple(dim.dim_value for dim in kind.shape.dim if dim.HasField("dim_value"))
    return shape if len(shape) == len(kind.shape.dim) else None


def _collect(model: "ModelProto") -> Inferred:
    shapes: dict[str, Shape] = {}
    types: dict[str, int] = {}
    for block in blocks(model):
        if not hasattr(block, "initializer"):
            continue  # a function: inlined
        for value in values(block):
            types[value.name] = value.type.tensor_type.elem_type
            shape = static_shape(value)
            if shape is not None:
                shapes[value.name] = shape
        for tensor in block.initializer:
            shapes[tensor.name], types[tensor.name] = tuple(tensor.dims), tensor.data_type
    return Inferred(model, shapes, types)


def _without_weights(model: "ModelProto") -> "ModelProto":
    """Copy a model; tensors too large to be a shape become inputs of theirs, so that nothing large is copied."""
    from onnx import ModelProto, helper

    light = ModelProto(ir_version=model.ir_version)
    light.opset_import.extend(model.opset_import)
    light.functions.extend(model.functions)
    graph = light.graph
    graph.name = model.graph.name or "graph"
    graph.input.extend(model.graph.input)
    graph.output.extend(model.graph.output)
    listed = {value.name for value in graph.input}

    def add(name: str, tensor: "TensorProto") -> None:
        if name not in listed:
            graph.input.append(helper.make_tensor_value_info(name, tensor.data_type, list(tensor.dims)))
            listed.add(name)

    for tensor in model.graph.initializer:
        if _is_small(tensor):
            graph.initializer.append(tensor)
        else:
            add(tensor.name, tensor)
    for sparse in model.graph.sparse_initializer:
        graph.input.append(
            helper.make_tensor_value_info(sparse.values.name, sparse.values.data_type, list(sparse.dims))
        )
    for node in model.graph.node:
        tensor = constant(node)
        if tensor is not None and not _is_small(tensor):
            add(node.output[0], tensor)
        else:
            graph.node.append(node)
    return light


def _is_small(tensor: "TensorProto") -> bool:
    from onnx import TensorProto

    return prod(tensor.dims) <= _SMALL and tensor.data_location != TensorProto.EXTERNAL


def _set_shape(value: "ValueInfoProto", shape: Shape) -> None:
    value.type.tensor_type.ClearField("shape")
    for size in shape:
        value.type.tensor_type.shape.dim.add().dim_value = size


def _forget(graph: "GraphProto") -> None:
    """Drop what the file says about its own results: it may be of another batch, or wrong."""
    graph.ClearField("value_info")
    for value in graph.output:
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.ClearField("shape")


def _opset(model: "ModelProto") -> int:
    return max((entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"}), default=1)


def _fold(graph: "GraphProto", found: Inferred, opset: int) -> bool:
    """Replace nodes that compute small constants by these; return whether there were any."""
    from onnx import numpy_helper

    known: dict[str, NDArray[Any]] = {
        tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer if _is_small(tensor)
    }
    for node in graph.node:
        tensor = constant(node)
        if tensor is not None:
            known[node.output[0]] = numpy_helper.to_array(tensor)
    folded = []
    for node in graph.node:
        result = _evaluate(node, known, found, opset)
        if result is not None:
            known[node.output[0]] = result
            graph.initializer.append(numpy_helper.from_array(result, node.output[0]))
            folded.append(node)
    for node in folded:
        graph.node.remove(node)
    return bool(folded)


def _evaluate(node: "NodeProto", known: Mapping[str, NDArray[Any]], found: Inferred, opset: int) -> NDArray[Any] | None:
    if node.domain not in {"", "ai.onnx"} or len(node.output) != 1:
        return None
    if node.op_type == "Shape" and node.input[0] in found.shapes:
        shape = found.shapes[node.input[0]]
        return np.array(shape[attribute(node, "start", 0) : attribute(node, "end", len(shape))], np.int64)
    if node.op_type not in _ARITHMETIC or any(name and name not in known for name in node.input):
        return None
    if prod(found.shapes.get(node.output[0], (_SMALL + 1,))) > _SMALL:
        return None
    from onnx.reference import ReferenceEvaluator

    feeds = {name: known[name] for name in node.input if name}
    try:
        with np.errstate(all="ignore"):
            return np.asarray(ReferenceEvaluator(node, opsets={"": opset}).run(None, feeds)[0])  # type: ignore[index]
    except Exception:  # nonsense of whatever kind computes no shape
        return None

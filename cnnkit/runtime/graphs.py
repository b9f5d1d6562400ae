"""Walking an ONNX model: every graph in it, at whatever depth, and every tensor that it stores."""

import ast
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onnx import AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

    Block = GraphProto | FunctionProto

NAME_SCOPES = "pkg.torch.onnx.name_scopes"
"""The key under which PyTorch's exporter notes the modules that a node comes from, outermost first."""
NETWORK, NORMALISATION = "network.", "normalise."
"""What names in exported files begin with, after the two parts of `cnnkit.models.normalisation.ExportWrapper`."""


def layer_name(name: str) -> str:
    """Return the name of a layer in such a file as the network itself has it."""
    return name.removeprefix(NETWORK)


def real_inputs(graph: "GraphProto") -> "list[ValueInfoProto]":
    """Return the inputs that a run must be given: old files list their weights as inputs too."""
    weights = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in weights]


def dimensions(value: "ValueInfoProto") -> tuple[int | str, ...]:
    """Return the dimensions of an input: a size, or the name of an open one, `?` if it has none.

    No image has sides of zero or less: exporters write such sizes for open dimensions.
    """
    return tuple(
        dim.dim_value if dim.dim_value > 0 else dim.dim_param or "?" for dim in value.type.tensor_type.shape.dim
    )


def listed(dimensions: tuple[int | str, ...]) -> str:
    """Write dimensions as in `[N, 3, 224, 224]`."""
    return f"[{', '.join(map(str, dimensions))}]"


def blocks(model: "ModelProto") -> "Iterator[Block]":
    """Yield the graph, the local functions, and the graphs inside their nodes."""
    outermost: list[Block] = [model.graph, *model.functions]
    for training in model.training_info:
        outermost += [training.initialization, training.algorithm]
    for block in outermost:
        yield from inside(block)


def inside(block: "Block") -> "Iterator[Block]":
    """Yield a block and the graphs inside its nodes, but not the functions that these call."""
    waiting = [block]
    while waiting:
        block = waiting.pop()
        yield block
        for attribute in _attributes(block):
            waiting += [attribute.g] if attribute.HasField("g") else []
            waiting += attribute.graphs


def nodes(model: "ModelProto") -> "Iterator[NodeProto]":
    """Yield the nodes of all blocks."""
    for block in blocks(model):
        yield from block.node


def tensors(model: "ModelProto") -> "Iterator[TensorProto]":
    """Yield every tensor that the file stores: initializers and attributes of all blocks, the parts of sparse ones."""
    for block in blocks(model):
        yield from getattr(block, "initializer", ())
        sparse = list(getattr(block, "sparse_initializer", ()))
        for attribute in _attributes(block):
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            sparse += [attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []
            sparse += attribute.sparse_tensors
        for tensor in sparse:
            yield tensor.values
            yield tensor.indices


def attribute(node: "NodeProto", name: str, default: Any = None) -> Any:
    """Return the value of a node's attribute, or the default."""
    from onnx.helper import get_attribute_value

    return next((get_attribute_value(found) for found in node.attribute if found.name == name), default)


def constant(node: "NodeProto") -> "TensorProto | None":
    """Return the tensor that a `Constant` node gives, None for any other node and for other kinds of value."""
    if node.op_type != "Constant":
        return None
    tensor: TensorProto | None = attribute(node, "value")
    return tensor


def scopes(node: "NodeProto") -> tuple[str, ...]:
    """Return the names of the modules that a node says to come from, outermost first."""
    for entry in node.metadata_props:
        if entry.key == NAME_SCOPES:
            with suppress(ValueError, SyntaxError, MemoryError, RecursionError):
                names = ast.literal_eval(entry.value)
                # The last is the operation itself.
                return tuple(str(name) for name in names[:-1] if name) if isinstance(names, list) else ()
    return ()


def _attributes(block: "Block") -> "Iterator[AttributeProto]":
    yield from getattr(block, "attribute_proto", ())
    for node in block.node:
        yield from node.attribute

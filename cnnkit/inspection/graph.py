"""Nodes, output shapes, parameters and multiply-adds of an ONNX file, found without running it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import psutil  # type: ignore[import-untyped]
from onnx import ModelProto, NodeProto, TensorProto, helper

from cnnkit.errors import OnnxError, UsageError
from cnnkit.inspection.macs import multiply_adds
from cnnkit.inspection.results import GraphInput, GraphSummary, LayerRow
from cnnkit.runtime import graphs, shapes
from cnnkit.runtime.guard import Checked

_FLOATS = {
    TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE,
    TensorProto.FLOAT8E4M3FN, TensorProto.FLOAT8E4M3FNUZ, TensorProto.FLOAT8E5M2, TensorProto.FLOAT8E5M2FNUZ,
}  # fmt: skip

# Inputs that hold weights, for operators whose other constants are none; `None` stands for a constant of any kind.
_WEIGHTS: Mapping[str, tuple[int, ...]] = {
    "BatchNormalization": (1, 2), "Clip": (), "Pad": (), "Resize": (), "Upsample": (), "OneHot": (), "Dropout": (),
    "QuantizeLinear": (0,), "DequantizeLinear": (0,), "DynamicQuantizeLinear": (0,),
    "ConvInteger": (1,), "MatMulInteger": (0, 1), "QLinearConv": (3, 8), "QLinearMatMul": (0, 3), "QGemm": (3, 6),
}  # fmt: skip
_QUANTISED = {"DequantizeLinear", "ConvInteger", "MatMulInteger", "QLinearConv", "QLinearMatMul", "QGemm"}
_ELEMENTWISE = {"Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Where", "Equal", "Less", "Greater"}


@dataclass(frozen=True)
class Graph:
    """A summarised file with what its rows were made of.

    Attributes:
        summary: one row for each of `nodes`.
        nodes: without the ones that only hold a constant; local functions are replaced by their bodies.
        weights: names of the stored tensors that each node takes as its parameters.
        sizes: of the inputs, with the batch.
    """

    summary: GraphSummary
    nodes: tuple[NodeProto, ...]
    weights: tuple[frozenset[str], ...]
    sizes: dict[str, shapes.Shape]


def read_graph(checked: Checked, name: str, *, batch: int = 1) -> Graph:
    """Summarise a file that passed the checks of `cnnkit.runtime.guard`.

    Args:
        checked: the file, with the shapes for this batch and for one more.
        name: what to call it.
        batch: images in the batch that the multiply-adds are for.

    Raises:
        UsageError: a batch that the graph does not take.
        OnnxError: an input whose size cannot be guessed.
    """
    model = checked.model
    kinds = {value.name: value.type.tensor_type.elem_type for value in model.graph.input}
    open_inputs = False
    for value in graphs.real_inputs(model.graph):
        dims = graphs.dimensions(value)
        open_inputs |= bool(dims) and not isinstance(dims[0], int)
        if dims and isinstance(dims[0], int) and batch not in {1, dims[0]}:
            raise UsageError(f"{name} takes batches of exactly {dims[0]}; leave out --batch.")
        if checked.signature is None and (rest := [str(size) for size in dims[1:] if not isinstance(size, int)]):
            raise OnnxError(f"{name}: {checked.obstacle} Its open size {', '.join(rest)} cannot be guessed.")
    # A dimension is the batch where it grows with it.
    sizes, found, larger = checked.sizes, *checked.shapes
    if not open_inputs and sizes:
        batch = (*next(iter(sizes.values())), 1)[0]
    sizes = {key: found[key] for key in sizes}
    stored = _stored(model)
    nodes = tuple(node for node in model.graph.node if node.op_type != "Constant")
    weights = tuple(_weights(nodes, stored))
    rows = []
    for node, own in zip(nodes, weights, strict=True):
        output = found.get(node.output[0], ())
        has_batch = bool(output) and output[0] == batch
        if open_inputs:
            has_batch = has_batch and larger.get(node.output[0], (0,))[0] == batch + 1
        rows.append(
            LayerRow(
                name=node.name or node.output[0],
                kind=node.op_type,
                depth=1,
                output_shape=output[1:] if has_batch else output,
                parameters=sum(prod(stored[key].dims) for key in own),
                multiply_adds=_multiply_adds(node, found),
                is_leaf=True,
            )
        )
    summary = GraphSummary(
        model=name,
        inputs=tuple(
            GraphInput(key, _dtype(kinds[key]), size[1:] if size and size[0] == batch else size)
            for key, size in sizes.items()
        ),
        batch=batch,
        layers=tuple(rows),
        parameters=sum(prod(stored[key].dims) for key in frozenset().union(*weights)),
        multiply_adds=sum(row.multiply_adds for row in rows),
        size_mb=sum(prod(t.dims) * _bytes(t.data_type) for t in graphs.tensors(model)) / 1e6,
        opset=next((o.version for o in model.opset_import if o.domain in {"", "ai.onnx"}), 0),
        ir_version=model.ir_version,
        producer=f"{model.producer_name} {model.producer_version}".strip(),
        assumptions=checked.notes,
    )
    return Graph(summary, nodes, weights, sizes)


def _stored(model: ModelProto) -> dict[str, TensorProto]:
    """Return what the main graph holds as constants, by name."""
    found = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        tensor = graphs.constant(node)
        if tensor is not None:
            found[node.output[0]] = tensor
    return found


def _weights(nodes: tuple[NodeProto, ...], stored: Mapping[str, TensorProto]) -> Iterator[frozenset[str]]:
    """Yield the parameters of each node; those of a node that only prepares constants count where these are used."""
    origins: dict[str, frozenset[str]] = {}
    for node in nodes:
        own: frozenset[str] = frozenset()
        for inner in _with_bodies(node):
            for place, name in enumerate(inner.input):
                if name in origins:
                    own |= origins[name]
                elif name in stored and _is_weight(inner, place, stored[name]):
                    own |= {name}
        if node.input and all(not name or name in stored or name in origins for name in node.input):
            origins.update(dict.fromkeys(node.output, own))
            own = frozenset()
        yield own


def _with_bodies(node: NodeProto) -> Iterator[NodeProto]:
    yield node
    for attribute in node.attribute:
        for body in [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]:
            for block in graphs.inside(body):
                yield from block.node


def _is_weight(node: NodeProto, place: int, tensor: TensorProto) -> bool:
    if tensor.name.startswith(graphs.NORMALISATION):
        return False
    if node.op_type in _WEIGHTS and place not in _WEIGHTS[node.op_type]:
        return False
    if node.op_type in _QUANTISED:
        return True
    count = prod(tensor.dims)
    return tensor.data_type in _FLOATS and count > (1 if node.op_type in _ELEMENTWISE or not tensor.dims else 0)


def _multiply_adds(node: NodeProto, known: Mapping[str, shapes.Shape]) -> int:
    """Count a node; of several branches the most expensive one."""
    bodies: list[Any] = [a.g for a in node.attribute if a.HasField("g")]
    inside = (sum(multiply_adds(n, known) for block in graphs.inside(body) for n in block.node) for body in bodies)
    return multiply_adds(node, known) + max(inside, default=0)


def _dtype(kind: int) -> str:
    return "string" if kind == TensorProto.STRING else str(helper.tensor_dtype_to_np_dtype(kind))


def _bytes(kind: int) -> float:
    if kind == TensorProto.STRING:
        return 0
    four_bits = {TensorProto.INT4, TensorProto.UINT4, TensorProto.FLOAT4E2M1}
    return 0.5 if kind in four_bits else helper.tensor_dtype_to_np_dtype(kind).itemsize


def require_memory(graph: Graph) -> None:
    """Refuse to run a batch whose largest result, and what it was made from, would take all the memory that is free.

    Raises:
        UsageError: it would; the system would end the process without a word.
    """
    results = [*(row.output_shape for row in graph.summary.layers), *(size[1:] for size in graph.sizes.values())]
    needed = 2 * 4 * graph.summary.batch * max(map(prod, results))
    free = psutil.virtual_memory().available
    if needed > free / 2:
        raise UsageError(
            f"a batch of {graph.summary.batch:,} would take {needed / 1e9:.0f} GB or more; {free / 1e9:.0f} GB "
            "are free. Use a smaller --batch."
        )

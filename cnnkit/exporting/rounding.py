"""A float16 network as a GPU computes it, simulated: between operators a CPU keeps float32, and hides what is lost."""

from collections.abc import Iterable
from itertools import chain

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from cnnkit.exporting.graphs import WEIGHTED, layer_of, normalisation_nodes
from cnnkit.exporting.results import OutOfRange
from cnnkit.runtime.graphs import constant, tensors

LARGEST = 65504.0
"""The largest finite number of IEEE 754 binary16."""
SMALLEST = 5.96e-8
"""About the smallest one over 0; the converter makes it of all that is smaller."""
_FEW_BITS = 2.0**-17
"""Below it, binary16 has fewer than seven bits of a number."""
_FACTORS = {"Mul", "Div"}
_WIDE, _HALF = "_wide", "_half"


class Rounded:
    """Runs a float16 network with each operator's output rounded to float16, and notes those that do not fit.

    Attributes:
        kept: operators that stay in float32, as "LayerNormalization norm1", normalisation of the input and casts aside.
    """

    def __init__(self, model: onnx.ModelProto, halved: onnx.ModelProto) -> None:
        """Prepare.

        Args:
            model: in float32, with one graph and nothing inside its nodes.
            halved: what `cnnkit.exporting.half.to_half` makes of it.
        """
        self._model = model
        self._weights = _weights_out_of_range(model, halved)
        self._logits = model.graph.output[0].name
        simulated, self._makers, self.kept = _simulated(model, halved)
        self._input = simulated.graph.input[0].name
        self._largest = dict.fromkeys(self._makers, 0.0)
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.add_session_config_entry("session.load_model_format", "ONNX")
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        self._session = ort.InferenceSession(simulated.SerializeToString(), options, providers=["CPUExecutionProvider"])

    def logits(self, images: NDArray[np.generic]) -> NDArray[np.float64]:
        """Return the logits [N, classes] of images as the file takes them, and look at all values on the way."""
        found, *values = self._session.run([self._logits, *self._largest], {self._input: images})
        for name, value in zip(self._largest, values, strict=True):
            self._largest[name] = max(self._largest[name], _largest(value))
        return np.asarray(found, np.float64)

    @property
    def out_of_range(self) -> tuple[OutOfRange, ...]:
        """Weights, and values so far, that float16 cannot hold, in the order of the graph."""
        order = {node.name: place for place, node in enumerate(self._model.graph.node)}
        beyond = [(self._makers[name], largest) for name, largest in self._largest.items() if largest > LARGEST]
        found = [(node, OutOfRange(layer_of(node), node.op_type, "weights", size)) for node, size in self._weights]
        found += [(node, OutOfRange(layer_of(node), node.op_type, "values", size)) for node, size in beyond]
        return tuple(entry for _, entry in sorted(found, key=lambda pair: order.get(pair[0].name, -1)))


def _largest(values: NDArray[np.float32]) -> float:
    """Return the largest magnitude; infinity is the same number in float16, so that it does not count."""
    if not values.size:
        return 0.0
    largest = max(float(values.max()), -float(values.min()))
    if np.isfinite(largest):
        return largest
    return float(np.abs(values[np.isfinite(values)]).max(initial=0.0))


def _weights_out_of_range(model: onnx.ModelProto, halved: onnx.ModelProto) -> list[tuple[onnx.NodeProto, float]]:
    """Return the operators whose float32 weights leave the range of float16, with their largest magnitude."""
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    stored |= {node.output[0]: tensor for node in model.graph.node if (tensor := constant(node)) is not None}
    rounded = {tensor.name for tensor in halved.graph.initializer if tensor.data_type == TensorProto.FLOAT16}
    rounded |= {node.output[0] for node in halved.graph.node if _is_half(constant(node))}
    found = []
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            # Bounds beyond the range bound nothing in float16, and change nothing.
            if name not in stored or name not in rounded or node.op_type == "Clip":
                continue
            values = numpy_helper.to_array(stored[name])
            largest = _largest(values)
            factor = (node.op_type in WEIGHTED and place == 1) or (node.op_type in _FACTORS and values.size == 1)
            if largest > LARGEST or (factor and 0 < largest < _FEW_BITS):
                found.append((node, largest))
    return found


def _is_half(tensor: TensorProto | None) -> bool:
    return tensor is not None and tensor.data_type == TensorProto.FLOAT16


def _simulated(
    model: onnx.ModelProto, halved: onnx.ModelProto
) -> tuple[onnx.ModelProto, dict[str, onnx.NodeProto], tuple[str, ...]]:
    """Return a float32 graph that rounds where `halved` has float16, and gives out each value before it is rounded.

    Besides: the node of `model` that each such value comes from, by its name; and the operators left in float32.
    """
    graph = onnx.shape_inference.infer_shapes(halved).graph
    types = {value.name: value.type.tensor_type.elem_type for value in chain(graph.value_info, graph.output)}
    simulated = onnx.ModelProto()
    simulated.CopyFrom(halved)
    simulated.graph.ClearField("value_info")
    for tensor in filter(_is_half, tensors(simulated)):
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))
    by_output = {name: node for node in model.graph.node for name in node.output}
    by_name = {node.name: node for node in model.graph.node}
    exact = normalisation_nodes(model)
    kept = tuple(
        f"{node.op_type} {layer_of(node)}"
        for node in halved.graph.node
        if node.op_type != "Cast"
        and node.name in by_name.keys() - exact
        and any(types.get(name) == TensorProto.FLOAT for name in node.output)
    )
    makers: dict[str, onnx.NodeProto] = {}
    nodes: list[onnx.NodeProto] = []
    for node in simulated.graph.node:
        for attribute in node.attribute:
            if attribute.name in {"to", "dtype"} and attribute.i == TensorProto.FLOAT16:
                attribute.i = TensorProto.FLOAT
        nodes.append(node)
        for place, name in enumerate(node.output):
            if types.get(name) == TensorProto.FLOAT16:
                node.output[place] = name + _WIDE
                makers[name + _WIDE] = by_output.get(name) or by_name.get(node.name, node)
                nodes += _rounding(name)
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]  # the next line empties `nodes`
    del simulated.graph.node[:]
    simulated.graph.node.extend(copies)
    simulated.graph.output.extend(onnx.ValueInfoProto(name=name) for name in makers)
    return simulated, makers, kept


def _rounding(name: str) -> Iterable[onnx.NodeProto]:
    yield helper.make_node("Cast", [name + _WIDE], [name + _HALF], to=TensorProto.FLOAT16)
    yield helper.make_node("Cast", [name + _HALF], [name], to=TensorProto.FLOAT)

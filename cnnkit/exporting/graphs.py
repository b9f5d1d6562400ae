"""Looking into ONNX graphs that `cnnkit.exporting.onnx` made: their layers, and the values between them."""

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from cnnkit.runtime.graphs import NETWORK, NORMALISATION, layer_name

WEIGHTED = {"Conv", "Gemm", "MatMul"}


def normalisation_nodes(model: onnx.ModelProto) -> set[str]:
    """Return the names of the nodes that normalise the input."""
    return {node.name for node in model.graph.node if any(name.startswith(NORMALISATION) for name in node.input)}


def closing_nodes(model: onnx.ModelProto) -> set[str]:
    """Return the names of the nodes between the last layers with weights and the outputs."""
    makers = {name: node for node in model.graph.node for name in node.output}
    open_ends = [output.name for output in model.graph.output]
    found = set()
    while open_ends:
        node = makers.get(open_ends.pop())
        if node is not None and node.op_type not in WEIGHTED and node.name not in found:
            found.add(node.name)
            open_ends += node.input
    return found


def layer_of(node: onnx.NodeProto) -> str:
    """Return the name of the layer that a node has its weights from, or of the node."""
    weights = [name for name in node.input[1:2] if name.startswith(NETWORK)]
    return layer_name(weights[0]).removesuffix(".weight") if weights else node.name


def values(
    model: onnx.ModelProto, names: set[str], inputs: dict[str, NDArray[np.generic]]
) -> dict[str, NDArray[np.generic]]:
    """Run a graph on the CPU as it is written, without optimisation, and return tensors inside it by name."""
    if not names:
        return {}
    exposed = onnx.ModelProto()
    exposed.CopyFrom(model)
    known = {output.name for output in exposed.graph.output}
    exposed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in sorted(names - known))
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry("session.load_model_format", "ONNX")
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(exposed.SerializeToString(), options, providers=["CPUExecutionProvider"])
    wanted = sorted(names)
    return dict(zip(wanted, session.run(wanted, inputs), strict=True))

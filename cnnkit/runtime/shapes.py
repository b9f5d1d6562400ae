"""Shapes of all that an ONNX graph computes, for inputs of a given size: onnxruntime finds them as it opens it.

It follows shapes that the graph computes, of which onnx's own inference loses some; but it is native code, and computes
what is constant: only a file that a trial opened so may be looked at here (see `cnnkit.runtime.guard`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import onnxruntime as ort

if TYPE_CHECKING:
    from onnx import ModelProto

Shape = tuple[int, ...]

_SMALL = 4096
"""Elements of a constant that may be a shape or take part in computing one; larger ones are left out."""


@dataclass(frozen=True)
class Inferred:
    """What is known of a graph before it runs.

    Attributes:
        shapes: of tensors by name; absent where nobody can tell.
        failure: why onnxruntime does not open the graph, as where sizes do not fit each other; empty where it does.
    """

    shapes: dict[str, Shape]
    failure: str = ""


def infer(model: "ModelProto", sizes: Mapping[str, Shape]) -> Inferred:
    """Infer the shapes of everything that the graph computes for inputs of these sizes.

    Args:
        model: without local functions.
        sizes: the shape of each input by name.
    """
    from onnx import ModelProto
    from onnx.helper import make_tensor_value_info

    bare = ModelProto(ir_version=max(model.ir_version, 4), opset_import=model.opset_import)
    graph = bare.graph
    graph.name = "shapes"
    graph.node.extend(model.graph.node)
    graph.sparse_initializer.extend(model.graph.sparse_initializer)
    shapes = dict(sizes)
    for tensor in model.graph.initializer:
        shapes[tensor.name] = tuple(tensor.dims)
        if prod(tensor.dims) <= _SMALL:
            graph.initializer.append(tensor)
        else:
            graph.input.append(make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    for value in model.graph.input:
        if value.name in sizes:
            kind = value.type.tensor_type.elem_type
            graph.input.append(make_tensor_value_info(value.name, kind, sizes[value.name]))
    for name in dict.fromkeys(name for node in graph.node for name in node.output if name):
        graph.output.add(name=name)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC  # computes what is constant
    options.add_session_config_entry("optimization.constant_folding_max_output_size_in_bytes", str(8 * _SMALL))
    options.add_session_config_entry("session.load_model_format", "ONNX")
    try:
        session = ort.InferenceSession(bare.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises its own types
        return Inferred(shapes, " ".join(str(error).split())[:200])
    found = {each.name: tuple(each.shape) for each in session.get_outputs()}
    known = {name: shape for name, shape in found.items() if all(isinstance(size, int) for size in shape)}
    return Inferred(shapes | known)

"""Sixteen-bit floating point by onnxruntime's own converter."""

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.transformers.onnx_model import OnnxModel

from cnnkit.exporting.graphs import WEIGHTED, layer_of, normalisation_nodes, values

LARGEST = 65504.0
"""The largest finite number of IEEE 754 binary16."""


def to_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a network in float16, all but its normalisation, its softmax, its input and its outputs.

    Args:
        model: in float32, as `cnnkit.exporting.onnx` makes it; it is left as it is.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    # Types that are noted for constants would be converted although the constants themselves stay in float32.
    copy.graph.ClearField("value_info")
    kept = {node.name for node in copy.graph.node if node.op_type in {"Cast", "Softmax"}} | normalisation_nodes(copy)
    converter = OnnxModel(copy)
    converter.convert_float_to_float16(use_symbolic_shape_infer=False, keep_io_types=True, node_block_list=sorted(kept))
    converter.topological_sort()
    halved: onnx.ModelProto = converter.model
    halved.graph.ClearField("value_info")
    return halved


def first_overflow(model: onnx.ModelProto, images: NDArray[Any]) -> str | None:
    """Return the first layer of a float32 network whose values float16 cannot hold, or None.

    Args:
        model: in float32.
        images: as the file takes them.
    """
    layers = [node for node in model.graph.node if node.op_type in WEIGHTED]
    found = values(model, {node.output[0] for node in layers}, {model.graph.input[0].name: images})
    for node in layers:
        if np.abs(found[node.output[0]]).max() > LARGEST:
            return layer_of(node)
    return None

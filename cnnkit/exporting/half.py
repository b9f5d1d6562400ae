"""Sixteen-bit floating point by onnxruntime's own converter."""

import contextlib
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from onnxruntime.transformers.onnx_model import OnnxModel

from cnnkit.exporting.graphs import normalisation_nodes
from cnnkit.exporting.rounding import LARGEST, SMALLEST
from cnnkit.runtime.graphs import attribute, inside

_SUMMING = {
    "AveragePool", "CumSum", "GlobalAveragePool", "GlobalLpPool", "GroupNormalization",
    "InstanceNormalization", "LRN", "LayerNormalization", "LogSoftmax", "LpNormalization", "LpPool",
    "MeanVarianceNormalization", "RMSNormalization", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp",
    "ReduceMean", "ReduceProd", "ReduceSum", "ReduceSumSquare", "Softmax",
}  # fmt: skip
"""Operators with sums, squares or exponentials inside, which overflow where their inputs and outputs do not.

Float32 is theirs in PyTorch's autocast too. Convolutions and matrix products are summed in float32 by onnxruntime.
"""


def to_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a network in float16, all but its normalisation, the operators that sum, its input and its outputs.

    Args:
        model: in float32, as `cnnkit.exporting.onnx` makes it; it is left as it is.

    Raises:
        ValueError: it has graphs inside its nodes or functions, whose values cannot be checked.
    """
    if model.functions or len(list(inside(model.graph))) > 1:
        branching = next((n for n in model.graph.node if any(a.HasField("g") or a.graphs for a in n.attribute)), None)
        what = f"{branching.op_type} {branching.name}" if branching else f"function {model.functions[0].name}"
        raise ValueError(f"{what} has a graph of its own, whose values cannot be checked for the range of float16")
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    # Types that are noted for constants would be converted although the constants themselves stay in float32.
    copy.graph.ClearField("value_info")
    kept = {node.name for node in copy.graph.node if node.op_type == "Cast"} | normalisation_nodes(copy)
    stored = {tensor.name: tensor for tensor in copy.graph.initializer}
    kept |= {node.name for node in copy.graph.node if node.op_type in _SUMMING or _is_lost(node, stored)}
    with contextlib.redirect_stdout(io.StringIO()):  # it prints what it cannot infer
        converter = OnnxModel(copy)
        converter.convert_float_to_float16(
            use_symbolic_shape_infer=False, keep_io_types=True, node_block_list=sorted(kept)
        )
        # Of a value that goes into several operators in float32 it makes the same cast several times.
        distinct = {tuple(node.output): node for node in converter.model.graph.node}.values()
        kept_once = [onnx.NodeProto.FromString(node.SerializeToString()) for node in distinct]
        del converter.model.graph.node[:]
        converter.model.graph.node.extend(kept_once)
        converter.topological_sort()
    halved: onnx.ModelProto = converter.model
    halved.graph.ClearField("value_info")
    return halved


def _is_lost(node: onnx.NodeProto, stored: Mapping[str, onnx.TensorProto]) -> bool:
    """Tell whether a batch normalisation is another one with its statistics in float16, as with tiny variances."""
    if node.op_type != "BatchNormalization":
        return False
    if not all(name in stored for name in node.input[1:5]):
        return True
    exact = [numpy_helper.to_array(stored[name]) for name in node.input[1:5]]

    def line(values: list[NDArray[np.floating]]) -> NDArray[np.float64]:
        scale, shift, mean, variance = (value.astype(np.float64) for value in values)
        factor = scale / np.sqrt(variance + attribute(node, "epsilon", 1e-5))
        return np.stack([factor, shift - mean * factor])

    with np.errstate(all="ignore"):
        wanted, found = line(exact), line([_halved(value) for value in exact])
    # Seven bits, and channels that matter little among the others matter little here.
    near = np.abs(found - wanted) <= 2.0**-7 * np.abs(wanted) + 2.0**-11 * np.abs(wanted).max(1, keepdims=True)
    return not near.all()


def _halved(values: NDArray[Any]) -> NDArray[np.float16]:
    """Round as the converter does, which makes the smallest number of what would vanish."""
    vanishing = (values != 0) & (np.abs(values) < SMALLEST)
    return np.clip(np.where(vanishing, np.copysign(SMALLEST, values), values), -LARGEST, LARGEST).astype(np.float16)

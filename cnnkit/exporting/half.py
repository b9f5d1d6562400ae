"""Sixteen-bit floating point by onnxruntime's own converter."""

import contextlib
import io
from typing import Any

import onnx
from numpy.typing import NDArray
from onnxruntime.transformers.onnx_model import OnnxModel

from cnnkit.exporting.graphs import normalisation_nodes
from cnnkit.exporting.rounding import Rounded
from cnnkit.runtime.graphs import inside

_SUMMING = {
    "AveragePool", "BatchNormalization", "CumSum", "GlobalAveragePool", "GlobalLpPool", "GroupNormalization",
    "InstanceNormalization", "LRN", "LayerNormalization", "LogSoftmax", "LpNormalization", "LpPool",
    "MeanVarianceNormalization", "RMSNormalization", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp",
    "ReduceMean", "ReduceProd", "ReduceSum", "ReduceSumSquare", "Softmax", "TopK",
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
    kept |= {node.name for node in copy.graph.node if node.op_type in _SUMMING}
    with contextlib.redirect_stdout(io.StringIO()):  # it prints what it cannot infer
        converter = OnnxModel(copy)
        converter.convert_float_to_float16(
            use_symbolic_shape_infer=False, keep_io_types=True, node_block_list=sorted(kept)
        )
        converter.topological_sort()
    halved: onnx.ModelProto = converter.model
    halved.graph.ClearField("value_info")
    return halved


def first_overflow(model: onnx.ModelProto, images: NDArray[Any]) -> str | None:
    """Return the first layer or operator of a float32 network that float16 cannot hold, or None.

    Args:
        model: in float32.
        images: as the file takes them.
    """
    rounded = Rounded(model, to_half(model))
    rounded.logits(images)
    return rounded.out_of_range[0].layer if rounded.out_of_range else None

"""Eight-bit integers by onnxruntime's own static quantisation, and which layers lose most by it."""

import contextlib
import io
import platform
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx.utils import Extractor
from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.qdq_loss_debug import compute_signal_to_quantization_noice_ratio
from onnxruntime.quantization.shape_inference import quant_pre_process

from cnnkit.exporting.graphs import WEIGHTED, closing_nodes, layer_of, normalisation_nodes, values
from cnnkit.exporting.results import LayerError

# What stands between two of them runs on integers too. Sigmoid and softmax stay in float32: their integer forms are
# no faster and cost accuracy.
_OPERATORS = (
    "Conv", "Gemm", "MatMul", "MaxPool", "AveragePool", "GlobalAveragePool", "Relu", "Clip", "Add", "Concat",
    "Reshape", "Flatten",
)  # fmt: skip


class _Batches:
    """The reader that onnxruntime takes calibration images from, some batches at a time."""

    def __init__(self, name: str, batches: Sequence[NDArray[Any]]) -> None:
        self._name, self._batches = name, batches
        self._remaining: Iterator[NDArray[Any]] = iter(batches)

    def __len__(self) -> int:
        return len(self._batches)

    def set_range(self, start_index: int, end_index: int) -> None:
        self._remaining = iter(self._batches[start_index:end_index])

    def get_next(self) -> dict[str, NDArray[np.generic]] | None:
        batch = next(self._remaining, None)
        return None if batch is None else {self._name: batch}


def quantise(
    model: onnx.ModelProto, batches: Sequence[NDArray[np.generic]]
) -> tuple[onnx.ModelProto, tuple[LayerError, ...]]:
    """Quantise the weights and values of a network to eight bits, all but its normalisation and its outputs.

    Weights are signed, with a scale for each channel; values are unsigned, in the range that all but 0.001% of those of
    the calibration images fall in.

    Args:
        model: in float32, as `cnnkit.exporting.onnx` makes it.
        batches: calibration images as the file takes them; the errors of the layers are measured on the first batch.

    Returns:
        The quantised model, as QuantizeLinear and DequantizeLinear around operators in float32 (QDQ), and its layers,
        those with the largest errors of their own first.
    """
    with tempfile.TemporaryDirectory() as scratch, contextlib.redirect_stdout(io.StringIO()):
        prepared_file, quantised_file = Path(scratch) / "prepared.onnx", Path(scratch) / "quantised.onnx"
        quant_pre_process(model, prepared_file)
        prepared = onnx.load(prepared_file)
        quantize_static(
            prepared_file,
            quantised_file,
            _Batches(model.graph.input[0].name, batches),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(_OPERATORS),
            nodes_to_exclude=sorted(normalisation_nodes(prepared) | closing_nodes(prepared)),
            per_channel=True,
            reduce_range=not has_exact_products(),
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            # Entropy, in onnxruntime, has as many bins as levels and finds what min-max finds.
            calibrate_method=CalibrationMethod.Percentile,
            extra_options={
                # Logits in 256 steps would tie, and values between dense layers cost nothing in float32.
                "OpTypesToExcludeOutputQuantization": ["Gemm", "MatMul"],
                # The values of all calibration images at once may not fit into memory.
                "CalibStridedMinMax": 1,
            },
        )
        quantised = onnx.load(quantised_file)
    errors = _layer_errors(prepared, quantised, batches[0])
    # The preparation imports the operator sets of every provider, and leaves notes.
    used = {node.domain for node in quantised.graph.node}
    imports = [imported for imported in quantised.opset_import if imported.domain in used]
    quantised.ClearField("opset_import")
    quantised.opset_import.extend(imports)
    quantised.ClearField("metadata_props")
    return quantised, errors


def has_exact_products() -> bool:
    """Whether this processor adds products of eight-bit numbers without overflow.

    On x86 without VNNI they are added in sixteen bits, which overflow unless the weights have seven.
    """
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    x86 = platform.machine().lower() in {"x86_64", "amd64"}
    return not x86 or bool(capabilities.get("avx512_vnni") or capabilities.get("avx_vnni"))


def _layer_errors(
    prepared: onnx.ModelProto, quantised: onnx.ModelProto, images: NDArray[Any]
) -> tuple[LayerError, ...]:
    """Compare the outputs of the layers in both graphs; what is rounded to eight bits counts as it is then."""
    makers = {name: node for node in quantised.graph.node for name in node.output}
    takers = {name: node for node in quantised.graph.node for name in node.input}
    nodes = {node.name: node for node in quantised.graph.node}
    weights = {weight.name for weight in prepared.graph.initializer}
    layers = [node for node in prepared.graph.node if node.op_type in WEIGHTED and node.input[1] in weights]
    known = {name for node in prepared.graph.node for name in node.output}
    sources, exact_names, found_names = {}, {}, {}
    for layer in layers:
        node = nodes[layer.name]
        # From the input back over DequantizeLinear and QuantizeLinear, and from the output on over the same.
        sources[layer.name] = makers[makers[node.input[0]].input[0]].input[0]
        output = found = node.output[0]
        if output in takers and takers[output].op_type == "QuantizeLinear":
            found = takers[takers[output].output[0]].output[0]
        # A ReLU is part of the rounding, and its name is then that of the layer's output.
        exact_names[layer.name] = output if output in known else layer.output[0]
        found_names[layer.name] = found
    given = {prepared.graph.input[0].name: images}
    exact = values(prepared, {*sources.values(), *exact_names.values()}, given)
    together = values(quantised, set(found_names.values()), given)
    parts = Extractor(onnx.shape_inference.infer_shapes(quantised))
    errors = []
    for layer in layers:
        source, found = sources[layer.name], found_names[layer.name]
        alone = values(parts.extract_model([source], [found]), {found}, {source: exact[source]})
        expected = exact[exact_names[layer.name]]
        errors.append(
            LayerError(
                name=layer_of(layer),
                operator=layer.op_type,
                alone_snr_db=compute_signal_to_quantization_noice_ratio(expected, alone[found]),
                together_snr_db=compute_signal_to_quantization_noice_ratio(expected, together[found]),
            )
        )
    return tuple(sorted(errors, key=lambda error: error.alone_snr_db))

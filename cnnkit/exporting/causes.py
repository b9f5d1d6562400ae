"""Why a layer of an ONNX file gives something else than its PyTorch layer."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto
from torch import nn

from cnnkit.exporting.divergence import OPERATORS, Parting, operators_of
from cnnkit.exporting.results import Cause
from cnnkit.exporting.values import Array, Graph
from cnnkit.images import Preprocessing
from cnnkit.pictures import Pixels
from cnnkit.runtime.graphs import layer_name
from cnnkit.words import counted

_EIGHT_BITS = "8-bit integers"
_QUANTISED = {"QuantizeLinear", "DequantizeLinear", "QLinearConv", "ConvInteger", "MatMulInteger", "QLinearMatMul"}


def explain(parting: Parting, graph: Graph, pixels: Pixels, form: Preprocessing) -> tuple[Cause, str]:
    """Name the likely cause of a difference, and say what is known of it with both sides.

    Args:
        parting: where the two part.
        graph: of the file.
        pixels: uint8 [N, H, W, C] that both were given.
        form: preprocessing of the PyTorch network.
    """
    low = _low_precision(graph)
    rounding = 2e-2 if low == _EIGHT_BITS else 2e-3 if low else 1e-5
    if parting.call.name == "normalise" and (text := _preprocessing(parting.value, pixels, form, rounding)):
        return "preprocessing", text
    module, node = parting.call.module, parting.node
    expected = operators_of(module)
    if expected and node.op_type not in expected and any(node.op_type in others for others in OPERATORS.values()):
        return "operator", f"the file computes {node.op_type} where PyTorch has {type(module).__name__}."
    if differing := list(_attributes(module, node)):
        return "attribute", f"{'; '.join(differing)}."
    if wrong := list(_weights(parting, graph)):
        return "weight", f"{'; '.join(wrong)}."
    if low:
        return "precision", f"the file computes with {low}, PyTorch with float32."
    if parting.before and not parting.same_input:
        names = ", ".join(f"{other.op_type} {other.name}".strip() for other in parting.before[:5])
        return "graph", f"what goes into it differs already: {names} belong to no layer of the network."
    if parting.call.name == "logits":
        return "graph", f"every layer agrees, but not what {node.op_type} {node.name} makes of them in the end."
    return "exporter", "what goes in agrees, and so do weights and attributes; what comes out does not."


def _preprocessing(value: Array | None, pixels: Pixels, form: Preprocessing, tolerance: float) -> str:
    """Compare the mean and deviation, found from what the file makes of pixels, with those of the network.

    Returns:
        What differs; nothing where they are the same within the tolerance.
    """
    both = f"the network expects mean {_numbers(form.mean)} and deviation {_numbers(form.std)}"
    planes = pixels.transpose(0, 3, 1, 2).astype(np.float64) / 255
    if value is None or value.shape != planes.shape:
        return f"{both}; the file gives values of another shape."
    for order, what in ((slice(None), ""), (slice(None, None, -1), ", and its channels are in the opposite order")):
        pairs = zip(planes[:, order].swapaxes(0, 1), value.swapaxes(0, 1), strict=True)
        fitted = [_line(x, y, max(tolerance, 1e-3)) for x, y in pairs]
        found = [line for line in fitted if line is not None]
        if len(found) == len(fitted):
            mean, deviation = ([line[part] for line in found] for part in (0, 1))
            if not what and np.allclose([*mean, *deviation], [*form.mean, *form.std], rtol=0, atol=tolerance):
                return ""
            return f"{both}; the file applies {_numbers(mean)} and {_numbers(deviation)}{what}."
    return f"{both}; what the file does to the pixels is no normalisation of them."


def _line(pixels: Array, values: Array, tolerance: float) -> tuple[float, float] | None:
    """Return the mean and deviation that turn pixels into values, None where none do."""
    x, y = pixels.ravel(), values.astype(np.float64).ravel()
    if np.ptp(x) == 0 or not np.isfinite(y).all():
        return None
    slope, start = np.polyfit(x, y, 1)
    if abs(slope) < 1e-9 or np.abs(slope * x + start - y).max() > tolerance * max(1.0, float(np.abs(y).max())):
        return None
    return float(-start / slope), float(1 / slope)


def _attributes(module: nn.Module, node: onnx.NodeProto) -> Iterator[str]:
    """Say which attributes of a node are not those of its layer."""
    given = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
    for name, (expected, default) in _expected_attributes(module).items():
        if name == "pads" and given.get("auto_pad", b"NOTSET") != b"NOTSET":
            continue
        found = np.asarray(given.get(name, default))
        if found.shape != np.shape(expected) or not np.allclose(found, expected, rtol=1e-5, atol=0):
            yield f"{name} {_shown(found)} in the file, {_shown(np.asarray(expected))} in PyTorch"


def _expected_attributes(module: nn.Module) -> dict[str, tuple[Any, Any]]:
    """Return what ONNX should say of a layer, by name, with the defaults of ONNX."""
    match module:
        case nn.Conv2d():
            expected: dict[str, tuple[Any, Any]] = {
                "kernel_shape": (_pair(module.kernel_size), _pair(module.kernel_size)),
                "strides": (_pair(module.stride), [1, 1]),
                "dilations": (_pair(module.dilation), [1, 1]),
                "group": (module.groups, 1),
            }
            if module.padding_mode == "zeros" and not isinstance(module.padding, str):
                expected["pads"] = (_pair(module.padding) * 2, [0] * 4)
            return expected
        case nn.MaxPool2d() | nn.AvgPool2d():
            size, stride = _pair(module.kernel_size), _pair(module.stride or module.kernel_size)
            own: dict[str, tuple[Any, Any]] = (
                {"dilations": (_pair(module.dilation), [1, 1])}
                if isinstance(module, nn.MaxPool2d)
                else {"count_include_pad": (int(module.count_include_pad), 0)}
            )
            return own | {
                "kernel_shape": (size, size),
                "strides": (stride, [1, 1]),
                "pads": (_pair(module.padding) * 2, [0] * 4),
                "ceil_mode": (int(module.ceil_mode), 0),
            }
        case nn.BatchNorm2d():
            return {"epsilon": (module.eps, 1e-5)}
        case nn.LeakyReLU():
            return {"alpha": (module.negative_slope, 0.01)}
        case nn.ELU():
            return {"alpha": (module.alpha, 1.0)}
    return {}


def _pair(value: Any) -> list[int]:
    return [value, value] if isinstance(value, int) else list(value)


@dataclass(frozen=True)
class _Weight:
    """A tensor of a layer: its name in the network, and what the file should have in its place."""

    name: str
    expected: Array
    folded: bool = False


def _weights(parting: Parting, graph: Graph) -> Iterator[str]:
    """Say which weights of a node are not those of its layer, and how far off."""
    if parting.node.op_type not in operators_of(parting.call.module):
        return
    expected = _expected_weights(parting)
    inputs = list(parting.node.input[1:])
    if parting.node.op_type == "MatMul":
        sums = (n for n in graph.nodes if n.op_type == "Add" and parting.node.output[0] in n.input)
        inputs += [name for n in sums for name in n.input if name in graph.constants][:1]
    for weight, name in zip(expected, inputs, strict=False):
        found = graph.constant(name)
        if found is None or not np.issubdtype(found.dtype, np.floating):
            continue
        text = _compare_weight(weight, found.astype(np.float64), float(np.finfo(found.dtype).eps))
        if text:
            yield text
    if parting.node.op_type == "Conv" and len(expected) > len(inputs) and np.abs(expected[1].expected).max() > 0:
        yield f"{expected[1].name} is not in the file"


def _expected_weights(parting: Parting) -> list[_Weight]:
    module, name = parting.call.module, layer_name(parting.call.name)
    tensors = {key: tensor.detach().double().cpu().numpy() for key, tensor in module.state_dict().items()}
    if isinstance(module, nn.BatchNorm2d):
        ones = {"weight": np.ones(module.num_features), "bias": np.zeros(module.num_features)}
        keys = ("weight", "bias", "running_mean", "running_var")
        return [_Weight(f"{name}.{key}", {**ones, **tensors}[key]) for key in keys if key in {**ones, **tensors}]
    if not isinstance(module, nn.Conv2d | nn.Linear):
        return []
    weight, bias = tensors["weight"], tensors.get("bias")
    for call in parting.folded:
        norm = {key: tensor.detach().double().cpu().numpy() for key, tensor in call.module.state_dict().items()}
        scale = norm.get("weight", 1.0) / np.sqrt(norm["running_var"] + getattr(call.module, "eps", 0.0))
        weight = weight * scale.reshape(-1, *[1] * (weight.ndim - 1))
        bias = ((0.0 if bias is None else bias) - norm["running_mean"]) * scale + norm.get("bias", 0.0)
    given = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in parting.node.attribute}
    if isinstance(module, nn.Linear) and not given.get("transB", 0):
        weight = weight.T
    into = f" (with {', '.join(layer_name(call.name) for call in parting.folded)} folded in)" if parting.folded else ""
    folded = bool(parting.folded)
    biases = [] if bias is None else [_Weight(f"{name}.bias{into}", bias, folded)]
    return [_Weight(f"{name}.weight{into}", weight, folded), *biases]


def _compare_weight(weight: _Weight, found: Array, eps: float) -> str:
    expected = weight.expected
    if found.shape != expected.shape:
        return f"{weight.name} has shape {list(found.shape)} in the file, {list(expected.shape)} in PyTorch"
    with np.errstate(invalid="ignore"):
        off = np.abs(found - expected)
    off = np.where(np.isfinite(off), off, np.inf)
    # Rounding to the file's own type is no fault of a weight; folding rounds more than once.
    allowed = (32 if weight.folded else 1) * eps * np.maximum(np.abs(expected), np.abs(expected).max() * 1e-2)
    wrong = int((off > allowed).sum())
    if not wrong:
        return ""
    worst = np.unravel_index(int(off.argmax()), off.shape)
    place = ", ".join(map(str, worst))
    return (
        f"{weight.name} differs in {wrong:,} of {counted(off.size, 'value')}, most at [{place}]: {found[worst]:.6g} "
        f"in the file, {expected[worst]:.6g} in PyTorch"
    )


def _low_precision(graph: Graph) -> str:
    """Name the low precision that a file computes in, if it does."""
    if any(node.op_type in _QUANTISED for node in graph.nodes):
        return _EIGHT_BITS
    kinds = {tensor.data_type for tensor in graph.constants.values()}
    names = {TensorProto.FLOAT16: "float16", TensorProto.BFLOAT16: "bfloat16"}
    return " and ".join(name for kind, name in names.items() if kind in kinds)


def _numbers(values: Sequence[float]) -> str:
    return "(" + ", ".join(f"{value:.4g}" for value in values) + ")"


def _shown(value: Array) -> str:
    return "×".join(map(str, value)) if value.ndim else f"{value:g}"

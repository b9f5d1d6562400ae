"""Feature maps: what the first layers of an ONNX graph make of an image, as small pictures."""

import io
from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cnnkit.errors import OnnxError
from cnnkit.pictures import Pixels
from cnnkit.runtime import graphs, guard, shapes
from cnnkit.runtime.classifier import OnnxNetwork
from cnnkit.runtime.session import Session, open_session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onnx import ModelProto, NodeProto

MAX_LAYERS = 4
MAX_CHANNELS = 64
"""Maps shown of one layer."""
MAX_SIDE = 64
"""Height and width of a map as it is shown, in pixels; larger ones are averaged down."""
MAX_COLUMNS = 8

_LAYERS = {"Conv", "ConvInteger", "QLinearConv", "MaxPool", "AveragePool", "LpPool"}
# What belongs to the layer before it, where nothing else takes that layer's result: normalisation, activation, and the
# steps between types.
_BELONGS = {
    "BatchNormalization", "InstanceNormalization", "GroupNormalization",
    "Relu", "LeakyRelu", "PRelu", "ThresholdedRelu", "Clip", "Elu", "Selu", "Celu", "Gelu", "Mish", "Swish",
    "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Softplus", "Softsign",
    "Identity", "Dropout", "Cast", "QuantizeLinear", "DequantizeLinear",
}  # fmt: skip
# The same where the other operand is stored in the file: a bias, a scale.
_BELONGS_WITH_CONSTANT = {"Add", "Sub", "Mul", "Div"}
_GAP = 64
"""Grey between the tiles of a sheet."""


@dataclass(frozen=True)
class FeatureMap:
    """What one layer makes of an image.

    Attributes:
        layer: its name in the network that was exported, or its operator and number.
        operator: ONNX's name of it, such as `Conv`.
        channels: maps on the sheet: those of the layer, `MAX_CHANNELS` at most.
        height: of one map on the sheet, in pixels.
        width: of one map on the sheet, in pixels.
        columns: maps in a row of the sheet.
        png: a grey sheet of all maps, row by row, one pixel between them; each map is scaled to 0–255 by itself, and
            black where it is constant.
    """

    layer: str
    operator: str
    channels: int
    height: int
    width: int
    columns: int
    png: bytes


@dataclass(frozen=True)
class Layer:
    """A layer by its name and operator, and the name of the tensor that it gives."""

    name: str
    operator: str
    result: str


class FeatureMaps:
    """The first convolutions and poolings of a network, run by themselves on the CPU.

    The graph up to the last of them is a session of its own, so that nobody else's predictions wait for their results
    to be copied, and the weights of the rest are not held twice.

    Attributes:
        layers: that are run.
    """

    def __init__(self, session: Session, network: OnnxNetwork, layers: "tuple[Layer, ...]") -> None:
        self.layers = layers
        self._session = session
        self._network = network

    def maps(self, pixels: Pixels) -> tuple[FeatureMap, ...]:
        """Return what each layer makes of an image, in the order of the graph.

        Args:
            pixels: uint8 [1, H, W, C], as the network takes it.

        Raises:
            OnnxError: the layers do not run.
        """
        return tuple(_sheet(layer, values) for layer, values in zip(self.layers, self.values(pixels), strict=True))

    def values(self, pixels: Pixels) -> list[NDArray[np.float32]]:
        """Return the results of the layers, each float32 [channels, height, width].

        Args:
            pixels: uint8 [1, H, W, C], as the network takes it.

        Raises:
            OnnxError: the layers do not run.
        """
        batch = np.repeat(pixels, self._network.batch or 1, axis=0)
        try:
            results = self._session.run([layer.result for layer in self.layers], self._network.feed(batch))
        except Exception as error:  # onnxruntime raises its own types
            reason = " ".join(str(error).split())[:300]
            raise OnnxError(f"the first layers of {self._network.card.model} failed: {reason}") from error
        return [result[0].astype(np.float32) for result in results]


def open_features(model: Path | bytes, network: OnnxNetwork, name: str) -> FeatureMaps | None:
    """Open the first layers of an ONNX file that passed the checks of `cnnkit.runtime.guard`.

    A layer is a convolution or a pooling that gives maps of more than one pixel, with the normalisation and the
    activation after it; the first `MAX_LAYERS` of them are taken.

    Args:
        model: the file, or its content.
        network: opened from it.
        name: what to call it in errors.

    Returns:
        None where there is no such layer.

    Raises:
        OnnxError: the layers cannot be run by themselves.
    """
    import onnx

    content = guard.check(model, name).source if isinstance(model, Path) else model
    whole = onnx.load_model_from_string(content)
    given = graphs.real_inputs(whole.graph)
    if len(given) != 1:
        return None
    one = np.zeros((network.batch or 1, *network.card.preprocessing.shape), np.uint8)
    sizes = shapes.infer(whole, {key: value.shape for key, value in network.feed(one).items()}).shapes
    layers = tuple(islice(_find_layers(whole, sizes), MAX_LAYERS))
    if not layers:
        return None
    content = _cut(whole, [layer.result for layer in layers]).SerializeToString()
    return FeatureMaps(open_session(content, name, device="cpu", threads=1), network, layers)


def _find_layers(model: "ModelProto", sizes: dict[str, shapes.Shape]) -> "Iterator[Layer]":
    takers: defaultdict[str, list[NodeProto]] = defaultdict(list)
    makers: dict[str, NodeProto] = {}
    for node in model.graph.node:
        makers.update(dict.fromkeys(node.output, node))
        for value in filter(None, node.input):
            takers[value].append(node)
    stored = {tensor.name for tensor in model.graph.initializer}
    stored |= {node.output[0] for node in model.graph.node if node.op_type == "Constant"}
    numbers: Counter[str] = Counter()
    for node in model.graph.node:
        size = sizes.get(node.output[0], ())
        if node.op_type in _LAYERS and len(size) == 4 and min(size[2:]) > 1:
            numbers[node.op_type] += 1
            name = _module(node, makers) or f"{node.op_type} {numbers[node.op_type]}"
            yield Layer(name, node.op_type, _result(node, takers, stored))


def _result(node: "NodeProto", takers: "defaultdict[str, list[NodeProto]]", stored: set[str]) -> str:
    """Return the name of what a layer gives once all that belongs to it is done."""
    value: str = node.output[0]
    while True:
        following = takers[value]
        kinds = sorted(taker.op_type for taker in following)
        if len(following) == 1 and (
            kinds[0] in _BELONGS or (kinds[0] in _BELONGS_WITH_CONSTANT and {*following[0].input} - {value} <= stored)
        ):
            value = following[0].output[0]
        elif kinds == ["Mul", "Sigmoid"] and _is_swish(following, value):
            value = next(taker for taker in following if taker.op_type == "Mul").output[0]
        else:
            return value


def _is_swish(following: "list[NodeProto]", value: str) -> bool:
    gate, product = sorted(following, key=lambda taker: taker.op_type == "Mul")
    return {*product.input} == {value, gate.output[0]}


def _module(node: "NodeProto", makers: "dict[str, NodeProto]") -> str:
    """Return the name of the module of PyTorch that a node comes from, as far as the file tells, or nothing."""
    weight = node.input[1] if len(node.input) > 1 else ""
    if weight in makers and makers[weight].op_type == "DequantizeLinear":
        weight = makers[weight].input[0]
    name, dot, _ = weight.partition(".weight")
    if not dot:
        # Notes of the exporter in use, and node names such as `/features/conv1/Conv` of the one before it.
        name = outer = ""
        for module in graphs.scopes(node) or node.name.removeprefix("/").split("/")[:-1]:
            name += module.removeprefix(outer) if module.startswith(f"{outer}.") else f".{module}"
            outer = module
        name = name.removeprefix(".")
    return "" if name == "network" else name.removeprefix("network.")


def _cut(model: "ModelProto", results: list[str]) -> "ModelProto":
    """Return the part of a model that its results of these names come from."""
    from onnx import ModelProto, ValueInfoProto

    makers = {value: index for index, node in enumerate(model.graph.node) for value in node.output if value}
    kept, names, waiting = set[int](), set[str](), list(results)
    while waiting:
        value = waiting.pop()
        names.add(value)
        index = makers.get(value)
        if index is not None and index not in kept:
            kept.add(index)
            inner = [attribute.g for attribute in model.graph.node[index].attribute if attribute.HasField("g")]
            nodes = [inside for block in inner for body in graphs.inside(block) for inside in body.node]
            waiting += {taken for one in (model.graph.node[index], *nodes) for taken in one.input}
    part = ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    part.graph.name = model.graph.name
    part.graph.input.extend(value for value in model.graph.input if value.name in names)
    part.graph.node.extend(model.graph.node[index] for index in sorted(kept))
    part.graph.initializer.extend(tensor for tensor in model.graph.initializer if tensor.name in names)
    part.graph.sparse_initializer.extend(
        tensor for tensor in model.graph.sparse_initializer if tensor.values.name in names
    )
    part.graph.output.extend(ValueInfoProto(name=result) for result in results)
    return part


def _sheet(layer: Layer, values: NDArray[np.float32]) -> FeatureMap:
    shown = values[:MAX_CHANNELS]
    factor = -(-max(shown.shape[1:]) // MAX_SIDE)
    if factor > 1:
        shown = np.stack([np.asarray(Image.fromarray(one).reduce(factor)) for one in shown])
    channels, height, width = shown.shape
    columns = min(channels, MAX_COLUMNS)
    rows = -(-channels // columns)
    sheet = np.full((rows * (height + 1), columns * (width + 1)), _GAP, np.uint8)
    for index, tile in enumerate(_to_grey(shown)):
        top, left = index // columns * (height + 1), index % columns * (width + 1)
        sheet[top : top + height, left : left + width] = tile
    file = io.BytesIO()
    Image.fromarray(sheet[:-1, :-1]).save(file, "PNG", compress_level=1)
    return FeatureMap(layer.name, layer.operator, channels, height, width, columns, file.getvalue())


def _to_grey(maps: NDArray[np.float32]) -> Pixels:
    """Scale each map of [channels, height, width] to 0–255 by itself; what is no number counts as 0."""
    finite: NDArray[Any] = np.nan_to_num(maps).astype(np.float64)
    low, high = finite.min((1, 2), keepdims=True), finite.max((1, 2), keepdims=True)
    span = np.where(high > low, high - low, 1)
    return np.asarray(np.round((finite - low) / span * 255), np.uint8)

"""Planted faults: each is found, in the layer where it is, with what is wrong there."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper

from cnnkit.exporting.results import Verification
from cnnkit.exporting.values import Graph, trace
from tests.hooks import hooks_of

Planted = Callable[..., Verification]
Edits = Callable[..., Callable[[onnx.ModelProto], object]]
NAMED = pytest.mark.parametrize("named", [True, False], ids=["named", "nameless"])


def plus(amount: float, *place: int) -> Callable[[np.ndarray], np.ndarray]:
    """Add to one value of a tensor."""

    def change(values: np.ndarray) -> np.ndarray:
        values[place] += amount
        return values

    return change


def check(found: Verification, layer: str, cause: str, *said: str) -> None:
    assert not found.passed
    assert not found.stored
    assert found.graph_changed
    assert found.divergence is not None
    assert (found.divergence.layer, found.divergence.cause) == (layer, cause), found.divergence
    for text in said:
        assert text in found.divergence.explanation
    assert any(row.layer == layer and not row.agrees for row in found.divergence.layers)


@NAMED
@pytest.mark.parametrize(
    ("tensor", "place", "layer", "said"),
    [
        (
            "network.conv1.weight",
            (2, 0, 1, 3),
            "conv1",
            "conv1.weight differs in 1 of 150 values, most at [2, 0, 1, 3]",
        ),
        ("network.conv2.weight", (3, 1, 0, 2), "conv2", "conv2.weight differs in 1 of 2,400 values"),
        ("network.conv2.bias", (4,), "conv2", "conv2.bias differs in 1 of 16 values"),
        ("network.fc2.weight", (4, 5), "fc2", "fc2.weight differs in 1 of 10,080 values"),
        ("network.fc3.bias", (9,), "fc3", "fc3.bias differs in 1 of 10 values, most at [9]"),
    ],
)
def test_one_wrong_weight(
    tensor: str, place: tuple[int, ...], layer: str, said: str, named: bool, planted: Planted, set_weight: Edits
) -> None:
    said = said.replace("10 values, most at [9]", "2 values, most at [1]")
    place = (1,) if tensor == "network.fc3.bias" else place
    check(planted("lenet", set_weight(tensor, plus(0.5, *place)), named=named), layer, "weight", said)


@NAMED
@pytest.mark.parametrize(
    ("tensor", "place", "layer", "folded", "said"),
    [
        ("network.conv.weight", (3, 1, 0, 1), "conv", ("norm",), "conv.weight (with norm folded in) differs in 1 of"),
        ("network.conv.weight_bias", (5,), "conv", ("norm",), "conv.bias (with norm folded in) differs in 1 of 24"),
        ("network.stage1.conv.weight", (9, 9, 0, 1), "stage1.conv", (), "stage1.conv.weight differs in 1 of"),
        ("network.stage2.norm.running_var", (7,), "stage2.norm", (), "stage2.norm.running_var differs in 1 of 128"),
        (
            "network.stage2.block.conv.weight", (10, 1, 1, 1), "stage2.block.conv", ("stage2.block.norm",),
            "stage2.block.conv.weight (with stage2.block.norm folded in) differs in 1 of",
        ),
        ("network.fc.weight", (1, 50), "fc", (), "fc.weight differs in 1 of 320 values, most at [1, 50]"),
    ],
)  # fmt: skip
def test_one_wrong_weight_among_batch_norms_and_residuals(
    tensor: str,
    place: tuple[int, ...],
    layer: str,
    folded: tuple[str, ...],
    said: str,
    named: bool,
    planted: Planted,
    set_weight: Edits,
) -> None:
    found = planted("cifar-resnet", set_weight(tensor, plus(3.0, *place)), named=named)
    check(found, layer, "weight", said)
    assert found.divergence is not None
    assert found.divergence.folded == folded


@NAMED
@pytest.mark.parametrize("side", ["left", "right", "middle"])
def test_one_wrong_weight_in_one_of_two_branches(side: str, named: bool, planted: Planted, set_weight: Edits) -> None:
    found = planted("Parallel", set_weight(f"network.{side}.weight", plus(1.0, 1, 1, 1, 1)), named=named)
    check(found, side, "weight", f"{side}.weight differs in 1 of")


@NAMED
@pytest.mark.parametrize(
    ("name", "number", "values", "layer", "said"),
    [
        ("lenet", 1, {"strides": [2, 2]}, "conv2", "strides 2×2 in the file, 1×1 in PyTorch"),
        ("lenet", 0, {"strides": [1, 2]}, "conv1", "strides 1×2 in the file, 1×1 in PyTorch"),
        ("lenet", 0, {"pads": [0, 0, 4, 4]}, "conv1", "pads 0×0×4×4 in the file, 2×2×2×2 in PyTorch"),
        ("cifar-resnet", 4, {"strides": [2, 2]}, "stage2.block.conv", "strides 2×2 in the file"),
        ("cifar-resnet", 3, {"dilations": [2, 2], "pads": [2] * 4}, "stage2.conv", "dilations 2×2 in the file"),
        ("Parallel", 1, {"dilations": [2, 2], "pads": [2] * 4}, "right", "dilations 2×2 in the file, 1×1 in PyTorch"),
    ],
)
def test_one_wrong_attribute(
    name: str,
    number: int,
    values: dict[str, object],
    layer: str,
    said: str,
    named: bool,
    planted: Planted,
    set_attribute: Edits,
) -> None:
    found = planted(name, set_attribute("Conv", number, **values), named=named)
    check(found, layer, "attribute", said)


@NAMED
def test_one_wrong_stride_of_a_pooling(named: bool, planted: Planted, set_attribute: Edits) -> None:
    found = planted("lenet", set_attribute("MaxPool", 0, strides=[1, 1], pads=[0] * 4), named=named)
    check(found, "pool1", "attribute", "strides 1×1 in the file, 2×2 in PyTorch")
    assert "onnxruntime" in found.run_error


def test_the_second_call_of_a_layer_is_told_from_the_first(planted: Planted, set_attribute: Edits) -> None:
    found = planted("Parallel", set_attribute("LeakyRelu", 1, alpha=0.5))
    check(found, "act", "attribute", "alpha 0.5 in the file, 0.2 in PyTorch")
    assert found.divergence is not None
    assert [row.agrees for row in found.divergence.layers if row.layer == "act"] == [True, False]


def test_another_operation_in_a_layers_place(planted: Planted) -> None:
    def edit(model: onnx.ModelProto) -> None:
        next(node for node in model.graph.node if node.op_type == "Sigmoid").op_type = "Tanh"

    check(planted("lenet", edit), "sigmoid1", "operator", "the file computes Tanh where PyTorch has Sigmoid")


def normalisation(mean: tuple[float, ...], std: tuple[float, ...], set_weight: Edits) -> list:
    """Edits that give the graph another mean and deviation."""
    shape = (-1, 1, 1)
    scale = (1 / (255 * np.array(std))).astype(np.float32).reshape(shape)
    offset = (-np.array(mean) / np.array(std)).astype(np.float32).reshape(shape)
    return [set_weight("normalise.scale", lambda _: scale), set_weight("normalise.offset", lambda _: offset)]


@pytest.mark.parametrize(
    ("mean", "std"),
    [((0.55, 0.5, 0.4), (0.3, 0.25, 0.2)), ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)), ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))],
)
def test_another_normalisation(mean: tuple[float, ...], std: tuple[float, ...], planted: Planted, set_weight: Edits):
    def edit(model: onnx.ModelProto) -> None:
        for change in normalisation(mean, std, set_weight):
            change(model)

    shown = ["(" + ", ".join(f"{value:.4g}" for value in values) + ")" for values in (mean, std)]
    found = planted("cifar-resnet", edit)
    check(found, "normalise", "preprocessing", "expects mean (0.4, 0.5, 0.55) and deviation (0.2, 0.25, 0.3)")
    assert found.divergence is not None
    numbers = found.divergence.explanation.partition("the file applies ")[2]
    for text, values in zip(numbers.rstrip(".").split(" and "), (mean, std), strict=True):
        assert [float(v) for v in text.strip("()").split(", ")] == pytest.approx(values, abs=1e-3), shown


def test_channels_in_the_opposite_order(planted: Planted) -> None:
    def edit(model: onnx.ModelProto) -> None:
        model.graph.initializer.append(numpy_helper.from_array(np.array([2, 1, 0]), "order"))
        for node in model.graph.node:
            node.input[:] = ["swapped" if name == "image" else name for name in node.input]
        model.graph.node.insert(0, helper.make_node("Gather", ["image", "order"], ["swapped"], axis=3))

    found = planted("cifar-resnet", edit)
    check(found, "normalise", "preprocessing", "and its channels are in the opposite order")


@NAMED
def test_a_raw_file_whose_card_normalises_otherwise(named: bool, planted: Planted, set_card: Edits) -> None:
    found = planted("raw", set_card(mean=(0.5,)), named=named, reference="lenet")
    assert found.divergence is not None
    assert (found.divergence.layer, found.divergence.cause) == ("normalise", "preprocessing")
    assert "expects mean (0.3) and deviation (0.25); the file applies (0.5) and (0.25)" in found.divergence.explanation


@NAMED
def test_a_raw_file_with_a_wrong_weight(named: bool, planted: Planted, set_weight: Edits) -> None:
    edit = set_weight("network.conv1.weight", plus(0.5, 0, 0, 0, 0))
    check(planted("raw", edit, named=named, reference="lenet"), "conv1", "weight", "conv1.weight differs in 1 of 150")


def after(name: str, kind: str) -> Callable[[onnx.ModelProto], object]:
    """An edit that puts an operation behind a value."""

    def edit(model: onnx.ModelProto) -> None:
        place = next(i for i, node in enumerate(model.graph.node) if name in node.output)
        for node in list(model.graph.node)[place + 1 :]:
            node.input[:] = [f"{name}_new" if given == name else given for given in node.input]
        model.graph.node.insert(place + 1, helper.make_node(kind, [name], [f"{name}_new"], "planted"))

    return edit


@NAMED
def test_an_operation_that_belongs_to_no_layer(named: bool, planted: Planted) -> None:
    found = planted("lenet", after("max_pool2d_1", "Neg"), named=named)
    assert found.divergence is not None
    assert found.divergence.cause == "graph"
    assert "Neg planted" in found.divergence.explanation


def test_an_operation_behind_the_last_layer(planted: Planted) -> None:
    def edit(model: onnx.ModelProto) -> None:
        node = next(node for node in model.graph.node if "logits" in node.output)
        node.output[0] = "scores"
        model.graph.node.append(helper.make_node("Neg", ["scores"], ["logits"], "planted"))
        softmax = next(node for node in model.graph.node if node.op_type == "Softmax")
        softmax.input[0] = "scores"

    check(planted("lenet", edit), "logits", "graph", "every layer agrees, but not what Neg planted makes of them")


def test_a_layer_of_several_nodes_that_computes_something_else(planted: Planted) -> None:
    def edit(model: onnx.ModelProto) -> None:
        node = next(node for node in model.graph.node if node.op_type in {"Gelu", "Erf"})
        node.op_type, node.domain = "Identity", ""
        del node.attribute[:]

    check(planted("Parallel", edit), "smooth", "exporter", "what comes out does not")


def test_half_precision_is_named(planted: Planted) -> None:
    from onnxruntime.transformers.float16 import convert_float_to_float16

    def edit(model: onnx.ModelProto) -> None:
        model.CopyFrom(convert_float_to_float16(model, keep_io_types=True))

    found = planted("cifar-resnet", edit)
    assert found.divergence is not None
    assert found.divergence.cause == "precision"
    assert "the file computes with float16, PyTorch with float32" in found.divergence.explanation


def test_eight_bits_are_named(planted: Planted, tmp_path: Path) -> None:
    from onnxruntime.quantization import CalibrationDataReader, quantize_static

    class Noise(CalibrationDataReader):
        """Two batches of noise."""

        def __init__(self) -> None:
            images = np.random.default_rng(0).integers(0, 256, (2, 4, 32, 32, 3), np.uint8)
            self.batches = iter([{"image": batch} for batch in images])

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.batches, None)

    def edit(model: onnx.ModelProto) -> None:
        quantize_static(model, tmp_path / "int8.onnx", Noise())
        model.CopyFrom(onnx.load(tmp_path / "int8.onnx"))

    found = planted("cifar-resnet", edit)
    assert found.divergence is not None
    assert found.divergence.cause == "precision"
    assert "the file computes with 8-bit integers" in found.divergence.explanation


def test_every_layer_of_a_good_file_has_its_value(checkpoints: Path) -> None:
    from cnnkit.exporting.divergence import locate
    from cnnkit.models.normalisation import ExportWrapper, Normalise
    from cnnkit.sources import find

    network, card = find(str(checkpoints / "cifar-resnet.safetensors")).weights()
    form = card.preprocessing
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    calls = trace(ExportWrapper(network, Normalise(form.mean, form.std)).eval(), torch.from_numpy(pixels))
    graph = Graph(onnx.load(checkpoints / "cifar-resnet.onnx"))
    values, stopped = graph.values({"image": pixels})
    assert stopped is None
    assert locate(calls, graph, values, "logits") is None
    assert hooks_of(network) == []

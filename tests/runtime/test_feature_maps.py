import io
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from cnnkit import zoo
from cnnkit.errors import OnnxError
from cnnkit.exporting.half import to_half
from cnnkit.exporting.quantisation import quantise
from cnnkit.images import prepare
from cnnkit.runtime.feature_maps import MAX_CHANNELS, MAX_SIDE, Layer, open_features
from cnnkit.runtime.foreign.opening import open_onnx
from cnnkit.runtime.session import open_session
from cnnkit.training.networks import load_network

RNG = np.random.default_rng(0)
PATTERN = RNG.integers(0, 256, (8, 28, 28, 1), np.uint8)


@pytest.fixture(scope="module")
def seven() -> bytes:
    """A PNG file of a seven, drawn dark on light."""
    return (Path(__file__).parents[2] / "docs" / "images" / "seven.png").read_bytes()


def opened(content, name="net"):
    """Return the feature maps of a file, and the network that it holds."""
    network = open_onnx(content, name, device="cpu").network
    return open_features(content, network, name), network


def foreign(nodes, *, last, size=("n", 3, 8, 8), kind=TensorProto.FLOAT, weights=()):
    """Return a classifier into 4 classes of nodes that make `last` of `x`."""
    ending = [
        helper.make_node("GlobalAveragePool", [last], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("MatMul", ["flat", "table"], ["y"]),
    ]
    stored = [numpy_helper.from_array(value, name) for name, value in weights]
    channels = next(value.shape[0] for _, value in reversed(weights) if value.ndim == 4)
    stored.append(numpy_helper.from_array(RNG.normal(0, 1, (channels, 4)).astype(np.float32), "table"))
    given = helper.make_tensor_value_info("x", kind, size)
    gives = helper.make_tensor_value_info("y", TensorProto.FLOAT, [size[0], 4])
    graph = helper.make_graph([*nodes, *ending], "net", [given], [gives], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9).SerializeToString()


def kernel(outputs, inputs, side=3):
    return RNG.normal(0, 1, (outputs, inputs, side, side)).astype(np.float32)


def tiles(shown):
    """Cut the sheet of a layer into its maps, uint8 [channels, height, width]."""
    sheet = np.asarray(Image.open(io.BytesIO(shown.png)))
    places = [divmod(index, shown.columns) for index in range(shown.channels)]
    cut = [
        sheet[row * (shown.height + 1) :, column * (shown.width + 1) :][: shown.height, : shown.width]
        for row, column in places
    ]
    rows = places[-1][0] + 1
    assert sheet.shape == (rows * (shown.height + 1) - 1, shown.columns * (shown.width + 1) - 1)
    return np.stack(cut)


@pytest.fixture(scope="module")
def lenet():
    return opened(zoo.read("lenet", "model.onnx"), "lenet")


@pytest.fixture
def pixels(seven, lenet):
    return prepare(seven, lenet[1].card.preprocessing).pixels[None]


def hooked(model, names, pixels):
    """Return what PyTorch's layers of these names give."""
    network, card = load_network(model)
    found = {}
    for name in names:
        network.get_submodule(name).register_forward_hook(lambda _m, _i, o, name=name: found.update({name: o[0]}))
    mean, std = (np.array(value, np.float32) for value in (card.preprocessing.mean, card.preprocessing.std))
    inputs = torch.from_numpy((pixels.astype(np.float32) / 255 - mean) / std).permute(0, 3, 1, 2)
    with torch.inference_mode():
        network.eval()(inputs)
    return [found[name].numpy() for name in names]


@pytest.mark.parametrize(
    ("model", "modules"),
    [
        ("lenet", ["sigmoid1", "pool1", "sigmoid2", "pool2"]),
        ("digits", ["block1.relu1", "block1.relu2", "block1.pool", "block2.relu1"]),
    ],
)
def test_the_values_are_those_of_pytorch_after_the_activation(model, modules, pixels):
    found = opened(zoo.read(model, "model.onnx"))[0].values(pixels)
    for ours, theirs in zip(found, hooked(model, modules, pixels), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4, rtol=0)


def test_the_layers_bear_the_names_of_the_modules(lenet, pixels):
    shown = [(m.layer, m.operator, m.channels, m.height, m.width, m.columns) for m in lenet[0].maps(pixels)]
    assert shown == [
        ("conv1", "Conv", 6, 28, 28, 6),
        ("pool1", "MaxPool", 6, 14, 14, 6),
        ("conv2", "Conv", 16, 10, 10, 8),
        ("pool2", "MaxPool", 16, 5, 5, 8),
    ]


def test_each_map_spans_black_to_white_in_the_order_of_the_channels(lenet, pixels):
    for values, shown in zip(lenet[0].values(pixels), lenet[0].maps(pixels), strict=True):
        low, high = values.min((1, 2), keepdims=True), values.max((1, 2), keepdims=True)
        expected = np.where(high > low, (values - low) / np.where(high > low, high - low, 1) * 255, 0)
        assert np.abs(tiles(shown) - expected).max() <= 0.51


def test_the_same_image_gives_the_same_bytes(lenet, pixels):
    again = opened(zoo.read("lenet", "model.onnx"))[0]
    assert lenet[0].maps(pixels) == again.maps(pixels)


def test_a_blank_image_gives_maps_without_a_warning(lenet, pixels):
    assert len(lenet[0].maps(np.zeros_like(pixels))) == 4


@pytest.mark.parametrize("name", ["softmax-regression", "mlp"])
def test_a_network_without_convolutions_has_none(name):
    assert opened(zoo.read(name, "model.onnx"))[0] is None


def test_a_file_with_float_input_gives_the_same(lenet, pixels):
    model = onnx.load_model_from_string(zoo.read("lenet", "model.onnx"))
    model.ClearField("metadata_props")
    start = next(index for index, node in enumerate(model.graph.node) if node.op_type == "Conv")
    given = helper.make_tensor_value_info(model.graph.node[start].input[0], TensorProto.FLOAT, ["n", 1, 28, 28])
    del model.graph.node[:start], model.graph.input[:]
    model.graph.input.append(given)
    found, network = opened(model.SerializeToString())
    assert network.card.raw_input
    for ours, theirs in zip(found.values(pixels), lenet[0].values(pixels), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize(
    ("reduce", "tolerance"),
    [(to_half, 0.01), (lambda model: quantise(model, [PATTERN])[0], 0.06)],
    ids=["fp16", "int8"],
)
def test_reduced_precisions_are_shown_as_numbers(lenet, reduce, tolerance):
    model = onnx.load_model_from_string(zoo.read("lenet", "model.onnx"))
    model.ClearField("metadata_props")
    found = opened(reduce(model).SerializeToString())[0]
    assert [layer.operator for layer in found.layers] == ["Conv", "MaxPool", "Conv", "MaxPool"]
    for ours, theirs in zip(found.values(PATTERN[:1]), lenet[0].values(PATTERN[:1]), strict=True):
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, theirs, atol=tolerance)


def test_a_foreign_file_is_cut_after_its_fourth_layer():
    nodes = [
        helper.make_node("Conv", ["x", "a.weight"], ["a"], name="/features/first/Conv", pads=[1, 1, 1, 1]),
        helper.make_node("Sigmoid", ["a"], ["gate"]),
        helper.make_node("Mul", ["a", "gate"], ["swish"]),
        helper.make_node("AveragePool", ["swish"], ["mean2"], kernel_shape=[2, 2], name="/features/features.1/Pool"),
        helper.make_node("Conv", ["mean2", "w1"], ["b"]),
        helper.make_node("Add", ["b", "bias"], ["biased"]),
        helper.make_node("LeakyRelu", ["biased"], ["leaky"]),
        helper.make_node("Conv", ["leaky", "w2"], ["c"], name="/block/block.0/conv/Conv"),
        helper.make_node("Add", ["c", "leaky"], ["sum"]),
        helper.make_node("Conv", ["sum", "w2"], ["d"]),
    ]
    bias = RNG.normal(0, 1, (1, 5, 1, 1)).astype(np.float32)
    weights = [("bias", bias), ("a.weight", kernel(5, 3)), ("w1", kernel(5, 5, 1)), ("w2", kernel(5, 5, 1))]
    content = foreign(nodes, last="d", weights=weights)
    found, network = opened(content)
    assert found.layers == (
        Layer("a", "Conv", "swish"),
        Layer("features.1", "AveragePool", "mean2"),
        # What comes after the bias is the layer's own; the sum with what was before is not.
        Layer("Conv 2", "Conv", "leaky"),
        Layer("block.0.conv", "Conv", "c"),
    )
    image = RNG.integers(0, 256, (1, 8, 8, 3), np.uint8)
    model = onnx.load_model_from_string(content)
    model.graph.output.extend(onnx.ValueInfoProto(name=layer.result) for layer in found.layers)
    whole = open_session(model.SerializeToString(), "whole", device="cpu")
    expected = whole.run([layer.result for layer in found.layers], network.feed(image))
    for ours, theirs in zip(found.values(image), expected, strict=True):
        np.testing.assert_allclose(ours, theirs[0], atol=1e-5)


def test_a_fixed_batch_is_filled():
    node = helper.make_node("Conv", ["x", "w"], ["a"])
    found, network = opened(foreign([node], last="a", size=(3, 3, 8, 8), weights=[("w", kernel(5, 3))]))
    image = RNG.integers(0, 256, (1, 8, 8, 3), np.uint8)
    assert network.batch == 3
    assert found.values(image)[0].shape == (5, 6, 6)


def test_maps_of_one_pixel_are_no_pictures():
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["squeezed"]),
        helper.make_node("Conv", ["squeezed", "w"], ["excited"]),
    ]
    assert opened(foreign(nodes, last="excited", weights=[("w", kernel(3, 3, 1))]))[0] is None


def test_large_and_many_maps_are_reduced():
    node = helper.make_node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1])
    found, _ = opened(foreign([node], last="a", size=("n", 1, 200, 130), weights=[("w", kernel(100, 1))]))
    image = RNG.integers(0, 256, (1, 200, 130, 1), np.uint8)
    (shown,) = found.maps(image)
    assert (shown.channels, shown.height, shown.width) == (MAX_CHANNELS, 50, 33)
    assert max(shown.height, shown.width) <= MAX_SIDE
    # The last column is the mean of the two that are left.
    values = np.pad(found.values(image)[0][:MAX_CHANNELS], [(0, 0), (0, 0), (0, 2)], constant_values=np.nan)
    means = np.nanmean(values.reshape(64, 50, 4, 33, 4), (2, 4))
    low, high = means.min((1, 2), keepdims=True), means.max((1, 2), keepdims=True)
    assert np.abs(tiles(shown) - (means - low) / (high - low) * 255).max() <= 0.51


def test_values_that_are_no_numbers_are_drawn_all_the_same():
    nodes = [helper.make_node("Conv", ["x", "w"], ["a"]), helper.make_node("Conv", ["x", "v"], ["b"])]
    infinite = kernel(2, 3)
    infinite[0] = np.inf
    content = foreign(nodes, last="b", weights=[("w", infinite), ("v", kernel(2, 3))])
    (first, _) = opened(content)[0].maps(RNG.integers(0, 256, (1, 8, 8, 3), np.uint8))
    assert tiles(first)[1].max() == 255
    assert tiles(first)[0].min() == 0


def test_an_image_of_another_size_is_an_error(lenet):
    with pytest.raises(OnnxError, match="the first layers of lenet failed"):
        lenet[0].maps(np.zeros((1, 20, 20, 1), np.uint8))

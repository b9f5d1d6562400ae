"""Occlusion: the patch that hides what counts, on real ONNX files."""

from collections.abc import Callable

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from cnnkit.card import ModelCard
from cnnkit.images import Preprocessing
from cnnkit.inspection.explanations import Occlusion
from cnnkit.operation import result_of
from cnnkit.runtime.classifier import OnnxNetwork, softmax
from cnnkit.runtime.occlusion import occlude, plain_colour
from cnnkit.runtime.session import open_session

Open = Callable[..., OnnxNetwork]


@pytest.fixture
def open_linear() -> Open:
    """Open a network whose second logit is a weighted sum of the pixels [H, W, C] minus an offset; the first is 0."""

    def make(weights: np.ndarray, offset: float = 0.0, batch: int | str = "n") -> OnnxNetwork:
        height, width, channels = weights.shape
        table = np.stack([np.zeros(weights.size), weights.ravel()], 1).astype(np.float32)
        nodes = [
            helper.make_node("Cast", ["image"], ["values"], to=TensorProto.FLOAT),
            helper.make_node("Flatten", ["values"], ["flat"]),
            helper.make_node("MatMul", ["flat", "table"], ["sums"]),
            helper.make_node("Add", ["sums", "offset"], ["logits"]),
        ]
        constants = [
            numpy_helper.from_array(table, "table"),
            numpy_helper.from_array(np.array([0, -offset], np.float32), "offset"),
        ]
        image = helper.make_tensor_value_info("image", TensorProto.UINT8, [batch, height, width, channels])
        logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, 2])
        graph = helper.make_graph(nodes, "net", [image], [logits], constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        zeros, ones = (0.0,) * channels, (1.0,) * channels
        card = ModelCard(
            model="own:net", labels=("no", "yes"), preprocessing=Preprocessing(channels, height, width, zeros, ones)
        )
        return OnnxNetwork(open_session(model.SerializeToString(), "net", device="cpu"), card)

    return make


def by_hand(network: OnnxNetwork, pixels: np.ndarray, target: int, found: Occlusion) -> np.ndarray:
    """Hide one place after another, and average over the patches that hide a pixel."""

    def probability(image: np.ndarray) -> float:
        return float(softmax(network.logits(image[None]))[0, target])

    lost = [[[] for _ in range(pixels.shape[1])] for _ in range(pixels.shape[0])]
    high, wide = found.patch
    for top in sorted({*range(0, pixels.shape[0] - high, found.stride[0]), pixels.shape[0] - high}):
        for left in sorted({*range(0, pixels.shape[1] - wide, found.stride[1]), pixels.shape[1] - wide}):
            hidden = pixels.copy()
            hidden[top : top + high, left : left + wide] = found.colour
            loss = probability(pixels) - probability(hidden)
            for row in range(top, top + high):
                for column in range(left, left + wide):
                    lost[row][column].append(loss)
    return np.array([[np.mean(cell) for cell in row] for row in lost])


def test_the_patch_finds_the_only_place_that_counts(open_linear: Open) -> None:
    weights = np.zeros((20, 30, 1))
    weights[4:7, 21:24] = 0.01
    pixels = np.zeros((20, 30, 1), np.uint8)
    pixels[4:7, 21:24] = 255
    pixels[15:, :5] = 255
    found = result_of(occlude(open_linear(weights, 15), pixels, 1))
    assert found.patch == (4, 6)
    peak = np.unravel_index(found.values.argmax(), found.values.shape)
    assert 4 <= peak[0] < 7
    assert 21 <= peak[1] < 24
    assert found.lowest == pytest.approx(1 / (1 + np.exp(15)))
    # Whatever a patch that touches the place cannot reach is worth nothing.
    far = np.ones((20, 30), bool)
    far[1:10, 16:29] = False
    assert (found.values[far] == 0).all()
    assert found.values.min() >= 0


@pytest.mark.parametrize("batch", ["n", 1, 7])
@pytest.mark.parametrize("shape", [(9, 7, 3), (57, 12, 1)])
def test_values_are_the_mean_loss_over_the_patches_that_hide_a_pixel(
    shape: tuple[int, ...], batch: int | str, open_linear: Open
) -> None:
    rng = np.random.default_rng(1)
    network = open_linear(rng.normal(0, 0.002, shape), batch=batch)
    pixels = rng.integers(0, 256, shape, np.uint8)
    for target in (0, 1):
        found = result_of(occlude(network, pixels, target))
        assert found.values.dtype == np.float32
        np.testing.assert_allclose(found.values, by_hand(network, pixels, target, found), atol=1e-6)


def test_hiding_what_speaks_against_a_class_counts_below_zero(open_linear: Open) -> None:
    weights = np.zeros((10, 10, 1))
    weights[5, 5] = -0.02
    pixels = np.zeros((10, 10, 1), np.uint8)
    pixels[5, 5] = 255
    found = result_of(occlude(open_linear(weights), pixels, 1))
    assert found.values.max() <= 0
    assert found.values[5, 5] == pytest.approx(1 / (1 + np.exp(5.1)) - 0.5, rel=1e-5)


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 90, 3)])
def test_every_pixel_of_the_oddest_image_is_covered(shape: tuple[int, ...], open_linear: Open) -> None:
    pixels = np.full(shape, 3, np.uint8)
    found = result_of(occlude(open_linear(np.ones(shape)), pixels, 0))
    np.testing.assert_array_equal(found.values, np.zeros(shape[:2]))


@pytest.mark.parametrize(("side", "images"), [(28, 529), (224, 576), (500, 576)])
def test_the_work_hardly_depends_on_the_size(side: int, images: int, open_linear: Open) -> None:
    steps = list(occlude(open_linear(np.zeros((side, side, 1))), np.zeros((side, side, 1), np.uint8), 0))
    assert {step.total for step in steps} == {images}
    assert [step.done for step in steps] == sorted(step.done for step in steps)


def test_the_colour_of_a_drawing_is_that_of_its_paper() -> None:
    pixels = np.full((9, 9, 3), (250, 240, 230), np.uint8)
    pixels[3:6] = 7
    assert plain_colour(pixels).tolist() == [250, 240, 230]

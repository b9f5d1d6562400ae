"""Looking inside: which layer, which class, and what is said where something cannot be had."""

import sys

import numpy as np
import pytest
import torch
from torch import nn

from cnnkit.card import ModelCard
from cnnkit.errors import MissingDependencyError, UnknownNameError, UsageError
from cnnkit.images import Preprocessing
from cnnkit.inspection.explaining import Insight, look_inside
from cnnkit.operation import result_of
from cnnkit.training.networks import TorchNetwork, load_network

PIXELS = np.random.default_rng(0).integers(0, 256, (28, 28, 1), np.uint8)


def look(name: str = "lenet", *, target: int = 3, layer: str | None = None) -> Insight:
    return result_of(look_inside(TorchNetwork(*load_network(name), "cpu"), PIXELS, target, layer=layer))


class Shared(nn.Module):
    """Uses one activation twice, and has a layer that never runs."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.relu = nn.ReLU()
        self.unused = nn.Conv2d(1, 1, 1)
        self.fc = nn.Linear(2 * 26 * 26, 2)

    def forward(self, images):
        return self.relu(self.fc(self.relu(self.conv(images)).flatten(1)))


class Spatial(Shared):
    """Uses one activation twice, on maps."""

    def forward(self, images):
        return self.fc(self.relu(self.relu(self.conv(images)) - 1).flatten(1))


def own(network: nn.Module) -> TorchNetwork:
    form = Preprocessing(1, 28, 28, (0.0,), (1.0,))
    return TorchNetwork(network, ModelCard(model="own:net", labels=("no", "yes"), preprocessing=form), "cpu")


def test_a_layer_can_be_chosen_and_blocks_are_layers_too() -> None:
    assert look().grad_cam.layer == "sigmoid2"
    for layer, shape in (("conv1", (28, 28)), ("pool2", (5, 5))):
        found = look(layer=layer).grad_cam
        assert (found.layer, found.shape, found.values.shape) == (layer, shape, shape)
    assert look("digits", layer="block1").grad_cam.shape == (14, 14)


def test_each_class_has_its_own_evidence() -> None:
    one, other = look(target=1), look(target=8)
    assert not np.array_equal(one.grad_cam.values, other.grad_cam.values)
    assert not np.array_equal(one.integrated_gradients.values, other.integrated_gradients.values)
    np.testing.assert_array_equal(one.layers[0].maps, other.layers[0].maps)


@pytest.mark.parametrize(
    ("layer", "error", "message"),
    [
        ("conv3", UnknownNameError, "there is no layer 'conv3'. Did you mean conv2 or conv1"),
        ("", UnknownNameError, "there is no layer ''"),
        ("zzz", UnknownNameError, "Known: conv1, conv2, pool1, pool2, sigmoid1, sigmoid2"),
        ("fc2", UsageError, "the layer fc2 gives 84 values and no maps, which Grad-CAM needs; the last one with any"),
    ],
)
def test_a_layer_that_is_no_good_says_why(layer: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        look(layer=layer)


def test_a_layer_that_runs_never_or_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="the layer unused does not run"):
        result_of(look_inside(own(Shared()), PIXELS, 0, layer="unused"))
    with pytest.raises(UsageError, match="the layer relu runs 2 times; Grad-CAM needs one that runs once"):
        result_of(look_inside(own(Spatial()), PIXELS, 0, layer="relu"))


def test_a_network_without_convolutions_still_has_gradients() -> None:
    found = look("softmax-regression")
    assert (found.grad_cam, found.layers, found.filters) == (None, (), ())
    assert found.integrated_gradients.total == pytest.approx(found.integrated_gradients.difference, abs=1e-3)
    assert found.notes == (
        "The network has no convolution whose maps are larger than a pixel, so there is no Grad-CAM.",
    )
    with pytest.raises(UsageError, match="the layer fc gives 10 values and no maps, which Grad-CAM needs\\."):
        look("softmax-regression", layer="fc")


class Cut(Shared):
    """A part that is frozen as many do it: gradients end before the convolution."""

    def forward(self, images):
        with torch.no_grad():
            maps = self.relu(self.conv(images))
        return self.fc(maps.flatten(1))


def test_a_part_without_gradients_costs_what_needs_them_and_no_more() -> None:
    found = result_of(look_inside(own(Cut().eval()), PIXELS, 0))
    assert (found.grad_cam, found.integrated_gradients) == (None, None)
    assert [maps.layer for maps in found.layers] == ["conv"]
    assert [note.partition(":")[0] for note in found.notes] == [
        "There is no Grad-CAM of relu, the last layer with maps",
        "There are no integrated gradients",
    ]
    with pytest.raises(UsageError, match="Choose another layer"):
        result_of(look_inside(own(Cut().eval()), PIXELS, 0, layer="conv"))


def test_without_captum_the_maps_and_filters_are_still_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    found = look()
    assert (found.grad_cam, found.integrated_gradients) == (None, None)
    assert [maps.layer for maps in found.layers] == ["conv1", "pool1", "conv2", "pool2"]
    assert len(found.filters) == 2
    assert "pip install captum" in found.notes[0]
    with pytest.raises(MissingDependencyError):
        look(layer="conv1")


def test_the_plain_image_has_the_median_colour() -> None:
    network, card = load_network("shapes-cnn")
    pixels = np.full((28, 28, 3), (250, 0, 9), np.uint8)
    pixels[10:14, 10:14] = 99
    found = result_of(look_inside(TorchNetwork(network, card, "cpu"), pixels, 0)).integrated_gradients
    assert found.colour == (250, 0, 9)
    outside = np.ones((28, 28), bool)
    outside[10:14, 10:14] = False
    # Where the image is as plain as the plain one, nothing is added.
    assert (found.values[outside] == 0).all()

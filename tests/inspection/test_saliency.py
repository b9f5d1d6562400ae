"""Saliency: against cases worked out by hand, and against what the methods promise."""

import sys

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cnnkit.errors import MissingDependencyError, UsageError
from cnnkit.inspection import saliency
from cnnkit.models.normalisation import Normalise
from cnnkit.training.networks import load_network


class Tiny(nn.Module):
    """Two maps, the input and its double, averaged; each class weighs them in its own way."""

    def __init__(self, *, inplace: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 1, bias=False)
        self.relu = nn.ReLU(inplace=inplace)
        self.fc = nn.Linear(2, 2, bias=False)
        with torch.no_grad():
            self.conv.weight.copy_(torch.tensor([1.0, 2.0]).view(2, 1, 1, 1))
            self.fc.weight.copy_(torch.tensor([[3.0, -1.0], [-3.0, 1.0]]))

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.relu(self.conv(images)).mean((2, 3)))


class Aside(Tiny):
    """Has a layer that runs for nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.aside = nn.Conv2d(1, 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        self.aside(images)
        return super().forward(images)


class Cut(Tiny):
    """Lets no gradient through its convolution."""

    def forward(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            maps = self.relu(self.conv(images))
        return self.fc(maps.mean((2, 3)))


INPUTS = torch.tensor([[[[1.0, -2.0, 0.0], [4.0, 0.5, -1.0]]]])


@pytest.mark.parametrize("inplace", [False, True])
def test_grad_cam_is_the_sum_worked_out_by_hand(inplace: bool) -> None:
    net = Tiny(inplace=inplace).eval()
    # Of the ReLU's maps a mean gradient is the class's weight over the 6 pixels: (3·x - 1·2x) / 6 where x > 0.
    expected = INPUTS[0, 0].clamp(min=0).numpy() / 6
    np.testing.assert_allclose(saliency.grad_cam(net, net.relu, INPUTS, 0), expected, atol=1e-7)
    # Of the convolution's maps half of the gradients are zero, as half of the pixels are not above it.
    expected = INPUTS[0, 0].clamp(min=0).numpy() / 12
    np.testing.assert_allclose(saliency.grad_cam(net, net.conv, INPUTS, 0), expected, atol=1e-7)


def test_what_speaks_against_a_class_is_cut_off() -> None:
    net = Tiny().eval()
    np.testing.assert_array_equal(saliency.grad_cam(net, net.relu, INPUTS, 1), np.zeros((2, 3)))


def test_a_layer_that_the_class_does_not_depend_on_is_refused() -> None:
    net = Aside().eval()
    with pytest.raises(UsageError, match="does not depend on the maps of this layer"):
        saliency.grad_cam(net, net.aside, INPUTS, 0)


@pytest.mark.parametrize("frozen", [False, True])
def test_gradients_that_reach_neither_maps_nor_image_are_said_to_be_absent(frozen: bool) -> None:
    net = Cut().eval().requires_grad_(not frozen)
    with pytest.raises(UsageError, match="does not depend on the maps of this layer, as far as gradients reach"):
        saliency.grad_cam(net, net.conv, INPUTS, 0)
    with pytest.raises(UsageError, match="does not depend on the image, as far as gradients reach"):
        saliency.integrated_gradients(net, INPUTS, torch.zeros_like(INPUTS), 0)


def test_integrated_gradients_of_a_linear_network_are_its_weights_times_the_change() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(24, 3)).eval()
    inputs, baseline = torch.randn(1, 2, 3, 4), torch.randn(1, 2, 3, 4)
    values, difference, steps = saliency.integrated_gradients(net, inputs, baseline, 2)
    expected = (net[1].weight[2].view(2, 3, 4) * (inputs - baseline)[0]).sum(0).detach().numpy()
    np.testing.assert_allclose(values, expected, atol=1e-5)
    assert difference == pytest.approx(float(expected.sum()), abs=1e-5)
    assert steps == 64


@pytest.mark.parametrize("name", ["digits", "lenet", "shapes-cnn", "cifar-resnet"])
def test_integrated_gradients_are_complete_and_the_same_for_pixels(name: str) -> None:
    network, card = load_network(name)
    form = card.preprocessing
    normalise = Normalise(form.mean, form.std)
    pixels = torch.randint(0, 256, (1, *form.shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    inputs, baseline = normalise(pixels), normalise(torch.full_like(pixels, 90))
    values, difference, steps = saliency.integrated_gradients(network, inputs, baseline, 1)
    with torch.inference_mode():
        assert difference == pytest.approx(float((network(inputs) - network(baseline))[0, 1]), abs=1e-5)
    least = 1e-4 * float(np.abs(values).sum())
    assert values.sum() == pytest.approx(difference, rel=0.01, abs=least) or steps == 1024
    assert values.sum() == pytest.approx(difference, rel=0.05, abs=0.05)

    class OfPixels(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return network(images * normalise.scale + normalise.offset)

    raw = [image.permute(0, 3, 1, 2).float() for image in (pixels, torch.full_like(pixels, 90))]
    of_pixels = saliency.integrated_gradients(OfPixels(), *raw, 1)[0]
    np.testing.assert_allclose(of_pixels, values, atol=0.02 * float(np.abs(values).max()))


@pytest.mark.parametrize("scale", [1e-4, 1e4])
def test_the_scale_of_the_logits_changes_no_picture(scale: float) -> None:
    torch.manual_seed(3)
    net = nn.Sequential(nn.Flatten(), nn.Linear(24, 40), nn.ReLU(), nn.Linear(40, 3)).eval()
    inputs, baseline = 3 * torch.randn(1, 2, 3, 4), torch.zeros(1, 2, 3, 4)
    plain, _, steps = saliency.integrated_gradients(net, inputs, baseline, 2)
    cam = saliency.grad_cam(net, net[0], inputs, 2)
    with torch.no_grad():
        for parameter in net[3].parameters():
            parameter.mul_(scale)
    found, _, taken = saliency.integrated_gradients(net, inputs, baseline, 2)
    assert taken == steps
    np.testing.assert_allclose(found / scale, plain, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(saliency.grad_cam(net, net[0], inputs, 2) / scale, cam, rtol=1e-3)


def test_without_captum_the_line_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    net = Tiny().eval()
    with pytest.raises(MissingDependencyError, match="pip install captum"):
        saliency.grad_cam(net, net.relu, INPUTS, 0)
    with pytest.raises(MissingDependencyError, match="pip install captum"):
        saliency.integrated_gradients(net, INPUTS, torch.zeros_like(INPUTS), 0)

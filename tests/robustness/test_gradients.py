"""Attacks by gradient: as high a loss as the ball allows, and never a step outside of it or of what a pixel can be."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from cnnkit.errors import UsageError
from cnnkit.images import Preprocessing
from cnnkit.robustness.gradients import PixelNetwork, fgsm, pgd, random_start, to_pixels
from cnnkit.robustness.results import Norm
from tests.expecting import expect_error

CPU = torch.device("cpu")
TARGETS = torch.tensor([0, 1, 1, 0])
NORMS: tuple[Norm, ...] = ("linf", "l2")


@pytest.fixture
def weights() -> Tensor:
    """Of a linear network of two classes: the loss rises along their difference, everywhere."""
    return torch.randn(3 * 4 * 5, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def linear(weights: Tensor) -> nn.Module:
    network = nn.Sequential(nn.Flatten(), nn.Linear(60, 2, bias=False))
    with torch.no_grad():
        network[1].weight.copy_(torch.stack([weights, -weights]))
    return network


@pytest.fixture
def images() -> Tensor:
    return 0.3 + 0.4 * torch.rand(4, 3, 4, 5, generator=torch.Generator().manual_seed(1))


def away(weights: Tensor) -> Tensor:
    """The direction in which each image's own class loses."""
    return torch.where(TARGETS == 0, -1.0, 1.0).view(-1, 1, 1, 1) * weights.view(1, 3, 4, 5)


def length(change: Tensor, norm: Norm) -> Tensor:
    return change.flatten(1).norm(float("inf") if norm == "linf" else 2, dim=1)


def test_fgsm_is_one_step_along_the_sign_of_the_gradient(linear: nn.Module, images: Tensor, weights: Tensor) -> None:
    expected = (images + 0.1 * away(weights).sign()).clamp(0, 1)
    torch.testing.assert_close(fgsm(linear, images, TARGETS, epsilon=0.1), expected)


def test_in_l2_it_is_a_step_of_that_length_along_the_gradient(
    linear: nn.Module, images: Tensor, weights: Tensor
) -> None:
    expected = images + 0.2 * away(weights) / weights.norm()
    torch.testing.assert_close(fgsm(linear, images, TARGETS, epsilon=0.2, norm="l2"), expected)


@pytest.mark.parametrize("norm", NORMS)
def test_pgd_finds_the_worst_image_of_the_ball_from_anywhere_in_it(
    norm: Norm, linear: nn.Module, images: Tensor, weights: Tensor
) -> None:
    source = torch.Generator().manual_seed(2)
    start = random_start(images, epsilon=0.2, norm=norm, source=source)
    found = pgd(linear, images, TARGETS, epsilon=0.2, norm=norm, steps=100, step_size=0.02, start=start)
    best = away(weights).sign() if norm == "linf" else away(weights) / weights.norm()
    torch.testing.assert_close(found, images + 0.2 * best, atol=2e-3, rtol=0)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("epsilon", [0.01, 0.3, 1.0])
def test_it_stays_in_the_ball_and_among_pixels(norm: Norm, epsilon: float) -> None:
    torch.manual_seed(3)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(24, 2))
    images = torch.rand(4, 3, 4, 5).round()  # black and white: every way out is one pixel value away
    source = torch.Generator().manual_seed(2)
    start = random_start(images, epsilon=epsilon, norm=norm, source=source)
    assert (length(start, norm) <= epsilon + 1e-6).all()
    found = pgd(network, images, TARGETS, epsilon=epsilon, norm=norm, steps=5, step_size=epsilon, start=start)
    assert (length(found - images, norm) <= epsilon + 1e-6).all()
    assert 0 <= found.min().item() <= found.max().item() <= 1
    worse, before = (F.cross_entropy(network(x), TARGETS).item() for x in (found, images))
    assert worse > before
    assert all(parameter.grad is None for parameter in network.parameters())


def test_starts_are_spread_over_the_whole_ball() -> None:
    source = torch.Generator().manual_seed(0)
    far = length(random_start(torch.empty(4000, 1, 1, 2), epsilon=2.0, norm="l2", source=source), "l2")
    # Two dimensions: half of the disc is within its radius by the root of a half.
    assert (far < 2 * 0.5**0.5).float().mean().item() == pytest.approx(0.5, abs=0.03)


def test_a_gradient_whose_square_is_nothing_is_followed(linear: nn.Module, images: Tensor, weights: Tensor) -> None:
    with torch.no_grad():
        linear[1].weight.mul_(1e-25)
    found = fgsm(linear, images, TARGETS, epsilon=0.2, norm="l2")
    torch.testing.assert_close(found, images + 0.2 * away(weights) / weights.norm())


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    norm=st.sampled_from(NORMS),
    epsilon=st.floats(0.001, 1),
    values=st.integers(1, 40),
    seed=st.integers(0, 2**16),
    edge=st.booleans(),
)
def test_whole_pixels_never_leave_the_ball(norm: Norm, epsilon: float, values: int, seed: int, edge: bool) -> None:
    source = np.random.default_rng(seed)
    images = torch.from_numpy(source.integers(0, 256, (2, 1, 1, values), np.uint8))
    change = torch.from_numpy(source.normal(size=(2, 1, 1, values)))
    change *= epsilon / length(change, norm).view(-1, 1, 1, 1) * (1 if edge else source.random())
    found = (images / 255 + change).clamp(0, 1).float()
    whole = to_pixels(found, images, epsilon=epsilon, norm=norm)
    assert whole.dtype == torch.uint8
    moved = whole.double() - images.double()
    assert (length(moved, norm) <= 255 * epsilon + 1e-5).all()
    # And each value is the nearest one, or the next one towards the image.
    wanted = found.double() * 255 - images
    assert ((moved - wanted).abs() < 1).all()
    assert (moved.abs() <= wanted.abs().ceil()).all()


def test_an_epsilon_of_eight_pixel_values_reaches_all_eight() -> None:
    images = torch.tensor([[[[100]]]], dtype=torch.uint8)
    for value in (8 / 255, float(np.float32(8 / 255))):
        assert to_pixels(images / 255 + value, images, epsilon=value, norm="linf").item() == 108
    assert to_pixels(images / 255 + 0.0392, images, epsilon=0.0392, norm="linf").item() == 109  # 9.996 values


def test_rounding_in_l2_gives_away_no_more_than_it_has_to() -> None:
    images = torch.full((1, 1, 1, 400), 100, dtype=torch.uint8)
    change = torch.full((1, 1, 1, 400), 1.6)  # 32 in length; two whole steps everywhere would be 40
    moved = to_pixels((images + change) / 255, images, epsilon=32 / 255, norm="l2").double() - images
    assert 31.9 < moved.norm().item() <= 32 + 1e-6


FORM = Preprocessing(1, 2, 2, (0.5,), (0.25,))


def test_pixels_are_normalised_as_the_card_says() -> None:
    network = PixelNetwork(nn.Flatten(), FORM, CPU)
    assert network(torch.tensor([[[[0.0, 0.5], [0.75, 1.0]]]])).tolist() == [[-2, 0, 1, 2]]


class Blind(nn.Module):
    """Answers by whole numbers, which have no slope."""

    def forward(self, images: Tensor) -> Tensor:
        return F.one_hot((images.flatten(1).mean(1) > 0).long(), 2).float()


@pytest.mark.parametrize(
    ("network", "name"),
    [
        (Blind(), "scores"),
        (nn.Sequential(nn.Flatten(), nn.Threshold(99.0, 0.0)), "zero"),
    ],
    ids=["none", "zero"],
)
def test_a_network_without_gradients_is_refused(network: nn.Module, name: str) -> None:
    with expect_error(UsageError, name, "net"):
        PixelNetwork(network, FORM, CPU).require_gradients(torch.rand(3, 1, 2, 2), "net")


def test_a_network_that_gives_logarithms_of_probabilities_has_gradients_however_sure_it_is() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False), nn.LogSoftmax(1))
    with torch.no_grad():
        network[1].weight.copy_(torch.tensor([[100.0] * 4, [-100.0] * 4]))
    PixelNetwork(network, FORM, CPU).require_gradients(torch.ones(3, 1, 2, 2), "net")

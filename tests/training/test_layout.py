"""Channels-last order, forwards and backwards."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import cnnkit
from cnnkit.training.layout import channels_last

CPU = torch.device("cpu")


def gradients_before_flattening(network: nn.Module) -> list[Tensor]:
    seen: list[Tensor] = []

    def look(_: nn.Module, gradients: tuple[Any, ...], __: tuple[Any, ...]) -> None:
        seen.append(gradients[0])

    network.relu3.register_full_backward_hook(look)
    images = torch.rand(4, 1, 28, 28).contiguous(memory_format=torch.channels_last)
    network(images).sum().backward()
    return seen


def test_weights_and_gradients_are_channels_last() -> None:
    network = channels_last(cnnkit.create_model("mnist-cnn"), CPU)
    assert network.conv2.weight.is_contiguous(memory_format=torch.channels_last)
    (gradient,) = gradients_before_flattening(network)
    assert gradient.is_contiguous(memory_format=torch.channels_last)


def test_the_order_changes_no_gradient() -> None:
    torch.manual_seed(0)
    plain = cnnkit.create_model("mnist-cnn")
    ordered = cnnkit.create_model("mnist-cnn")
    ordered.load_state_dict(plain.state_dict())
    channels_last(ordered, CPU)
    images = torch.rand(8, 1, 28, 28)
    for network in (plain, ordered):
        network(images).square().sum().backward()
    for one, other in zip(plain.parameters(), ordered.parameters(), strict=True):
        assert one.grad is not None
        assert other.grad is not None
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("images", [torch.rand(2, 1, 28, 28), torch.rand(2, 784)])
def test_what_needs_no_gradient_or_is_no_image_passes(images: Tensor) -> None:
    network = channels_last(nn.Sequential(nn.Flatten(), nn.Linear(784, 2)), CPU)
    network(images.requires_grad_()).sum().backward()
    with torch.no_grad():
        assert network(images).shape == (2, 2)

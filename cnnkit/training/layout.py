"""The order of values in memory that small convolutions are fast in: channels last, forwards and backwards."""

from typing import Any

import torch
from torch import Tensor, nn


def channels_last(network: nn.Module, device: torch.device) -> nn.Module:
    """Move a network to a device, its weights in channels-last order, and return it.

    A flattening layer hands gradients back in the other order. On the CPU the ReLU before it then goes through them
    value by value, with a branch that real images make unpredictable: slower than putting them in order first.
    """
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if device.type == "cpu":
        for module in network.modules():
            if isinstance(module, nn.Flatten):
                module.register_forward_pre_hook(_order_gradients)
    return network


def _order_gradients(_: nn.Module, inputs: tuple[Any, ...]) -> None:
    images = inputs[0]
    if images.requires_grad and images.dim() == 4 and not torch.compiler.is_compiling():
        images.register_hook(_in_order)


def _in_order(gradient: Tensor) -> Tensor:
    return gradient.contiguous(memory_format=torch.channels_last)

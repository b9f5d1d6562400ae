"""Hooks of a network, which PyTorch has no public way to list."""

from collections.abc import Callable
from typing import Any

from torch import nn


def hooks_of(network: nn.Module) -> list[Callable[..., Any]]:
    """Return the hooks that are registered on a module and on those inside it."""
    held = (value for module in network.modules() for name, value in vars(module).items() if name.endswith("_hooks"))
    return [hook for hooks in held for hook in hooks.values()]

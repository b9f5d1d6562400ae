"""The average of a network's weights over the steps of a run, with a decay that warms up as timm's does."""

import copy

import torch
from torch import Tensor, nn

from cnnkit.words import counted

POWER = 2 / 3
"""How fast the decay rises, as in timm: 0.9 after 32 steps, 0.99 after 1,000, 0.999 after 31,623, 0.9999 after 10^6."""


def decay_at(step: int, highest: float) -> float:
    """Return the decay of the average in the step of that number, from 1 on.

    It is 1 - step^(-2/3) as long as that is below `highest`: ModelEmaV3 of timm with `use_warmup`. In the first step it
    is 0, so that nothing is left of the weights that a run begins with, however short it is.
    """
    rising: float = 1 - step**-POWER
    return min(rising, highest)


def on_warm_up(highest: float, steps: int) -> str:
    """Say how far the decay gets in a run of that many steps; "" where it gets to the highest one, or there is none."""
    reached = decay_at(steps, highest) if steps else highest
    if reached == highest:
        return ""
    needed = round((1 - highest) ** (-1 / POWER))
    return (
        f"the decay of the averaged weights warms up, to {reached:.4g} in the last of this run's "
        f"{counted(steps, 'step')}; --ema {highest:g} is reached after {needed:,}"
    )


class WeightAverage:
    """Holds the average of a network: of its weights, and of its batch statistics in the same proportions.

    Args:
        network: on its device.
        decay: the highest one.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.module = copy.deepcopy(network).requires_grad_(False)
        self._decay = decay
        self._weights = list(zip(self.module.parameters(), network.parameters(), strict=True))
        self._buffers = list(_buffers(self.module, network))
        first = next(network.parameters())
        # On the device: a recorded step reads there what its share is.
        self._share = torch.ones((), device=first.device)

    def begin(self, step: int) -> None:
        """Set how much the step of that number counts; outside of what is recorded."""
        self._share.fill_(1 - decay_at(step, self._decay))

    @torch.no_grad()
    def add(self) -> None:
        """Take in the network as it is now."""
        for there, here in self._weights:
            _mix(there, here, self._share)
        # By name: a network may put another tensor in the place of a buffer.
        for average, network, name, finite in self._buffers:
            there, here = getattr(average, name), getattr(network, name)
            if finite:
                _mix(there, here, self._share)
            else:
                there.copy_(here)


def _mix(there: Tensor, here: Tensor, share: Tensor) -> None:
    if there.is_floating_point() or there.is_complex():
        there.lerp_(here, share.to(there.dtype))
    else:
        there.copy_(here)


def _buffers(average: nn.Module, network: nn.Module) -> list[tuple[nn.Module, nn.Module, str, bool]]:
    """Return the place of each buffer in both, its name there, and whether it has an average."""
    found = []
    for name, buffer in network.named_buffers():
        owner, _, leaf = name.rpartition(".")
        # A mask of infinities would become one of NaN.
        finite = bool(buffer.isfinite().all())
        found.append((average.get_submodule(owner), network.get_submodule(owner), leaf, finite))
    return found

"""Random numbers that depend on what they are for, and on nothing that happened before."""

import math
import random
from typing import Literal

import numpy as np
import torch
from torch import Tensor

# The numbers are part of what a recipe means: another one gives other runs.
_PURPOSES = {"order": 0, "augmentation": 1, "mixup": 2, "network": 3, "adversary": 4, "drawn": 5}
Purpose = Literal["order", "augmentation", "mixup", "network", "adversary", "drawn"]


def derive(seed: int, epoch: int, purpose: Purpose) -> int:
    """Return a 63-bit seed of its own for a use in an epoch, mixed by numpy's `SeedSequence` (O'Neill, 2015)."""
    state = np.random.SeedSequence([seed, epoch, _PURPOSES[purpose]]).generate_state(1, np.uint64)
    return int(state[0]) >> 1


def generator(seed: int, epoch: int, purpose: Purpose) -> torch.Generator:
    """Return a CPU generator for one use in one epoch; row i of what it draws belongs to image i."""
    return torch.Generator().manual_seed(derive(seed, epoch, purpose))


def seed_network(seed: int, epoch: int, rank: int, device: torch.device) -> None:
    """Seed every global generator that a network may draw from, as dropout does; each process gets its own numbers."""
    value = derive(seed, epoch, "network") + rank
    torch.default_generator.manual_seed(value)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(value)
    np.random.seed(value % 2**32)
    random.seed(value)


def capture(device: torch.device) -> dict[str, Tensor]:
    """Return the state of every global generator as tensors."""
    _, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    _, words, following = random.getstate()
    states = {
        "torch": torch.get_rng_state(),
        "numpy.keys": torch.from_numpy(np.asarray(keys, np.int64)),
        "numpy.rest": torch.tensor([position, has_gauss, gauss], dtype=torch.float64),
        "python": torch.tensor(words, dtype=torch.int64),
        "python.gauss": torch.tensor([math.nan if following is None else following], dtype=torch.float64),
    }
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def restore(states: dict[str, Tensor], device: torch.device) -> None:
    """Put the generators back to what `capture` returned."""
    torch.set_rng_state(states["torch"])
    position, has_gauss, gauss = states["numpy.rest"].tolist()
    np.random.set_state(
        ("MT19937", states["numpy.keys"].numpy().astype(np.uint32), int(position), int(has_gauss), gauss)
    )
    following = states["python.gauss"].item()
    random.setstate((3, tuple(states["python"].tolist()), None if math.isnan(following) else following))
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)

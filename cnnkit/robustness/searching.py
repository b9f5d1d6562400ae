"""Looking for an image that fools the network, for several images at once: all that was passed on the way counts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cnnkit.pictures import Pixels, encoded
from cnnkit.robustness.gradients import PixelNetwork, advanced, random_start, to_pixels, unit
from cnnkit.robustness.losses import LOSSES, Loss
from cnnkit.robustness.results import AttackName, Norm
from cnnkit.robustness.subject import Subject, from_png

_MEMORY = 0.5
"""What each step of PGD keeps of the way before it (Dong et al., "Boosting adversarial attacks", 2018)."""


@dataclass(frozen=True)
class Climb:
    """A way up a loss.

    Attributes:
        loss: that is to rise.
        sizes: length of each step, in pixels scaled to [0, 1].
        start: number of the random place in the ball where it begins; None for the image itself.
    """

    loss: Loss
    sizes: tuple[float, ...]
    start: int | None = None


def climbs_of(
    attack: AttackName, epsilon: float, *, steps: int, step_size: float | None, restarts: int
) -> tuple[Climb, ...]:
    """Return what an attack tries, one after the other, until an image is fooled.

    Args:
        attack: `fgsm`, a step of the radius up each loss; or `pgd`, the same, and then many steps up each loss from
            random places, and up the cross-entropy from the image itself.
        epsilon: the radius.
        steps: of `pgd`.
        step_size: of `pgd`; None for steps that begin with the radius and shrink to nothing, along half a cosine.
        restarts: random places for each loss.
    """
    climbs = [Climb(loss, (epsilon,)) for loss in LOSSES.values()]
    if attack == "pgd":
        sizes = [step_size or epsilon * (1 + math.cos(math.pi * at / steps)) / 2 for at in range(steps)]
        starts = enumerate(loss for _ in range(restarts) for loss in LOSSES.values())
        climbs += [Climb(loss, tuple(sizes), start) for start, loss in starts]
        climbs.append(Climb(LOSSES["cross-entropy"], tuple(sizes)))  # the better of the two, from the image itself
    return tuple(climbs)


@dataclass
class Search:
    """Attacks some images in balls of one radius, and keeps what fools the network.

    What counts is the image as a file holds it: rounded to whole values within the ball, written as PNG, and read.

    Attributes:
        positions: of the images in `subject`, int64 [N].
        fooled: images that the network gets wrong, uint8 [H, W, C], by the position of what they were made from.
        stuck: positions of images that nothing fooled, and that each climb left where there is no gradient.
    """

    subject: Subject
    network: PixelNetwork
    norm: Norm
    epsilon: float
    positions: NDArray[np.int64]
    fooled: dict[int, Pixels] = field(default_factory=dict)
    stuck: set[int] = field(default_factory=set)

    def run(self, climbs: Sequence[Climb]) -> None:
        """Take one climb after the other with the images that are not fooled yet.

        Raises:
            CheckpointError: the network gives scores that are not finite for an image.
        """
        left = self.positions
        halted = np.ones(len(left), bool)
        for climb in climbs:
            if len(left):
                kept, at_halt = self._climb(left, climb)
                left, halted = left[kept], halted[kept] & at_halt[kept]
        self.stuck = set(left[halted].tolist())

    def _climb(self, positions: NDArray[np.int64], climb: Climb) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return which images are still right, and which of these ended where there is no gradient; bool [N]."""
        right, halted = np.ones(len(positions), bool), np.zeros(len(positions), bool)
        at = np.arange(len(positions))
        whole, images, targets = self._tensors(positions)
        change = self._start(positions, images, climb.start)
        way = torch.zeros_like(images)
        for size in climb.sizes:
            moved = (images + change).clamp_(0, 1).requires_grad_()
            with torch.enable_grad():
                scores, followed = self.network.scores(moved)
                loss = climb.loss(followed, targets).sum()
            (gradient,) = torch.autograd.grad(loss, moved)
            moved, gradient = moved.detach(), unit(gradient)
            halted[at] = ~gradient.flatten(1).any(1).cpu().numpy()
            seems = (scores.detach().argmax(1) != targets).cpu()
            way = _MEMORY * way + gradient
            change = advanced(moved - images, way, epsilon=self.epsilon, norm=self.norm, size=size)
            if seems.any():
                right[at[seems.numpy()]] = ~self._fools(positions[at[seems.numpy()]], moved[seems], whole[seems])
                stay = torch.from_numpy(right[at])
                at, change, way = at[stay.numpy()], change[stay], way[stay]
                whole, images, targets = whole[stay], images[stay], targets[stay]
            if not way.any():
                break
        if len(at):
            right[at] = ~self._fools(positions[at], (images + change).clamp_(0, 1), whole)
        return right, halted

    def _tensors(self, positions: NDArray[np.int64]) -> tuple[Tensor, Tensor, Tensor]:
        """Return images as uint8 [N, C, H, W], the same as float32 in [0, 1], and their classes [N]."""
        device = self.network.device
        whole = torch.from_numpy(self.subject.images[positions]).permute(0, 3, 1, 2).to(device)
        return whole, whole.float() / 255, torch.from_numpy(self.subject.targets[positions]).to(device)

    def _start(self, positions: NDArray[np.int64], images: Tensor, number: int | None) -> Tensor:
        """Return the changes that a climb begins with; those of an image do not depend on the other images."""
        if number is None:
            return torch.zeros_like(images)
        starts = []
        for position in positions:
            seeds = np.random.SeedSequence([self.subject.seed, int(self.subject.numbers[position]), number])
            source = torch.Generator().manual_seed(int(seeds.generate_state(1)[0]))
            like = torch.empty(1, *images.shape[1:])
            starts.append(random_start(like, epsilon=self.epsilon, norm=self.norm, source=source))
        return torch.cat(starts).to(images.device)

    def _fools(self, positions: NDArray[np.int64], moved: Tensor, whole: Tensor) -> NDArray[np.bool_]:
        """Tell which of the changed images the network gets wrong as files, bool [N], and keep these."""
        found = to_pixels(moved, whole, epsilon=self.epsilon, norm=self.norm).permute(0, 2, 3, 1)
        pixels = np.stack([from_png(encoded(image)) for image in found.contiguous().cpu().numpy()])
        wrong = self.subject.answers(pixels)[0] != self.subject.targets[positions]
        self.fooled |= {int(positions[place]): pixels[place] for place in np.flatnonzero(wrong)}
        return np.asarray(wrong)


def reachable(epsilon: float, norm: Norm) -> float:
    """Return the radius that whole values leave of a ball: 25/255 of 0.1 in L∞, where each value moves by itself."""
    return int(255 * epsilon + 1e-6) / 255 if norm == "linf" else epsilon

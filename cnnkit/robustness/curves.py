"""Accuracy against how much the images are changed: by corruptions, and by attacks that follow the gradient."""

from collections.abc import Generator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from cnnkit.pictures import Pixels, encoded
from cnnkit.results import WorkProgress
from cnnkit.results.robustness import (
    AttackName,
    CorruptionCurve,
    CorruptionName,
    FooledImage,
    GradientAttack,
    Norm,
)
from cnnkit.robustness.corruptions import KINDS, SEVERITIES, corrupt
from cnnkit.robustness.gradients import PixelNetwork, fgsm, pgd, random_start, to_pixels
from cnnkit.robustness.subject import Subject, from_png

RELATIVE_STEP = 2.5
"""Steps of PGD together are so many radii long: from anywhere to anywhere in the ball (Madry et al., 2018)."""


def corruption_curve(subject: Subject, name: CorruptionName) -> Generator[WorkProgress, None, CorruptionCurve]:
    """Measure the accuracy on all images at each severity of a corruption."""
    every = np.arange(len(subject.images))
    right, samples = [0] * SEVERITIES, []
    for severity in range(1, SEVERITIES + 1):
        for batch in subject.batches(every):
            numbers = subject.numbers[batch].tolist()
            severities = np.full(len(batch), float(severity))
            pixels = corrupt(subject.images[batch], name, severities, numbers, subject.seed)
            right[severity - 1] += int((subject.answers(pixels)[0] == subject.targets[batch]).sum())
            if batch[0] == 0:
                samples.append(subject.save(f"corruptions/{name}-{severity}.png", pixels[0]))
            done = (severity - 1) * len(every) + _count(every, batch)
            yield WorkProgress(f"corrupting by {name}", done, SEVERITIES * len(every))
    kind = KINDS[name]
    accuracies = tuple(count / len(every) for count in right)
    kept = tuple(path for path in samples if path is not None)
    return CorruptionCurve(name, kind.amounts[1:], kind.unit, accuracies, kept)


def gradient_attack(
    subject: Subject,
    network: PixelNetwork,
    attack: AttackName,
    norm: Norm,
    epsilons: Sequence[float],
    *,
    steps: int,
    step_size: float | None,
) -> Generator[WorkProgress, None, GradientAttack]:
    """Attack every image that the network gets right, at each radius.

    What counts is the image as a file holds it: rounded to whole values within the ball, written as PNG, and read.

    Args:
        subject: network and images.
        network: the same network, for its gradients.
        attack: which; `fgsm` takes one step of the radius.
        norm: that the radii are measured by.
        epsilons: the radii, in pixels scaled to [0, 1].
        steps: of `pgd`, which begins at a random place.
        step_size: of `pgd`; None for 2.5 radii over the steps.
    """
    positions = np.flatnonzero(subject.right)
    steps = 1 if attack == "fgsm" else steps
    sizes = [epsilon if attack == "fgsm" else step_size or RELATIVE_STEP * epsilon / steps for epsilon in epsilons]
    accuracies, examples = [], list[FooledImage]()
    for epsilon, size in zip(epsilons, sizes, strict=True):
        # The same places at each radius, whichever other radii there are.
        source = torch.Generator(network.device).manual_seed(subject.seed)
        left, changed = len(positions), dict[int, Pixels]()
        for batch in subject.batches(positions):
            whole = torch.from_numpy(subject.images[batch]).permute(0, 3, 1, 2).to(network.device)
            targets = torch.from_numpy(subject.targets[batch]).to(network.device)
            images = whole.float() / 255
            if attack == "fgsm":
                moved = fgsm(network, images, targets, epsilon=epsilon, norm=norm)
            else:
                start = random_start(images, epsilon=epsilon, norm=norm, source=source)
                moved = pgd(
                    network, images, targets, epsilon=epsilon, norm=norm, steps=steps, step_size=size, start=start
                )
            found = to_pixels(moved, whole, epsilon=epsilon, norm=norm).permute(0, 2, 3, 1)
            pixels = np.stack([from_png(encoded(image)) for image in found.contiguous().cpu().numpy()])
            wrong = np.flatnonzero(subject.answers(pixels)[0] != subject.targets[batch])
            left -= len(wrong)
            changed |= {int(batch[place]): pixels[place] for place in wrong}
            changed = {position: changed[position] for position in subject.one_a_class(list(changed))}
            yield WorkProgress(f"{attack} in {norm}, radius {epsilon:.3g}", _count(positions, batch), len(positions))
        accuracies.append(left / len(subject.images))
        kind = f"{attack}-{norm}-{epsilon:.4g}"
        examples += [subject.fooled(kind, position, pixels, epsilon) for position, pixels in changed.items()]
    return GradientAttack(attack, norm, steps, tuple(epsilons), tuple(sizes), tuple(accuracies), tuple(examples))


def _count(positions: NDArray[np.int64], batch: NDArray[np.int64]) -> int:
    """Return how many of the positions are done after a batch of them."""
    return int(np.searchsorted(positions, batch[-1])) + 1

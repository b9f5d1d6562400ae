"""Accuracy against how much the images are changed: by corruptions, and by attacks that follow the gradient."""

from collections.abc import Generator, Sequence

import numpy as np
from numpy.typing import NDArray

from cnnkit.pictures import Pixels
from cnnkit.progress import WorkProgress
from cnnkit.robustness.corruptions import KINDS, SEVERITIES, corrupt
from cnnkit.robustness.gradients import PixelNetwork
from cnnkit.robustness.losses import LOSSES
from cnnkit.robustness.results import AttackName, CorruptionCurve, CorruptionName, FooledImage, GradientAttack, Norm
from cnnkit.robustness.searching import Search, climbs_of, reachable
from cnnkit.robustness.subject import EXAMPLES, Subject
from cnnkit.words import agree, counted


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
    restarts: int,
) -> Generator[WorkProgress, None, GradientAttack]:
    """Attack every image that the network gets right, at each radius, until something fools it.

    What fools it at a radius is in the ball of each larger one, so it counts there too.

    Args:
        subject: network and images.
        network: the same network, for its gradients.
        attack, steps, step_size, restarts: as for `climbs_of`.
        norm: that the radii are measured by.
        epsilons: the radii in rising order, in pixels scaled to [0, 1].
    """
    right, examples = subject.right.copy(), list[FooledImage]()
    accuracies, without, sizes, shown = list[float](), list[int](), list[float](), dict[int, Pixels]()
    for epsilon in epsilons:
        radius, fooled, stuck = reachable(epsilon, norm), dict[int, Pixels](), 0
        climbs = climbs_of(attack, radius, steps=steps, step_size=step_size, restarts=restarts)
        sizes.append(climbs[-1].sizes[0])
        positions = np.flatnonzero(right)
        for batch in subject.batches(positions):
            search = Search(subject, network, norm, radius, batch)
            search.run(climbs)
            right[list(search.fooled)] = False
            stuck += len(search.stuck)
            fooled |= search.fooled
            fooled = {position: fooled[position] for position in subject.one_a_class(list(fooled))}
            yield WorkProgress(f"{attack} in {norm}, radius {epsilon:.3g}", _count(positions, batch), len(positions))
        accuracies.append(float(right.mean()))
        without.append(stuck)
        # Those first that no smaller radius fools.
        spare = [position for position in shown if position not in fooled]
        fooled |= {position: shown[position] for position in subject.one_a_class(spare)[: EXAMPLES - len(fooled)]}
        shown = dict(sorted(fooled.items()))
        kind = f"{attack}-{norm}-{epsilon:.4g}"
        examples += [subject.fooled(kind, position, pixels, epsilon) for position, pixels in shown.items()]
    return GradientAttack(
        attack=attack,
        norm=norm,
        steps=1 if attack == "fgsm" else steps,
        epsilons=tuple(epsilons),
        step_sizes=tuple(sizes),
        accuracies=tuple(accuracies),
        examples=tuple(examples),
        losses=tuple(LOSSES),
        restarts=0 if attack == "fgsm" else restarts,
        without_gradient=tuple(without),
    )


def masked_gradients(attacks: Sequence[GradientAttack], images: int) -> tuple[str, ...]:
    """Say, as a note, how many of the images count as right for want of a gradient; nothing where none do."""
    most = max((count for attack in attacks for count in attack.without_gradient), default=0)
    if not most:
        return ()
    names = dict.fromkeys(attack.attack for attack in attacks if any(attack.without_gradient))
    note = (
        f"under {' and '.join(names)}, up to {most:,} of {counted(images, 'image')} "
        f"{agree(most, 'counts', 'count')} as right only because the network has no gradient there, as in networks "
        "that saturate or round (gradient masking). The network may be less robust than these figures; corruptions and "
        "flip need no gradient, and tell more"
    )
    return (note,)


def _count(positions: NDArray[np.int64], batch: NDArray[np.int64]) -> int:
    """Return how many of the positions are done after a batch of them."""
    return int(np.searchsorted(positions, batch[-1])) + 1

"""All that `attack` does, in its order: what can be wrong is found before the first image is touched."""

import math
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import torch

from cnnkit.errors import UnknownNameError, UsageError
from cnnkit.evaluation.images import load_for
from cnnkit.files import require_writable
from cnnkit.images import Preprocessing
from cnnkit.operation import relayed
from cnnkit.results import LoadNote, LoadProgress, WorkProgress
from cnnkit.results.robustness import (
    CORRUPTIONS,
    GRADIENT_ATTACKS,
    PARTS,
    CorruptionCurve,
    FlipSearch,
    FoolingImage,
    FoolingSearch,
    GradientAttack,
    Norm,
    Part,
    Robustness,
)
from cnnkit.robustness.curves import corruption_curve, gradient_attack, masked_gradients
from cnnkit.robustness.flipping import flip_search
from cnnkit.robustness.fooling import CONFIDENCE, fooling_search
from cnnkit.robustness.gradients import PixelNetwork
from cnnkit.robustness.subject import Subject, subject_of
from cnnkit.runtime.classifier import Classifier
from cnnkit.splits import SplitName
from cnnkit.training.networks import TorchNetwork

EPSILONS: dict[Norm, tuple[float, ...]] = {
    "linf": (0.01, 0.02, 0.05, 0.1, 0.2, 0.3),
    "l2": (0.25, 0.5, 1.0, 2.0, 3.0),
}
"""Radii where none are named: small ones for photographs, large ones for digits."""
STEPS = 20
"""Of `pgd`, where none are named."""
_TRIED = 8
"""Images that the gradient is looked at with."""

Progress = LoadProgress | LoadNote | WorkProgress


@dataclass(frozen=True)
class AttackOptions:
    """What to do.

    Attributes:
        only: the parts, in any order.
        norms: that `fgsm` and `pgd` are measured by; None for both, and for L∞ where radii are given.
        epsilons: the radii, in pixels scaled to [0, 1]; None for `EPSILONS`. They go with a single norm.
        steps: of `pgd`.
        step_size: of `pgd`, in pixels scaled to [0, 1]; None for the radius at first, shrinking to nothing.
        restarts: of `pgd`: random places that it begins at, for each loss.
        images: chosen by seed; 0 for all of the split.
        targets: labels of the classes that `fooling` makes an image for; None for all.
        seed: of the choice and of all that is random.
        batch_size: images that go through the network together.
        output: folder for the pictures; None for none.
    """

    only: tuple[Part, ...] = PARTS
    norms: tuple[Norm, ...] | None = None
    epsilons: tuple[float, ...] | None = None
    steps: int | None = None
    step_size: float | None = None
    restarts: int | None = None
    images: int = 1000
    targets: tuple[str, ...] | None = None
    seed: int = 0
    batch_size: int = 256
    output: Path | None = None

    def __post_init__(self) -> None:
        _require_known("--only", self.only, PARTS)
        _require_known("--norm", self.measures, tuple(EPSILONS))
        numbers = (("steps", self.steps, 1), ("restarts", self.restarts, 1), ("images", self.images, 0))
        for name, value, least in (*numbers, ("seed", self.seed, 0)):
            if value is not None and value < least:
                raise UsageError(f"--{name} {value}: expected a whole number from {least}.")
        if self.batch_size < 1:
            raise UsageError(f"--batch-size {self.batch_size}: expected a whole number from 1.")
        for option, given, parts in (
            ("--norm", self.norms, GRADIENT_ATTACKS),
            ("--epsilon", self.epsilons, GRADIENT_ATTACKS),
            ("--steps", self.steps, ("pgd",)),
            ("--step-size", self.step_size, ("pgd",)),
            ("--restarts", self.restarts, ("pgd",)),
            ("--target", self.targets, ("fooling",)),
        ):
            if given is not None and not set(parts) & set(self.only):
                raise UsageError(f"{option} is for {' and '.join(parts)}, and only {', '.join(self.only)} would run.")
        if self.epsilons is not None and len(self.measures) > 1:
            raise UsageError("--epsilon means one thing in L∞ and another in L2; give one --norm at a time.")
        if self.step_size is not None and not (math.isfinite(self.step_size) and self.step_size > 0):
            raise UsageError(f"--step-size {self.step_size:g}: expected a number over 0, in pixels scaled to [0, 1].")

    @property
    def measures(self) -> tuple[Norm, ...]:
        """The norms, the default resolved."""
        return self.norms or (("linf", "l2") if self.epsilons is None else ("linf",))

    def radii(self, norm: Norm, form: Preprocessing) -> tuple[float, ...]:
        """Return the radii for a norm, in order.

        Raises:
            UsageError: one is less than the step between two pixel values, or more than two images can be apart.
        """
        largest = 1.0 if norm == "linf" else math.sqrt(math.prod(form.shape))
        for epsilon in self.epsilons or ():
            if 0 < 255 * epsilon < 1 - 1e-6:
                raise UsageError(
                    f"--epsilon {epsilon:g}: no pixel can change by less than 1/255, the step between two whole "
                    "values. Give a larger one."
                )
            if not 0 < epsilon <= largest:
                raise UsageError(
                    f"--epsilon {epsilon:g}: expected numbers over 0 and up to {largest:g}, the farthest that two of "
                    f"these images can be from each other in {norm}; pixels count as 0 to 1, so 8 of 255 is 8/255."
                )
        return tuple(sorted(set(self.epsilons or EPSILONS[norm])))


def _require_known(option: str, given: Sequence[str], known: Sequence[str]) -> None:
    unknown = [name for name in given if name not in known]
    if unknown or not given:
        raise UsageError(f"{option} {','.join(given)!r}: expected {', '.join(known[:-1])} or {known[-1]}.")


def attack_network(
    classifier: Classifier,
    options: AttackOptions,
    *,
    data: str | None = None,
    split: SplitName | None = None,
    data_dir: Path | None = None,
    skip_damaged: bool = False,
    notes: tuple[str, ...] = (),
    stop: Callable[[], bool] | None = None,
) -> Generator[Progress, None, Robustness]:
    """Measure how easily a network is fooled; yields progress, and returns what was found.

    Images are changed as the network sees them: what brings an image from outside to its form is not run again, except
    for the fooling images, which count as files.

    Args:
        classifier: what is examined; a PyTorch network gives its gradients as well.
        options: what to do.
        data: a data set or image folder; None for the one that the network was trained on.
        split: as for `cnnkit.evaluate`.
        data_dir: where to look for data sets first.
        skip_damaged: leave out files that cannot be decoded.
        notes: to begin with.
        stop: asked between two steps; once it returns True, what was finished by then is all there is.

    Raises:
        DataError: no data set named by anything, an empty split, or other classes than the network's.
        UsageError: options that do not go with this network.
        UnknownNameError: a target that is no class of it.
        CheckpointError: the network gives scores that are not finite.
        OutputError: the folder cannot be written.
    """
    started, found = time.monotonic(), _Found()

    def unless_stopped(step: Progress) -> Progress:
        if stop is not None and stop():
            raise _StoppedError
        return step

    images = {"data": data, "split": split, "data_dir": data_dir, "skip_damaged": skip_damaged}
    steps = _attack(classifier, options, found, images)
    try:
        yield from relayed(steps, unless_stopped)
    except _StoppedError:
        notes = (*notes, "stopped before all was done: what had not been finished is left out")
    subject, by_gradient = found.subject, isinstance(classifier.network, TorchNetwork)
    count = 0 if subject is None else len(subject.images)
    masked = masked_gradients(found.attacks, count)
    for note in masked:
        yield LoadNote(note, warning=True)
    fooling = FoolingSearch(CONFIDENCE, "gradient" if by_gradient else "evolution", tuple(found.fooling))
    return Robustness(
        model=classifier.name,
        engine=classifier.engine,
        data=found.data,
        split=found.split,
        images=count,
        seed=options.seed,
        accuracy=None if subject is None else float(subject.right.mean()),
        corruptions=tuple(found.corruptions),
        attacks=tuple(found.attacks),
        flips=tuple(found.flips),
        fooling=fooling if found.fooling else None,
        notes=(*notes, *masked),
        folder=options.output,
        seconds=time.monotonic() - started,
        warnings=(*found.warnings, *masked),
        split_images=found.split_images,
    )


class _StoppedError(Exception):
    """Somebody asked to stop."""


@dataclass
class _Found:
    """What is known so far; the images as `Subject`, once they are loaded."""

    subject: Subject | None = None
    data: str | None = None
    split: str | None = None
    split_images: int = 0
    warnings: tuple[str, ...] = ()
    corruptions: list[CorruptionCurve] = field(default_factory=list)
    attacks: list[GradientAttack] = field(default_factory=list)
    flips: list[FlipSearch] = field(default_factory=list)
    fooling: list[FoolingImage] = field(default_factory=list)


def _attack(
    classifier: Classifier, options: AttackOptions, found: _Found, images: Mapping[str, Any]
) -> Generator[Progress, None, None]:
    """Do one part after the other, and add what is finished to `found`."""
    form, network, pixels = classifier.card.preprocessing, classifier.network, None
    radii = {norm: options.radii(norm, form) for norm in options.measures}
    for label in options.targets or ():
        if label not in classifier.card.labels:
            raise UnknownNameError("class", label, classifier.card.labels)
    if options.output is not None:
        require_writable(options.output)
    if isinstance(network, TorchNetwork):
        pixels = PixelNetwork(network.module, form, network.device)
    if set(options.only) - {"fooling"}:
        loaded, used = yield from load_for(classifier.card, classifier.name, **images)
        found.data, found.split, found.warnings = loaded.name, used, loaded.warnings
        chosen, place = loaded.filled(used), options.output
        found.split_images = len(chosen)
        subject = yield from subject_of(
            classifier, chosen, options.images, seed=options.seed, batch_size=options.batch_size, folder=place
        )
        found.subject = subject
        yield from _attack_images(subject, classifier.name, pixels, options, found, radii)
    if "fooling" in options.only:
        for step in fooling_search(
            classifier, pixels, targets=options.targets, seed=options.seed, folder=options.output
        ):
            if isinstance(step, FoolingImage):
                found.fooling.append(step)
            else:
                yield step


def _attack_images(
    subject: Subject,
    name: str,
    pixels: PixelNetwork | None,
    options: AttackOptions,
    found: _Found,
    radii: Mapping[Norm, Sequence[float]],
) -> Generator[Progress, None, None]:
    """Change the images of a split in all ways that are wanted, and add what is finished to `found`."""
    wanted = [attack for attack in GRADIENT_ATTACKS if attack in options.only]
    if pixels is not None and wanted:
        # Of all classes: folders come one after the other.
        some = subject.images[:: -(-len(subject.images) // _TRIED)]
        tried = torch.from_numpy(some.copy()).permute(0, 3, 1, 2).float() / 255
        pixels.require_gradients(tried.to(pixels.device), name)
    for kind in CORRUPTIONS * ("corruptions" in options.only):
        curve = yield from corruption_curve(subject, kind)
        found.corruptions.append(curve)
    for norm, part in product(options.measures, wanted):
        if pixels is not None:
            attacked = yield from gradient_attack(
                subject,
                pixels,
                part,
                norm,
                radii[norm],
                steps=options.steps or STEPS,
                step_size=options.step_size,
                restarts=options.restarts or 1,
            )
            found.attacks.append(attacked)
    for kind in CORRUPTIONS * ("flip" in options.only):
        search = yield from flip_search(subject, kind)
        found.flips.append(search)

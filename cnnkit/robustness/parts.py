"""The parts of an attack, in their order: what can be wrong is found before the first image is touched."""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

import torch

from cnnkit.errors import UnknownNameError
from cnnkit.evaluation.images import load_for
from cnnkit.files import require_writable
from cnnkit.models.networks import TorchNetwork
from cnnkit.progress import Step
from cnnkit.robustness.curves import corruption_curve, gradient_attack
from cnnkit.robustness.flipping import flip_search
from cnnkit.robustness.fooling import fooling_search
from cnnkit.robustness.gradients import PixelNetwork
from cnnkit.robustness.options import STEPS, AttackOptions
from cnnkit.robustness.results import (
    CORRUPTIONS,
    GRADIENT_ATTACKS,
    CorruptionCurve,
    FlipSearch,
    FoolingImage,
    GradientAttack,
    Norm,
)
from cnnkit.robustness.subject import Subject, subject_of
from cnnkit.runtime.classifier import Classifier

_TRIED = 8
"""Images that the gradient is looked at with."""


@dataclass
class Found:
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


def attack_in_parts(classifier: Classifier, options: AttackOptions, found: Found) -> Generator[Step, None, None]:
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
        loaded, used = yield from load_for(
            classifier.card,
            classifier.name,
            options.choice,
        )
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
    found: Found,
    radii: Mapping[Norm, Sequence[float]],
) -> Generator[Step, None, None]:
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

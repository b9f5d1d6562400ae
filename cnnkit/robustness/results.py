"""How easily a network is fooled."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Norm = Literal["linf", "l2"]
"""How far an image is from another: by the value that differs most, or by the Euclidean length of the difference."""


CorruptionName = Literal["noise", "blur", "contrast", "brightness", "jpeg", "rotation", "shift", "elastic"]


CORRUPTIONS: tuple[CorruptionName, ...] = (
    "noise", "blur", "contrast", "brightness", "jpeg", "rotation", "shift", "elastic",
)  # fmt: skip


AttackName = Literal["fgsm", "pgd"]


GRADIENT_ATTACKS: tuple[AttackName, ...] = ("fgsm", "pgd")


Part = Literal["corruptions", "fgsm", "pgd", "flip", "fooling"]


PARTS: tuple[Part, ...] = ("corruptions", "fgsm", "pgd", "flip", "fooling")


@dataclass(frozen=True)
class FooledImage:
    """An image that the network gets right, and wrong once it was changed.

    Attributes:
        number: of the image in its split.
        label: its class.
        taken_for: what the network makes of the changed one.
        probability: that the network gives it.
        strength: of the change: severity, or radius.
        original: PNG file of the image as the network sees it; None where no folder was named.
        changed: PNG file of the changed one.
    """

    number: int
    label: str
    taken_for: str
    probability: float
    strength: float
    original: Path | None
    changed: Path | None


@dataclass(frozen=True)
class CorruptionCurve:
    """Accuracy against the severity of a corruption.

    Attributes:
        amounts: at severities 1 to 5.
        unit: what an amount is.
        accuracies: fractions, at severities 1 to 5.
        samples: PNG files of one image at severities 1 to 5; none where no folder was named.
    """

    name: CorruptionName
    amounts: tuple[float, ...]
    unit: str
    accuracies: tuple[float, ...]
    samples: tuple[Path, ...]


@dataclass(frozen=True)
class GradientAttack:
    """Accuracy under an attack that follows the gradient, by how far from the image it may go.

    It is an upper bound of the robust accuracy: what an attack does not find may be there.

    Attributes:
        steps: along the gradient; one for `fgsm`.
        epsilons: radii, in pixels scaled to [0, 1].
        step_sizes: length of the first step at each radius; the later ones of `pgd` shrink unless a length was given.
        accuracies: share of all images that are right as they are, and under all that the attack tried up to a radius.
        examples: up to ten fooled images at each radius, of as many classes as there are.
        losses: that each image was attacked with; the worst result of it counts.
        restarts: random places that the search up each loss began at; none for `fgsm`.
        without_gradient: images at each radius that count as right because every search ended where the gradient is
            zero, so that the attack says nothing of them.
        bound: what the accuracies are of the robust accuracy.
    """

    attack: AttackName
    norm: Norm
    steps: int
    epsilons: tuple[float, ...]
    step_sizes: tuple[float, ...]
    accuracies: tuple[float, ...]
    examples: tuple[FooledImage, ...]
    losses: tuple[str, ...] = ()
    restarts: int = 0
    without_gradient: tuple[int, ...] = ()
    bound: Literal["upper"] = "upper"


@dataclass(frozen=True)
class FlipSearch:
    """The smallest severity of a corruption that makes the network change its right answer.

    Attributes:
        severities: one for each image that is right as it is, None where severity 5 and all below leave it right.
        numbers: of these images in their split.
        examples: those that take the least.
    """

    name: CorruptionName
    severities: tuple[float | None, ...]
    numbers: tuple[int, ...]
    examples: tuple[FooledImage, ...]

    @property
    def flipped(self) -> float:
        """Share of the images that some severity up to 5 flips."""
        return sum(value is not None for value in self.severities) / max(len(self.severities), 1)

    def quantile(self, share: float) -> float | None:
        """Return the severity by which this share of the images is flipped; None where 5 does not flip so many."""
        found = sorted(value for value in self.severities if value is not None)
        place = max(1, math.ceil(share * len(self.severities) - 1e-9))  # 0.1 of 30 is a little more than 3
        return found[place - 1] if place <= len(found) else None


@dataclass(frozen=True)
class FoolingImage:
    """An image of nothing that the network is sure about.

    Attributes:
        label: the class that it was made for.
        taken_for: what the network makes of the saved file, read as any other.
        probability: of `label` on the saved file.
        steps: that the search took.
        image: the PNG file; None where no folder was named.
    """

    label: str
    taken_for: str
    probability: float
    steps: int
    image: Path | None


@dataclass(frozen=True)
class FoolingSearch:
    """One image for each class.

    Attributes:
        confidence: that each has to be classified with.
        method: `gradient`, or `evolution` where the network gives none.
    """

    confidence: float
    method: Literal["gradient", "evolution"]
    images: tuple[FoolingImage, ...]

    @property
    def fooled(self) -> int:
        """How many classes have their image."""
        return sum(image.probability >= self.confidence for image in self.images)


@dataclass(frozen=True)
class Robustness:
    """How easily a network is fooled.

    Attributes:
        images: that were looked at, chosen by `seed` where they are not all of the split; 0 where none were needed.
            All accuracies are of these.
        accuracy: on these as they are; None where there are none.
        corruptions, attacks, flips, fooling: what was asked for; empty, or None, otherwise.
        notes: what was left out and why, and what no attack could follow, as sentences without their full stop.
        folder: that the images are in; None where none was named.
        warnings: what a user should know of the images and of the figures.
        split_images: in the whole split; 0 where none were needed.
        assumptions: about an ONNX file without a card, in words.
    """

    model: str
    engine: str
    data: str | None
    split: str | None
    images: int
    seed: int
    accuracy: float | None
    corruptions: tuple[CorruptionCurve, ...]
    attacks: tuple[GradientAttack, ...]
    flips: tuple[FlipSearch, ...]
    fooling: FoolingSearch | None
    notes: tuple[str, ...]
    folder: Path | None
    seconds: float
    warnings: tuple[str, ...] = ()
    assumptions: tuple[str, ...] = ()
    split_images: int = 0

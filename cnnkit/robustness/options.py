"""What an attack is asked to do; options that contradict each other are refused."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cnnkit.data.options import Choice
from cnnkit.errors import UsageError
from cnnkit.images import Preprocessing
from cnnkit.robustness.results import GRADIENT_ATTACKS, PARTS, Norm, Part

EPSILONS: dict[Norm, tuple[float, ...]] = {
    "linf": (0.01, 0.02, 0.05, 0.1, 0.2, 0.3),
    "l2": (0.25, 0.5, 1.0, 2.0, 3.0),
}
"""Radii where none are named: small ones for photographs, large ones for digits."""
STEPS = 20
"""Of `pgd`, where none are named."""


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
        choice: the images.
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
    choice: Choice = Choice()  # noqa: RUF009 - it is frozen

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

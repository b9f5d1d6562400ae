"""Steps of preprocessing that may make a prediction wrong, marked where they are made."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Self


class Caution(str):
    """A step of preprocessing that may make a prediction wrong: something was guessed, or left out.

    Attributes:
        kinds: the reasons in words that hold for many images alike, such as "the picture is blank".
    """

    __slots__ = ("kinds",)
    kinds: tuple[str, ...]

    def __new__(cls, step: str, *kinds: str) -> Self:
        """Mark a step."""
        caution = super().__new__(cls, step)
        caution.kinds = kinds
        return caution

    def __reduce__(self) -> tuple[type[Self], tuple[str, ...]]:
        return type(self), (str(self), *self.kinds)


def cautions(steps: Iterable[str]) -> tuple[Caution, ...]:
    """Return those of the steps that are cautions."""
    return tuple(step for step in steps if isinstance(step, Caution))


class Tally:
    """Counts images by the kinds of their cautions."""

    def __init__(self) -> None:
        self._images = 0
        self._kinds: Counter[str] = Counter()

    def add(self, steps: Iterable[str]) -> None:
        """Count one image."""
        self._images += 1
        self._kinds.update({kind: 1 for step in cautions(steps) for kind in step.kinds})

    def summed_up(self) -> Iterator[str]:
        """Yield a line a kind, such as "3 of 24 images: the picture is blank"; of a single image without the count."""
        for kind, count in self._kinds.items():
            yield kind if self._images == 1 else f"{count} of {self._images} images: {kind}"

"""What a network says about an image."""

from dataclasses import dataclass

_WARNINGS = (
    "guessed from this image",
    "of the picture kept",
    "by its upper 8 bits",
    "first of ",
    "blank: ",
    "does not fit that range",
)
"""Parts of steps that may make a prediction wrong."""


@dataclass(frozen=True)
class ClassScore:
    """One class and its probability."""

    label: str
    probability: float


@dataclass(frozen=True)
class Prediction:
    """What a network says about one image: the classes with the highest probability first.

    `steps` is what preprocessing did to the image.
    """

    source: str
    scores: tuple[ClassScore, ...]
    steps: tuple[str, ...]

    @property
    def label(self) -> str:
        """The most probable class."""
        return self.scores[0].label

    @property
    def probability(self) -> float:
        """Its probability."""
        return self.scores[0].probability

    @property
    def warnings(self) -> tuple[str, ...]:
        """Those steps that may make it wrong: something was guessed, or left out."""
        return tuple(step for step in self.steps if any(part in step for part in _WARNINGS))

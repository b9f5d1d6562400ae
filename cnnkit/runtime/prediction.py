"""What a network says about an image."""

from dataclasses import dataclass, field

from cnnkit.cautions import Caution, cautions


@dataclass(frozen=True)
class ClassScore:
    """One class and its probability."""

    label: str
    probability: float


@dataclass(frozen=True)
class Prediction:
    """What a network says about one image: the classes with the highest probability first.

    Where `independent`, each class has a probability by itself, so that they need not sum to 1.

    `steps` is what preprocessing did to the image; `warnings` are those steps that may make the prediction wrong, since
    something was guessed, or left out.
    """

    source: str
    scores: tuple[ClassScore, ...]
    steps: tuple[str, ...]
    independent: bool = False
    warnings: tuple[Caution, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "warnings", cautions(self.steps))

    @property
    def label(self) -> str:
        """The most probable class."""
        return self.scores[0].label

    @property
    def probability(self) -> float:
        """Its probability."""
        return self.scores[0].probability

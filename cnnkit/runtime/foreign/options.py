"""What a user can say about a network that carries no model card."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypedDict, Unpack, get_args

from cnnkit.errors import UsageError
from cnnkit.files import expanded
from cnnkit.options import Option, flag, parse_shape

if TYPE_CHECKING:
    from cnnkit.card import ModelCard
    from cnnkit.images import Preprocessing

Preset = Literal["imagenet", "mnist"]
Pixels = Literal["unit", "byte", "signed"]
Order = Literal["rgb", "bgr"]
Scores = Literal["logits", "softmax", "log-softmax", "sigmoid", "sigmoid-logits", "percent"]


PANEL = "ONNX files of others, which carry no model card"
_EACH = "numbers separated by commas, one for each channel"


class Described(TypedDict, total=False):
    """`ForeignOptions` as parameters of a function; None, or nothing, where nothing is said."""

    labels: Annotated[
        str | Path | Sequence[str] | None, Option("Names of the classes: text, a label a line, or JSON.", PANEL)
    ]
    input_shape: Annotated[
        tuple[int, int, int] | None,
        Option(
            "Input shape, as in 3x224x224, where the file or the network leaves it open.",
            PANEL,
            flag="--input",
            metavar="CxHxW",
            parse=parse_shape,
        ),
    ]
    pixels: Annotated[
        Pixels | None,
        Option("Scale of the pixels: unit (0 to 1), byte (0 to 255) or signed (-1 to 1).", PANEL),
    ]
    mean: Annotated[
        Sequence[float] | None,
        Option("Mean of each channel, as in 0.485,0.456,0.406.", PANEL, several=True, parse=float, expects=_EACH),
    ]
    std: Annotated[
        Sequence[float] | None,
        Option("Standard deviation of each channel.", PANEL, several=True, parse=float, expects=_EACH),
    ]
    channel_order: Annotated[Order | None, Option("Order of the colours: {choices}.", PANEL)]
    preprocess: Annotated[Preset | None, Option("Preprocessing: {choices}.", PANEL)]
    scores: Annotated[Scores | None, Option("What the file gives: {choices}.", PANEL)]
    preprocessing: "Preprocessing | None"
    card: "ModelCard | None"


class DescribedModule(TypedDict, total=False):
    """What is said of an `nn.Module`, as parameters of a function."""

    labels: str | Path | Sequence[str] | None
    preprocessing: "Preprocessing | None"
    card: "ModelCard | None"


CHOICES: dict[str, tuple[str, ...]] = {
    "preprocess": get_args(Preset), "pixels": get_args(Pixels), "channel_order": get_args(Order),
    "scores": get_args(Scores),
}  # fmt: skip


@dataclass(frozen=True)
class ForeignOptions:
    """What the user says about a network without a card; None where nothing was said.

    Attributes:
        labels: the classes' names, or a file of them (see `cnnkit.runtime.foreign.labels`).
        mean, std: a value for each channel, in the units of `pixels`, in the order that the network takes.
        preprocess: `imagenet`: resize, crop, mean and std of that training; `mnist`: a drawn symbol is brought to the
            form of those digits, light on black.
        input_shape: channels, height and width, where the file leaves them open.
        pixels: what pixels are scaled to: `unit` [0, 1], `byte` [0, 255] or `signed` [-1, 1].
        channel_order: of the three colours.
        scores: what the file gives: logits, probabilities of one class among all (`softmax`), their logarithms, or
            percentages; or probabilities of each class by itself (`sigmoid`), or their logits.
        preprocessing: of an `nn.Module`, in place of all but the labels.
        card: of an `nn.Module`, in place of all else.
    """

    labels: Path | tuple[str, ...] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    preprocess: Preset | None = None
    input_shape: tuple[int, int, int] | None = None
    pixels: Pixels | None = None
    channel_order: Order | None = None
    scores: Scores | None = None
    preprocessing: "Preprocessing | None" = None
    card: "ModelCard | None" = None

    def __post_init__(self) -> None:
        for name, allowed in CHOICES.items():
            value = getattr(self, name)
            if value is not None and value not in allowed:
                raise UsageError(f"{option(name)} {value!r}: expected {' or '.join(allowed)}.")
        shape = self.input_shape
        if shape is not None and not (len(shape) == 3 and all(isinstance(side, int) and side > 0 for side in shape)):
            raise UsageError(f"--input {shape}: expected channels, height and width, as in 3x224x224.")
        if self.preprocess == "imagenet" and self.pixels not in {None, "unit"}:
            raise UsageError("--preprocess imagenet scales pixels to [0, 1]; leave out --pixels.")

    @classmethod
    def of(cls, **said: Unpack[Described]) -> Self:
        """Return what the parameters of a function say.

        Raises:
            UsageError: a value that is none of those there are.
        """
        given: dict[str, Any] = dict(said)
        for name in ("mean", "std"):
            given[name] = tuple(given[name]) if given.get(name) is not None else None
        labels = said.get("labels")
        given["labels"] = expanded(labels) if labels is None or isinstance(labels, str | Path) else tuple(labels)
        return cls(**given)

    def __bool__(self) -> bool:
        return bool(self.given)

    @property
    def given(self) -> dict[str, object]:
        """The options that say something, by field."""
        return {each.name: value for each in fields(self) if (value := getattr(self, each.name)) is not None}

    @property
    def listed(self) -> str:
        """Names of the options that say something, for an error."""
        return ", ".join(map(option, self.given))


def option(field: str) -> str:
    """Return the option of the command line for a field."""
    return "--input" if field == "input_shape" else flag(field)

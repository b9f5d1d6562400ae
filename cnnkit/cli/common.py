"""What commands share: the options that mean the same everywhere."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

from cnnkit.errors import UsageError
from cnnkit.runtime.foreign import options
from cnnkit.words import quoted

if TYPE_CHECKING:
    from cnnkit.runtime.foreign.options import Described

T = TypeVar("T")


def without_options(arguments: Sequence[str], *names: str) -> list[str]:
    """Return a command line without some options and their values."""
    kept: list[str] = []
    given = iter(arguments)
    for argument in given:
        if argument in names:
            next(given)
        elif argument.partition("=")[0] not in names:
            kept.append(argument)
    return kept


def emit(ctx: typer.Context, result: T, draw: Callable[[T], None]) -> None:
    """Show a result: as JSON where `--json` asked for it, else drawn by `draw`."""
    if ctx.obj["json"]:
        from cnnkit.render import envelope

        envelope.write(ctx.info_name or "", result)
    else:
        draw(result)


DEVICES = ("auto", "cpu", "cuda", "cuda:0")


def _remember_json(ctx: typer.Context, value: bool) -> bool:
    if value and ctx.obj is not None:
        ctx.obj["json"] = True
    return value


def parse_shape(text: str) -> tuple[int, int, int]:
    """Parse `3x32x32`, channels × height × width."""
    parts = text.lower().replace("×", "x").split("x")
    if len(parts) != 3 or not all(p.isdigit() and int(p) > 0 for p in parts):
        raise typer.BadParameter(f"{text!r} is not channels × height × width, as in 3x32x32")
    channels, height, width = map(int, parts)
    return channels, height, width


def complete_model(incomplete: str) -> list[str]:
    """Offer models, zoo entries, runs and ONNX files; nothing here imports PyTorch."""
    from cnnkit import registry, zoo

    runs = [str(path.parent) for path in Path("runs").glob("*/best.safetensors")]
    files = [str(path) for path in Path().glob("*.onnx")]
    return [
        name
        for name in [*registry.models(), *zoo.entries(), *sorted(runs), *sorted(files)]
        if name.startswith(incomplete)
    ]


def complete_run(incomplete: str) -> list[str]:
    """Offer the run folders that can be resumed."""
    return [
        run
        for run in sorted(str(path.parent) for path in Path("runs").glob("*/run.toml"))
        if run.startswith(incomplete)
    ]


def offer(*choices: str) -> Callable[[str], list[str]]:
    """Return what offers these values of an option to the shell."""
    return lambda incomplete: [choice for choice in choices if choice.startswith(incomplete)]


def _known_device(text: str) -> str:
    if text not in DEVICES:
        from cnnkit.runtime.providers import parse_device

        parse_device(text)
    return text


def complete_data(incomplete: str) -> list[str]:
    """Offer data sets and the folders here."""
    from cnnkit.data.sets import names

    folders = sorted(f"./{path.name}" for path in Path().iterdir() if path.is_dir() and not path.name.startswith("."))
    return [name for name in [*names(), *folders] if name.startswith(incomplete)]


def in_panel(text: str, panel: str, *names: str, **more: Any) -> Any:
    """Return an option that the help shows in a panel of its own."""
    return typer.Option(*names, help=text, rich_help_panel=panel, **more)


Json = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON envelope instead of tables.", callback=_remember_json, is_eager=True),
]
ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", help="Model reference.", autocompletion=complete_model)]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir", help="Folder with MNIST/, FashionMNIST/ … Default: $CNNKIT_DATA, else the cache folder."
    ),
]
Data = Annotated[
    str | None,
    typer.Option(help="Data set or image folder. Default: what it was trained on.", autocompletion=complete_data),
]
Split = Annotated[
    Literal["train", "validation", "test", "all"] | None,  # those of cnnkit.data.splits, which loads numpy
    typer.Option(
        help="Images to use: train, validation, test or all. Default: test; without a test set validation; all of a "
        "folder it never saw."
    ),
]
SkipDamaged = Annotated[bool, typer.Option("--skip-damaged", help="Leave out files that cannot be decoded.")]
Device = Annotated[
    str,
    typer.Option(
        "--device",
        help="Device to run on: auto, cpu, cuda, cuda:N; for ONNX files also tensorrt.",
        autocompletion=offer(*DEVICES, "tensorrt"),
        callback=_known_device,
    ),
]
TorchDevice = Annotated[
    str,
    typer.Option(
        "--device",
        help="Device to run on: auto, cpu, cuda or cuda:N.",
        autocompletion=offer(*DEVICES),
        callback=_known_device,
    ),
]
TrustCode = Annotated[
    bool, typer.Option("--trust-code", help="Import the network that a checkpoint names as module:factory.")
]
BatchSize = Annotated[int, typer.Option(help="Images that go through the network together.", min=1)]
_FOREIGN = "ONNX files of others, which carry no model card"
Labels = Annotated[Path | None, in_panel("Names of the classes: text, a label a line, or JSON.", _FOREIGN)]
Mean = Annotated[str | None, in_panel("Mean of each channel, as in 0.485,0.456,0.406.", _FOREIGN)]
Std = Annotated[str | None, in_panel("Standard deviation of each channel.", _FOREIGN)]
Preprocess = Annotated[options.Preset | None, in_panel("Preprocessing: imagenet or mnist.", _FOREIGN)]
Pixels = Annotated[
    options.Pixels | None,
    in_panel("Scale of the pixels: unit (0 to 1), byte (0 to 255) or signed (-1 to 1).", _FOREIGN),
]
ChannelOrder = Annotated[options.Order | None, in_panel("Order of the colours: rgb or bgr.", _FOREIGN)]
Scores = Annotated[
    options.Scores | None,
    in_panel("What the file gives: logits, softmax, log-softmax, sigmoid, sigmoid-logits or percent.", _FOREIGN),
]
ForeignShape = Annotated[
    str | None,
    in_panel("Input shape, where the file leaves it open, as in 3x224x224.", _FOREIGN, "--input", metavar="CxHxW"),
]
Shape = Annotated[
    str | None,
    typer.Option("--input", metavar="CxHxW", help="Input shape, as in 3x32x32. Default: the network's own."),
]


def shape_of(text: str | None) -> tuple[int, int, int] | None:
    """Parse an `--input` that may be absent."""
    return None if text is None else parse_shape(text)


def foreign_options(context: typer.Context) -> "Described":
    """Return what the command line says of an ONNX file without a card, by the parameters of `cnnkit.load`.

    Raises:
        UsageError: one of them does not make sense.
    """
    given = context.params
    return {
        "labels": given["labels"],
        "mean": numbers(given["mean"], "--mean"),
        "std": numbers(given["std"], "--std"),
        "input_shape": shape_of(given["input"]),
        "preprocess": given["preprocess"],
        "pixels": given["pixels"],
        "channel_order": given["channel_order"],
        "scores": given["scores"],
    }


def require_suffix(path: Path | None, suffix: str, option: str) -> None:
    """Make sure that a file is named for what it will hold: other commands and programs go by it.

    Raises:
        UsageError: it is not.
    """
    if path is not None and path.suffix.lower() != suffix:
        raise UsageError(f"{option} {path}: the name must end in {suffix}.")


def is_model(argument: str) -> bool:
    """Whether an argument names a model, and is no other file that is there."""
    from cnnkit import registry, zoo

    path = Path(argument)
    is_file = path.suffix.lower() in registry.MODEL_FILES or (path.is_dir() and (path / registry.BEST).is_file())
    return is_file or (not path.exists() and (argument in registry.models() or argument in zoo.entries()))


def refuse_model(argument: str, command: str, others: Sequence[str] = ()) -> None:
    """Make sure that what stands where images do is no model; `others` stand there too.

    Raises:
        UsageError: it is one; `command` takes images.
    """
    if is_model(argument):
        images = " ".join(map(quoted, others)) or "IMAGE"
        raise UsageError(f"{argument} is a model, and an image is expected here: {command} {images} --model {argument}")


def names(text: str | None) -> Any:
    """Parse names separated by commas, each of them once; None stays None."""
    return None if text is None else tuple(dict.fromkeys(part.strip() for part in text.split(",")))


def numbers(text: str | None, option: str) -> tuple[float, ...] | None:
    """Parse numbers separated by commas, which may be absent.

    Raises:
        UsageError: they are no numbers.
    """
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"{option} {text!r}: expected numbers separated by commas, one for each channel.") from None

"""What commands share: the options that mean the same everywhere."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from cnnkit.cli.completion import complete_model
from cnnkit.errors import UsageError
from cnnkit.words import quoted

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


def _remember_json(ctx: typer.Context, value: bool) -> bool:
    if value and ctx.obj is not None:
        ctx.obj["json"] = True
    return value


Json = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON envelope instead of tables.", callback=_remember_json, is_eager=True),
]
ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", help="Model reference.", autocompletion=complete_model)]


def require_suffix(path: Path | None, suffix: str, option: str) -> None:
    """Make sure that a file is named for what it will hold: other commands and programs go by it.

    Raises:
        UsageError: it is not.
    """
    if path is not None and path.suffix.lower() != suffix:
        raise UsageError(f"{option} {path}: the name must end in {suffix}.")


def refuse_model(argument: str, command: str, others: Sequence[str] = ()) -> None:
    """Make sure that what stands where images do is no model; `others` stand there too.

    Raises:
        UsageError: it is one; `command` takes images.
    """
    from cnnkit.sources import is_model

    if is_model(argument):
        images = " ".join(map(quoted, others)) or "IMAGE"
        raise UsageError(f"{argument} is a model, and an image is expected here: {command} {images} --model {argument}")

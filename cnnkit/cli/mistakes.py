"""`cnnkit mistakes`."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from cnnkit.cli.common import Json, ModelArgument, emit
from cnnkit.cli.fields import OptionsOf
from cnnkit.evaluation.mistakes import find_mistakes
from cnnkit.evaluation.results import Mistakes
from cnnkit.files import require_writable
from cnnkit.progress import Steps
from cnnkit.registry import short_name


def command(
    context: typer.Context,
    model: ModelArgument,
    *,
    found: Annotated[partial[Steps[Mistakes]], OptionsOf(find_mistakes.steps)],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Folder for page, PNG and JSON. Default: mistakes-NAME."),
    ] = None,
    json: Json = False,
) -> None:
    """Show the images that a network gets most wrong, what it confuses, and labels that may be wrong.

    Beside each image stands the nearest training image: by the input of the last layer of a PyTorch network, by the
    logits of an ONNX file. Writes mistakes.html, mistakes.png and mistakes.json.
    """
    from cnnkit.render import console, mistakes, progress

    folder = output or Path(f"mistakes-{short_name(model)}")
    require_writable(folder)
    result = progress.follow(found(model), f"looking for mistakes of {model}")
    written = mistakes.write(result, folder)
    console.undrawn(text for each in result.worst for text in (each.label, each.predicted))
    emit(context, result, mistakes.show)
    for file in written:
        console.note(str(file))

"""`cnnkit explain`."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from cnnkit.cli.common import Json, refuse_model
from cnnkit.cli.completion import complete_model
from cnnkit.cli.fields import OptionsOf
from cnnkit.inspection.explain import explain
from cnnkit.inspection.explanations import Explanation
from cnnkit.progress import Steps


def command(
    context: typer.Context,
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="An image file.")],
    *,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", help="Model reference. Default: digits, of the zoo.", autocompletion=complete_model
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="DIR", help="Folder for the page and its pictures. Default: explain-IMAGE."
        ),
    ] = None,
    terminal: Annotated[
        bool, typer.Option("--terminal", help="Draw a small version here, and write a folder only where -o names one.")
    ] = False,
    explained: Annotated[partial[Steps[Explanation]], OptionsOf(explain.steps)],
    json: Json = False,
) -> None:
    """Show what a network sees in an image, and what its answer rests on.

    A PyTorch network shows the feature maps of its layers, its filters, Grad-CAM and integrated gradients
    (pip install captum); every network, an ONNX file without PyTorch too, its occlusion sensitivity. All of it is on
    one page, index.html, and in PNG files beside it.
    """
    from cnnkit.render import blocks, envelope, explanation, progress
    from cnnkit.zoo import DEFAULT_CLASSIFIER

    refuse_model(str(image), "cnnkit explain")
    folder = output if output is not None or terminal else Path(f"explain-{image.stem}")
    if folder is not None:
        explanation.require_own(folder)
    found = progress.follow(explained(image, model or DEFAULT_CLASSIFIER), f"explaining {image}")
    files = [] if folder is None else explanation.save(found, folder)
    if context.obj["json"]:
        envelope.write("explain", {**envelope.plain(found), "folder": folder, "files": files})
        return
    if terminal:
        blocks.show(found)
    if folder is not None:
        explanation.written(found, folder, files, briefly=terminal)

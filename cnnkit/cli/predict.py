"""`cnnkit predict`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from cnnkit.cli.common import (
    Device,
    Json,
    Labels,
    Mean,
    Preprocess,
    Std,
    TrustCode,
    complete_model,
    load_classifier,
)
from cnnkit.errors import ImageError, UsageError


def command(
    context: typer.Context,
    images: Annotated[list[str], typer.Argument(metavar="IMAGE…", help="Files, folders, globs, or - for stdin.")],
    *,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", help="Model reference. Default: digits, of the zoo.", autocompletion=complete_model
        ),
    ] = None,
    top: Annotated[int, typer.Option(help="Classes to show for each image.", min=1)] = 5,
    batch_size: Annotated[int, typer.Option(help="Images that go through the network together.", min=1)] = 64,
    labels: Labels = None,
    mean: Mean = None,
    std: Std = None,
    preprocess: Preprocess = None,
    trust_code: TrustCode = False,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Classify images; the default model reads digits as people draw them."""
    from cnnkit import api
    from cnnkit.render import console, envelope, predictions

    sources = [_standard_input() if path is None else path for path in find_images(images)]
    classifier = load_classifier(
        model or api.DEFAULT_CLASSIFIER,
        device=device,
        labels=labels,
        mean=mean,
        std=std,
        preprocess=preprocess,
        trust_code=trust_code,
    )
    found, bad = predictions.collect(classifier.stream(sources, top=top, batch_size=batch_size), len(sources))
    if context.obj["json"]:
        errors = [(error.code, str(error)) for error in bad]
        data = {"model": classifier.name, "engine": classifier.network.engine, "assumptions": classifier.assumptions}
        envelope.write("predict", {**data, "predictions": found}, errors=errors, status="error" if bad else "ok")
    else:
        predictions.show(
            found, classifier.name, classifier.network.engine, classifier.assumptions, trained=classifier.card.trained
        )
        for error in bad:
            console.error(str(error))
    if bad:
        raise typer.Exit(ImageError.exit_code)


def _standard_input() -> bytes:
    from cnnkit.images import MAX_BYTES

    # One byte over the cap is enough to be refused for it.
    return sys.stdin.buffer.read(MAX_BYTES + 1)


def find_images(arguments: list[str]) -> list[Path | None]:
    """Turn files, folders and globs into image files, in order; `-` becomes None.

    Raises:
        UsageError: `-` more than once.
        ImageError: a folder or glob without images. A single file is not looked at yet.
    """
    from cnnkit.images import SUFFIXES, is_image_file

    if arguments.count("-") > 1:
        raise UsageError("standard input can be read once only; give - once.")
    found: list[Path | None] = []
    for argument in arguments:
        path = Path(argument)
        if argument == "-":
            found.append(None)
        elif path.is_dir():
            inside = sorted(p for p in path.rglob("*") if is_image_file(p))
            if not inside:
                raise ImageError(f"the folder {argument} has no images ({', '.join(sorted(SUFFIXES))}).")
            found += inside
        elif not path.exists() and any(character in argument for character in "*?["):
            # The shell leaves a quoted glob, and on Windows every glob, to the program.
            matched = sorted(
                p for p in Path(path.anchor or ".").glob(str(path.relative_to(path.anchor))) if p.is_file()
            )
            if not matched:
                raise ImageError(f"nothing matches {argument}.")
            found += matched
        else:
            found.append(path)
    return found

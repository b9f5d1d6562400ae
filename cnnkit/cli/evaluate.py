"""`cnnkit evaluate`."""

from pathlib import Path
from typing import Annotated

import typer

from cnnkit.cli.common import DataDir, Device, Json, ModelArgument, complete_data, emit
from cnnkit.errors import AccuracyError, UsageError


def command(
    context: typer.Context,
    model: ModelArgument,
    *,
    data: Annotated[
        str | None,
        typer.Option(help="Data set or image folder. Default: what it was trained on.", autocompletion=complete_data),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(help="train, validation, test or all. Default: test, and all of a folder it never saw."),
    ] = None,
    data_dir: DataDir = None,
    batch_size: Annotated[int, typer.Option(help="Images that go through the network together.", min=1)] = 256,
    top_k: Annotated[int, typer.Option(help="For the top-k accuracy.", min=1)] = 5,
    min_accuracy: Annotated[
        float | None, typer.Option(help="Exit 3 below this accuracy, as in 0.98.", min=0, max=1)
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Write the confusion matrix to this PNG.")] = None,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Measure a trained network: accuracy, loss, per-class scores, confusion matrix, calibration."""
    from cnnkit import api
    from cnnkit.render import plots, progress, tables

    if split not in {None, "train", "validation", "test", "all"}:
        raise UsageError(f"there is no split {split!r}; expected train, validation, test or all.")
    steps = api.evaluation_steps(
        model, data=data, split=split, data_dir=data_dir, batch_size=batch_size, top_k=top_k, device=device
    )
    result = progress.follow(steps, f"evaluating {model}")
    if plot is not None:
        plots.confusion(result, plot)
    if min_accuracy is not None and result.accuracy < min_accuracy:
        if not context.obj["json"]:
            tables.evaluation(result)
        raise AccuracyError(
            f"the accuracy is {result.accuracy:.4f}, below the {min_accuracy:g} asked for.", result=result
        )
    emit(context, result, tables.evaluation)

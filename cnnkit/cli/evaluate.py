"""`cnnkit evaluate`."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from cnnkit.cli.common import Json, ModelArgument, emit, require_suffix
from cnnkit.cli.fields import OptionsOf
from cnnkit.errors import AccuracyError
from cnnkit.evaluation.accuracy import evaluate
from cnnkit.evaluation.results import Evaluation
from cnnkit.files import require_writable
from cnnkit.options import Option
from cnnkit.progress import Steps
from cnnkit.words import counted, percent


def command(
    context: typer.Context,
    model: ModelArgument,
    *,
    measured: Annotated[partial[Steps[Evaluation]], OptionsOf(evaluate.steps)],
    min_accuracy: Annotated[float | None, Option("Exit 3 below this accuracy, as in 0.98.", ge=0, le=1)] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the confusion matrix to this PNG.")] = None,
    json: Json = False,
) -> None:
    """Measure a network: accuracy, loss, per-class scores, confusion matrix, calibration."""
    from cnnkit.render import console, plots, progress, tables

    require_suffix(plot, ".png", "--plot")
    if plot is not None:
        require_writable(plot.parent)
    result = progress.follow(measured(model), f"evaluating {model}")
    if plot is not None:
        plots.confusion(result, plot)
        console.undrawn([result.model, result.data, *(row.label for row in result.classes)])
        console.note(f"confusion matrix: {plot}")
    if min_accuracy is not None and not result.accuracy >= min_accuracy:
        if not context.obj["json"]:
            tables.evaluation(result)
        right = sum(row[i] for i, row in enumerate(result.confusion))
        raise AccuracyError(
            f"{right:,} of {counted(result.images, 'image')} right ({percent(result.accuracy, of=result.images)}) "
            f"is less than --min-accuracy {min_accuracy:g} asks for.",
            result=result,
        )
    emit(context, result, tables.evaluation)

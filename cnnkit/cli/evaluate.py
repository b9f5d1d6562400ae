"""`cnnkit evaluate`."""

from pathlib import Path
from typing import Annotated

import typer

from cnnkit.cli.common import (
    BatchSize,
    ChannelOrder,
    Data,
    DataDir,
    Device,
    Json,
    Labels,
    Mean,
    ModelArgument,
    Pixels,
    Preprocess,
    Scores,
    Shape,
    SkipDamaged,
    Split,
    Std,
    TrustCode,
    emit,
    foreign_options,
    require_suffix,
)
from cnnkit.errors import AccuracyError
from cnnkit.files import require_writable
from cnnkit.words import counted, percent


def command(
    context: typer.Context,
    model: ModelArgument,
    *,
    data: Data = None,
    split: Split = None,
    data_dir: DataDir = None,
    skip_damaged: SkipDamaged = False,
    batch_size: BatchSize = 256,
    top_k: Annotated[
        int, typer.Option(help="Classes that the top-k accuracy looks among, fewer than there are.", min=1)
    ] = 5,
    min_accuracy: Annotated[
        float | None, typer.Option(help="Exit 3 below this accuracy, as in 0.98.", min=0, max=1)
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the confusion matrix to this PNG.")] = None,
    labels: Labels = None,
    pixels: Pixels = None,
    mean: Mean = None,
    std: Std = None,
    channel_order: ChannelOrder = None,
    preprocess: Preprocess = None,
    scores: Scores = None,
    untrained: Annotated[
        bool, typer.Option("--untrained", help="Give MODEL, an architecture, random weights.")
    ] = False,
    seed: Annotated[int | None, typer.Option(help="Seed of the random weights. Default: 0.", min=0)] = None,
    input: Shape = None,
    trust_code: TrustCode = False,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Measure a network: accuracy, loss, per-class scores, confusion matrix, calibration."""
    from cnnkit.evaluation.accuracy import evaluate
    from cnnkit.render import console, plots, progress, tables

    require_suffix(plot, ".png", "--plot")
    if plot is not None:
        require_writable(plot.parent)
    steps = evaluate.steps(
        model,
        data=data,
        split=split,
        data_dir=data_dir,
        batch_size=batch_size,
        top_k=top_k,
        skip_damaged=skip_damaged,
        device=device,
        trust_code=trust_code,
        untrained=untrained,
        seed=seed,
        **foreign_options(context),
    )
    result = progress.follow(steps, f"evaluating {model}")
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

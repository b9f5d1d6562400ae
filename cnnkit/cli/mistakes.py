"""`cnnkit mistakes`."""

from pathlib import Path
from typing import Annotated

import typer

from cnnkit.cli.common import (
    BatchSize,
    ChannelOrder,
    Data,
    DataDir,
    Device,
    ForeignShape,
    Json,
    Labels,
    Mean,
    ModelArgument,
    Pixels,
    Preprocess,
    Scores,
    SkipDamaged,
    Split,
    Std,
    TrustCode,
    emit,
    foreign_options,
)
from cnnkit.files import require_writable
from cnnkit.registry import short_name


def command(
    context: typer.Context,
    model: ModelArgument,
    *,
    data: Data = None,
    split: Split = None,
    data_dir: DataDir = None,
    skip_damaged: SkipDamaged = False,
    top: Annotated[int, typer.Option(help="How many mistakes, and labels to check, to keep.", min=1)] = 36,
    batch_size: BatchSize = 256,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Folder for page, PNG and JSON. Default: mistakes-NAME."),
    ] = None,
    labels: Labels = None,
    input: ForeignShape = None,
    pixels: Pixels = None,
    mean: Mean = None,
    std: Std = None,
    channel_order: ChannelOrder = None,
    preprocess: Preprocess = None,
    scores: Scores = None,
    trust_code: TrustCode = False,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Show the images that a network gets most wrong, what it confuses, and labels that may be wrong.

    Beside each image stands the nearest training image: by the input of the last layer of a PyTorch network, by the
    logits of an ONNX file. Writes mistakes.html, mistakes.png and mistakes.json.
    """
    from cnnkit.evaluation.mistakes import find_mistakes
    from cnnkit.render import console, mistakes, progress

    folder = output or Path(f"mistakes-{short_name(model)}")
    require_writable(folder)
    steps = find_mistakes.steps(
        model,
        data=data,
        split=split,
        data_dir=data_dir,
        top=top,
        batch_size=batch_size,
        skip_damaged=skip_damaged,
        device=device,
        trust_code=trust_code,
        **foreign_options(context),
    )
    result = progress.follow(steps, f"looking for mistakes of {model}")
    written = mistakes.write(result, folder)
    console.undrawn(text for each in result.worst for text in (each.label, each.predicted))
    emit(context, result, mistakes.show)
    for file in written:
        console.note(str(file))

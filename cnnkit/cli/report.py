"""`cnnkit report`."""

from pathlib import Path
from typing import Annotated

import typer

from cnnkit.cli.common import (
    ChannelOrder,
    Data,
    DataDir,
    Device,
    ForeignShape,
    Json,
    Labels,
    Mean,
    Pixels,
    Preprocess,
    Scores,
    SkipDamaged,
    Std,
    TrustCode,
    complete_model,
    emit,
    foreign_options,
    names,
    offer_several,
    require_suffix,
)
from cnnkit.results.report import SECTIONS


def command(
    context: typer.Context,
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="Run folder, or any model reference.", autocompletion=complete_model)
    ],
    *,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Page to write. Default: RUN/report.html; without a run, report-NAME.html.",
        ),
    ] = None,
    without: Annotated[
        str | None,
        typer.Option(
            metavar="SECTIONS",
            help=f"Leave out some of these, separated by commas: {', '.join(SECTIONS)}.",
            autocompletion=offer_several(*SECTIONS),
        ),
    ] = None,
    images: Annotated[
        int | None,
        typer.Option(
            help="Images to corrupt and attack, chosen by seed; 0: all.", min=0, show_default="500, fewer if large"
        ),
    ] = None,
    data: Data = None,
    data_dir: DataDir = None,
    skip_damaged: SkipDamaged = False,
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
    """Write all that is known of a run to one page: network and data, how well it does, where it fails.

    The page is one HTML file that needs nothing else: recipe, curves, confusion, calibration, worst mistakes,
    corruptions, attacks, parity of the ONNX file, speed and layers. What is unavailable says why in its place.
    """
    from cnnkit.render import console, progress
    from cnnkit.render.report import default_place, require_place, show
    from cnnkit.reporting.report import report

    path = output or default_place(run)
    require_place(path)
    require_suffix(output, ".html", "--output")
    steps = report.steps(
        run,
        without=names(without) or (),
        data=data,
        data_dir=data_dir,
        skip_damaged=skip_damaged,
        images=images,
        device=device,
        trust_code=trust_code,
        output=path,
        **foreign_options(context),
    )
    result = progress.follow(steps, f"reporting on {run}")
    emit(context, result, show)
    console.note(str(path))

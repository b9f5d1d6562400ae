"""`cnnkit report`."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from cnnkit.cli.common import Json, emit, require_suffix
from cnnkit.cli.completion import complete_model
from cnnkit.cli.fields import OptionsOf
from cnnkit.progress import Steps
from cnnkit.reporting.report import report
from cnnkit.reporting.results import Report


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
    reported: Annotated[partial[Steps[Report]], OptionsOf(report.steps)],
    json: Json = False,
) -> None:
    """Write all that is known of a run to one page: network and data, how well it does, where it fails.

    The page is one HTML file that needs nothing else: recipe, curves, confusion, calibration, worst mistakes,
    corruptions, attacks, parity of the ONNX file, speed and layers. What is unavailable says why in its place.
    """
    from cnnkit.render import console, progress
    from cnnkit.render.report import default_place, require_place, show

    path = output or default_place(run)
    require_place(path)
    require_suffix(output, ".html", "--output")
    result = progress.follow(reported(run, output=path), f"reporting on {run}")
    emit(context, result, show)
    console.note(str(path))

"""`cnnkit benchmark`."""

from collections.abc import Generator, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from cnnkit.cli.common import Json, emit, require_suffix
from cnnkit.cli.completion import complete_model
from cnnkit.cli.fields import OptionsOf, changed
from cnnkit.errors import CnnkitError, UsageError
from cnnkit.files import require_writable
from cnnkit.inspection.benchmark import benchmark
from cnnkit.runtime.results import Benchmark, BenchmarkStep


def command(
    context: typer.Context,
    models: Annotated[
        list[str],
        typer.Argument(metavar="MODEL…", help="ONNX files, or model references.", autocompletion=complete_model),
    ],
    *,
    measured: Annotated[partial[Generator[BenchmarkStep, None, Benchmark]], OptionsOf(benchmark.steps)],
    plot: Annotated[
        Path | None, typer.Option(help="Draw throughput and latency over the batch size to this PNG.")
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="Write the measurements to this CSV file.")] = None,
    tune: Annotated[
        bool,
        typer.Option("--tune", help="Try provider options on a file; the fastest go into its card."),
    ] = False,
    json: Json = False,
) -> None:
    """Measure latency, throughput and memory on onnxruntime, and say what is faster and what only looks so.

    Candidates of a batch size take turns after a warm-up, so that a noisy machine is noisy for all; what differs by
    less than the noise is called no difference. ONNX files and zoo entries need no PyTorch; anything else is exported
    first.
    """
    from cnnkit.render import benchmarks, console, envelope, plots

    if tune:
        if plot or csv or not set(changed(measured)) <= {"devices", "batches", "seconds"}:
            raise UsageError("--tune takes one file, one --device and one --batch, and none of the other options.")
        _tune(context, models, **measured.keywords)
        return
    require_suffix(plot, ".png", "--plot")
    require_suffix(csv, ".csv", "--csv")
    for path in (plot, csv):
        if path is not None:
            require_writable(path.parent)
    if plot is not None:
        plots.require_matplotlib()
    result = benchmarks.follow(measured(*models))
    if not context.obj["json"]:
        # Before the files, so that one that cannot be written takes nothing with it.
        benchmarks.tables(result)
    if csv is not None:
        benchmarks.write_csv(result, csv)
        console.note(f"measurements: {csv}")
    if plot is not None:
        plots.benchmark(result, plot)
        console.undrawn(row.model for row in result.measurements)
        console.note(f"plot: {plot}")
    if context.obj["json"]:
        errors = [(failure.code, failure.message) for failure in result.failures]
        envelope.write("benchmark", result, errors=errors, status="error" if errors else "ok")
    else:
        for failure in result.failures:
            console.error(failure.message)
    if result.failures:
        raise typer.Exit(CnnkitError.exit_code)


def _tune(
    context: typer.Context,
    models: list[str],
    devices: Sequence[str],
    seconds: float,
    batches: Sequence[int] = (32,),
    **others: object,
) -> None:
    from cnnkit.exporting.tune import tune
    from cnnkit.render import progress, tuning

    if len(models) > 1 or len(devices) > 1 or len(batches) > 1:
        raise UsageError("--tune takes one file, one --device and one --batch at a time.")
    with progress.working(f"trying provider options on {models[0]}"):
        result = tune(models[0], device=devices[0], batch=batches[0], seconds=seconds)
    emit(context, result, tuning.tuning)

"""`cnnkit benchmark`."""

from pathlib import Path
from typing import Annotated

import typer

from cnnkit.cli.common import DEVICES, Json, Shape, TrustCode, complete_model, emit, offer, require_suffix, shape_of
from cnnkit.errors import CnnkitError, UsageError
from cnnkit.files import require_writable


def command(
    context: typer.Context,
    models: Annotated[
        list[str],
        typer.Argument(metavar="MODEL…", help="ONNX files, or model references.", autocompletion=complete_model),
    ],
    *,
    device: Annotated[
        str,
        typer.Option(
            help="Devices to run on: auto, cpu, cuda, cuda:N, tensorrt, or several: cpu,cuda.",
            autocompletion=offer(*DEVICES, "tensorrt"),
        ),
    ] = "auto",
    batch: Annotated[
        str | None, typer.Option(metavar="N,N…", help="Batch sizes. Default: 1,8,32,256, or the one that a file fixes.")
    ] = None,
    threads: Annotated[
        str | None, typer.Option(metavar="N,N…", help="Threads inside an operator, on the CPU. Default: one a core.")
    ] = None,
    torch: Annotated[bool, typer.Option("--torch", help="Measure PyTorch as well, eager and compiled.")] = False,
    seconds: Annotated[float, typer.Option(help="Seconds to spend on each contender at each batch size.")] = 1.0,
    plot: Annotated[
        Path | None, typer.Option(help="Draw throughput and latency over the batch size to this PNG.")
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="Write the measurements to this CSV file.")] = None,
    tune: Annotated[
        bool,
        typer.Option("--tune", help="Try provider options on a file; the fastest go into its card."),
    ] = False,
    input: Shape = None,
    trust_code: TrustCode = False,
    json: Json = False,
) -> None:
    """Measure latency, throughput and memory on onnxruntime, and say what is faster and what only looks so.

    Contenders of a batch size take turns after a warm-up, so that a noisy machine is noisy for all; what differs by
    less than the noise is called no difference. ONNX files and zoo entries need no PyTorch; anything else is exported
    first.
    """
    from cnnkit.inspection.benchmark import benchmark
    from cnnkit.render import benchmarks, console, envelope, plots

    if tune:
        if torch or plot or csv or threads or input:
            raise UsageError("--tune takes one file, one --device and one --batch, and none of the other options.")
        _tune(context, models, device, _counts(batch, "--batch") or (32,), seconds)
        return
    require_suffix(plot, ".png", "--plot")
    require_suffix(csv, ".csv", "--csv")
    for path in (plot, csv):
        if path is not None:
            require_writable(path.parent)
    if plot is not None:
        plots.require_matplotlib()
    steps = benchmark.steps(
        *models,
        devices=[name.strip() for name in device.split(",")],
        batches=_counts(batch, "--batch"),
        threads=_counts(threads, "--threads"),
        torch=torch,
        seconds=seconds,
        shape=shape_of(input),
        trust_code=trust_code,
    )
    result = benchmarks.follow(steps)
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


def _tune(context: typer.Context, models: list[str], device: str, batches: tuple[int, ...], seconds: float) -> None:
    from cnnkit.exporting.tune import tune
    from cnnkit.render import progress, tuning

    if len(models) > 1 or "," in device or len(batches) > 1:
        raise UsageError("--tune takes one file, one --device and one --batch at a time.")
    with progress.working(f"trying provider options on {models[0]}"):
        result = tune(models[0], device=device, batch=batches[0], seconds=seconds)
    emit(context, result, tuning.tuning)


def _counts(text: str | None, option: str) -> tuple[int, ...] | None:
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and int(part) > 0 for part in parts):
        raise UsageError(f"{option} {text!r}: expected whole numbers from 1, separated by commas, as in 1,8,32.")
    return tuple(map(int, parts))

"""`cnnkit export`."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from cnnkit.cli.common import Json, ModelArgument, emit, require_suffix
from cnnkit.cli.completion import SUGGESTIONS
from cnnkit.cli.fields import OptionsOf, changed
from cnnkit.errors import PrecisionError, UsageError
from cnnkit.exporting.export import export
from cnnkit.exporting.results import ExportResult, PrecisionReport, TritonModel


def command(
    context: typer.Context,
    model: ModelArgument,
    *,
    onnx: Annotated[bool, typer.Option("--onnx", help="Write ONNX.")] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File to write. Default: model.onnx in the run folder, or NAME.onnx here."),
    ] = None,
    exported: Annotated[partial[ExportResult], OptionsOf(export)],
    triton: Annotated[
        Path | None,
        typer.Option("--triton", metavar="DIR", help="Write into a Triton model repository instead of a file."),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the model in the Triton repository. Default: MODEL's own.")
    ] = None,
    triton_device: Annotated[
        str,
        typer.Option(
            "--triton-device",
            help="Where Triton runs it: auto, cpu, cuda, cuda:N or tensorrt.",
            autocompletion=SUGGESTIONS["device"],
        ),
    ] = "auto",
    json: Json = False,
) -> None:
    """Write a network to one ONNX file, with proof that it equals the PyTorch model.

    PyTorch and onnxruntime run the same images in batches of 1, 2 and 7. Where they disagree, no file is written and
    the exit code is 3. The same goes for fp16 and int8 where they cost more accuracy on the validation images than the
    budget allows, or are not faster than fp32 on the device. Their accuracy on the test split is only reported.

    With --triton, the file becomes a model of a Triton model repository, or the next version of one that is there; an
    ONNX file of cnnkit's goes there as it is.
    """
    from cnnkit.render import progress, tables
    from cnnkit.render.precision import report

    given = set(changed(exported))
    if "precision" not in given and given & {"accuracy_budget", "force", "device", "data", "skip_damaged"}:
        raise UsageError(
            "--accuracy-budget, --force, --device, --data and --skip-damaged are for --precision fp16 and int8."
        )
    if triton is None:
        if name is not None or triton_device != "auto":
            raise UsageError("--name and --triton-device are for a Triton repository; say which, by --triton DIR.")
        if not onnx and (output is None or output.suffix != ".onnx"):
            raise UsageError(f"say which format: cnnkit export {model} --onnx")
        require_suffix(output, ".onnx", "--output")
    elif output is not None:
        raise UsageError("--triton says where the file goes; leave out --output.")
    try:
        with progress.working(f"exporting {model}"):
            if triton is None:
                result: ExportResult | TritonModel = exported(model, output)
            else:
                from cnnkit.exporting.triton import export_triton

                how = partial(exported, model) if given else None
                result = export_triton(model, triton, name=name, device=triton_device, write=how)
    except PrecisionError as error:
        _warn(error.result)
        if isinstance(error.result, PrecisionReport) and not context.obj["json"]:
            report(error.result)
        raise
    if isinstance(result, ExportResult):
        _warn(result.precision)
        emit(context, result, _draw)
    else:
        emit(context, result, tables.triton)


def _warn(report: object) -> None:
    from cnnkit.render import console

    for text in report.warnings if isinstance(report, PrecisionReport) else ():
        console.warning(text)


def _draw(result: ExportResult) -> None:
    from cnnkit.render import console, tables
    from cnnkit.render.precision import report

    tables.export(result)
    if result.precision is not None:
        report(result.precision)
        for objection in result.precision.objections:
            console.warning(f"{objection}; written all the same.")

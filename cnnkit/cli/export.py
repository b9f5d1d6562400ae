"""`cnnkit export`."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cnnkit.cli.common import (
    DEVICES,
    DataDir,
    Device,
    Json,
    ModelArgument,
    Shape,
    SkipDamaged,
    TrustCode,
    complete_data,
    emit,
    offer,
    require_suffix,
    shape_of,
)
from cnnkit.errors import PrecisionError, UsageError

if TYPE_CHECKING:
    from cnnkit.results import ExportResult, TritonModel


def command(
    context: typer.Context,
    model: ModelArgument,
    *,
    onnx: Annotated[bool, typer.Option("--onnx", help="Write ONNX.")] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File to write. Default: model.onnx in the run folder, or NAME.onnx here."),
    ] = None,
    raw_input: Annotated[
        bool, typer.Option("--raw-input", help="Take normalised float32 NCHW instead of uint8 NHWC.")
    ] = False,
    input: Shape = None,
    precision: Annotated[
        Literal["fp32", "fp16", "int8"],
        typer.Option(
            metavar="NAME", help="Precision to write: fp32, fp16 or int8; the last two are measured against the first."
        ),
    ] = "fp32",
    accuracy_budget: Annotated[
        float, typer.Option(metavar="POINTS", help="Percentage points of accuracy that fp16 or int8 may cost.")
    ] = 0.5,
    force: Annotated[
        bool, typer.Option("--force", help="Write fp16 or int8 even where it costs more or is not faster.")
    ] = False,
    data: Annotated[
        str | None,
        typer.Option(
            help="Data set or image folder to measure fp16 and int8 on. Default: what it was trained on.",
            autocompletion=complete_data,
        ),
    ] = None,
    data_dir: DataDir = None,
    skip_damaged: SkipDamaged = False,
    trust_code: TrustCode = False,
    device: Device = "auto",
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
            autocompletion=offer(*DEVICES, "tensorrt"),
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
    from cnnkit.exporting.export import export
    from cnnkit.render import progress, tables
    from cnnkit.render.precision import report
    from cnnkit.results import ExportResult, PrecisionReport

    if precision == "fp32" and (
        accuracy_budget != 0.5 or force or device != "auto" or data is not None or skip_damaged
    ):
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
    write = partial(
        export,
        model,
        raw_input=raw_input,
        shape=shape_of(input),
        data_dir=data_dir,
        trust_code=trust_code,
        precision=precision,
        accuracy_budget=accuracy_budget,
        force=force,
        device=device,
        data=data,
        skip_damaged=skip_damaged,
    )
    try:
        with progress.working(f"exporting {model}"):
            if triton is None:
                result: ExportResult | TritonModel = write(output)
            else:
                from cnnkit.exporting.triton import export_triton

                given = any((raw_input, input, data_dir, trust_code, precision != "fp32"))
                how = write if given else None
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
    from cnnkit.results import PrecisionReport

    for text in report.warnings if isinstance(report, PrecisionReport) else ():
        console.warning(text)


def _draw(result: "ExportResult") -> None:
    from cnnkit.render import console, tables
    from cnnkit.render.precision import report

    tables.export(result)
    if result.precision is not None:
        report(result.precision)
        for objection in result.precision.objections:
            console.warning(f"{objection}; written all the same.")

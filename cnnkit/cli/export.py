"""`cnnkit export`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from cnnkit.cli.common import DataDir, Json, ModelArgument, Shape, TrustCode, emit, shape_of
from cnnkit.errors import UsageError


def command(
    context: typer.Context,
    model: ModelArgument,
    *,
    onnx: Annotated[bool, typer.Option("--onnx", help="Write ONNX.")] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Default: model.onnx in the run folder, or NAME.onnx here."),
    ] = None,
    raw_input: Annotated[
        bool, typer.Option("--raw-input", help="Take normalised float32 NCHW instead of uint8 NHWC.")
    ] = False,
    input: Shape = None,
    data_dir: DataDir = None,
    trust_code: TrustCode = False,
    triton: Annotated[
        Path | None,
        typer.Option("--triton", metavar="DIR", help="Write into a Triton model repository instead of a file."),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Of the model in the Triton repository. Default: MODEL's own.")
    ] = None,
    triton_device: Annotated[
        str, typer.Option("--triton-device", help="Where Triton runs it: auto, cpu, cuda, cuda:N or tensorrt.")
    ] = "auto",
    json: Json = False,
) -> None:
    """Write a network to one ONNX file, with proof that it equals the PyTorch model.

    PyTorch and onnxruntime run the same images in batches of 1, 2 and 7. Where they disagree, no file is written and
    the exit code is 3.

    With --triton, the file becomes a model of a Triton model repository, or the next version of one that is there; an
    ONNX file of cnnkit's goes there as it is.
    """
    from cnnkit import api
    from cnnkit.render import progress, tables

    options: dict[str, Any] = {
        "raw_input": raw_input,
        "shape": shape_of(input),
        "data_dir": data_dir,
        "trust_code": trust_code,
    }
    if triton is not None:
        if output is not None:
            raise UsageError("--triton says where the file goes; leave out --output.")
        with progress.working(f"exporting {model}"):
            model_there = api.export_triton(model, triton, name=name, device=triton_device, **options)
        emit(context, model_there, tables.triton)
        return
    if name is not None or triton_device != "auto":
        raise UsageError("--name and --triton-device are for a Triton repository; say which, by --triton DIR.")
    if not onnx and (output is None or output.suffix != ".onnx"):
        raise UsageError(f"say which format: cnnkit export {model} --onnx")
    with progress.working(f"exporting {model}"):
        result = api.export(model, output, **options)
    emit(context, result, tables.export)

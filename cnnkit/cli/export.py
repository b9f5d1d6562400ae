"""`cnnkit export`."""

from pathlib import Path
from typing import Annotated

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
    json: Json = False,
) -> None:
    """Write a network to one ONNX file, with proof that it equals the PyTorch model.

    PyTorch and onnxruntime run the same images in batches of 1, 2 and 7. Where they disagree, no file is written and
    the exit code is 3.
    """
    from cnnkit import api
    from cnnkit.render import progress, tables

    if not onnx and (output is None or output.suffix != ".onnx"):
        raise UsageError(f"say which format: cnnkit export {model} --onnx")
    with progress.working(f"exporting {model}"):
        result = api.export(
            model, output, raw_input=raw_input, shape=shape_of(input), data_dir=data_dir, trust_code=trust_code
        )
    emit(context, result, tables.export)

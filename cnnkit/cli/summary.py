"""`cnnkit summary`."""

from typing import Annotated

import typer

from cnnkit.cli.common import Device, Json, ModelArgument, Shape, TrustCode, complete_model, emit, shape_of


def command(
    context: typer.Context,
    model: ModelArgument,
    *,
    batch: Annotated[int, typer.Option(help="Batch size that the multiply-adds are for.", min=1)] = 1,
    input: Shape = None,
    depth: Annotated[int | None, typer.Option(help="Levels of modules to list. Default: all.", min=1)] = None,
    compare: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL", help="For an ONNX file: the PyTorch network beside it.", autocompletion=complete_model
        ),
    ] = None,
    profile: Annotated[
        bool, typer.Option("--profile", help="For an ONNX file: run it, and show the time of each node.")
    ] = False,
    device: Device = "auto",
    trust_code: TrustCode = False,
    json: Json = False,
) -> None:
    """Show the layers of a network, or the nodes of an ONNX file: output shapes, parameters, multiply-adds."""
    from cnnkit import api
    from cnnkit.render import graphs

    result = api.summarize(
        model,
        batch=batch,
        shape=shape_of(input),
        depth=depth,
        trust_code=trust_code,
        compare=compare,
        profile=profile,
        device=device,
    )
    emit(context, result, graphs.summary)

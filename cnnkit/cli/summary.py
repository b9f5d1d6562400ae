"""`cnnkit summary`."""

from typing import Annotated

import typer

from cnnkit.cli.common import Json, ModelArgument, Shape, TrustCode, emit, shape_of


def command(
    context: typer.Context,
    model: ModelArgument,
    *,
    batch: Annotated[int, typer.Option(help="Batch size that the multiply-adds are for.", min=1)] = 1,
    input: Shape = None,
    depth: Annotated[int | None, typer.Option(help="Levels of modules to list. Default: all.", min=1)] = None,
    trust_code: TrustCode = False,
    json: Json = False,
) -> None:
    """Show the layers of a network: output shapes, parameters, multiply-adds."""
    from cnnkit import api
    from cnnkit.render import tables

    result = api.summarize(model, batch=batch, shape=shape_of(input), depth=depth, trust_code=trust_code)
    emit(context, result, tables.summary)

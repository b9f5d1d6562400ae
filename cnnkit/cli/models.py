"""`cnnkit models`."""

import typer

from cnnkit.cli.common import Json, emit


def command(context: typer.Context, *, json: Json = False) -> None:
    """List the networks that can be named."""
    from cnnkit import listing
    from cnnkit.render import tables

    emit(context, listing.list_models(), tables.models)

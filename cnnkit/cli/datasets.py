"""`cnnkit datasets`."""

import typer

from cnnkit.cli.common import DataDir, Json, emit


def command(context: typer.Context, *, data_dir: DataDir = None, json: Json = False) -> None:
    """List the data sets: where they are, whether present, how to get them."""
    from cnnkit.data import listing
    from cnnkit.render import tables

    emit(context, listing.list_datasets(data_dir), tables.datasets)

"""`cnnkit datasets`."""

from functools import partial
from typing import Annotated

import typer

from cnnkit.cli.common import Json, emit
from cnnkit.cli.fields import OptionsOf
from cnnkit.data.listing import list_datasets
from cnnkit.data.results import DatasetInfo


def command(
    context: typer.Context,
    *,
    listed: Annotated[partial[list[DatasetInfo]], OptionsOf(list_datasets)],
    json: Json = False,
) -> None:
    """List the data sets: where they are, whether present, how to get them."""
    from cnnkit.render import tables

    emit(context, listed(), tables.datasets)

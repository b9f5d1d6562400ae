"""`cnnkit serve`."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from cnnkit.cli.completion import complete_model
from cnnkit.cli.fields import OptionsOf
from cnnkit.options import Option
from cnnkit.serving.serve import read_api_keys, serve
from cnnkit.serving.settings import ACCESS, LIMITS, Settings


def command(
    context: typer.Context,
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL]...",
            help="ONNX files or zoo entries; NAME=FILE names one. Default: digits.",
            autocompletion=complete_model,
            show_default=False,
        ),
    ] = None,
    *,
    settings: Annotated[Settings, OptionsOf(Settings)],
    max_body_mb: Annotated[
        float,
        Option("Largest body in MiB, also once decompressed.", LIMITS, ge=0.001, le=1024),
    ] = 16.0,
    api_key: Annotated[
        list[str] | None,
        Option("Key that every request must have. Repeatable; a file is safer.", ACCESS, repeated=True),
    ] = None,
    api_key_file: Annotated[Path | None, Option("File of such keys, one a line.", ACCESS)] = None,
    serving: Annotated[partial[None], OptionsOf(serve)],
) -> None:
    """Serve ONNX files over HTTP, with a page to draw on at / and the Open Inference Protocol at /v2."""
    keys = (*(api_key or ()), *(read_api_keys(api_key_file) if api_key_file else ()))
    serving(models or (), replace(settings, max_body=round(max_body_mb * 2**20), api_keys=keys))

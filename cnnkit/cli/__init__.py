"""The command line: one file a command. A command parses, calls an operation, renders, and sets the exit code."""

import atexit
import gc
import io
import sys
from typing import Annotated

import typer

import cnnkit
from cnnkit.cli.group import Group
from cnnkit.cli.loading import SETTINGS, filled


def make_app() -> typer.Typer:
    """Return the command line."""
    app = typer.Typer(
        name="cnnkit",
        cls=Group,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings=SETTINGS,
        rich_markup_mode="rich",
    )
    app.callback(help=filled(options.__doc__ or ""))(options)
    return app


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"cnnkit {cnnkit.__version__}")
        raise typer.Exit


def options(
    context: typer.Context,
    *,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Classic convolutional networks, from a name to a trained, proven and served ONNX file.

    A [bold]MODEL[/] is a registered name (lenet), a zoo entry (lenet-mnist), a run folder, a .safetensors or .onnx
    file, torchvision/NAME, or your own package.module:factory.
    """
    context.obj["debug"] = debug


def _leave_quickly() -> None:
    # At exit the collector would search all that is loaded for cycles, only to free what the process gives back anyway:
    # a tenth of the time of `predict`. Under PyTorch some libraries complain of what was not freed.
    if "torch" not in sys.modules:
        gc.freeze()


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        # Bars and box lines exist in no Windows code page; a question mark is better than no result.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    atexit.register(_leave_quickly)
    make_app()()

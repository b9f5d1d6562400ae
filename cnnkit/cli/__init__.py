"""The command line: one file a command. A command parses, calls an operation, renders, and sets the exit code."""

import atexit
import gc
import importlib
import inspect
import io
import re
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

import cnnkit
from cnnkit.cli.group import Group
from cnnkit.cli.values import Command

COMMANDS = (
    "summary", "train", "evaluate", "mistakes", "explain", "attack", "report", "export", "verify", "benchmark",
    "serve", "predict", "models", "datasets", "doctor",
)  # fmt: skip


def _help(function: Callable[..., Any]) -> str:
    # Typer keeps the line breaks of a docstring; paragraphs read better filled to the terminal.
    return re.sub(r"(?<!\n)\n(?!\n)", " ", inspect.getdoc(function) or "")


def make_app(names: Sequence[str] = COMMANDS) -> typer.Typer:
    """Return the command line with these commands."""
    app = typer.Typer(
        name="cnnkit",
        cls=Group,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        rich_markup_mode="rich",
    )
    for name in names:
        command = importlib.import_module(f"cnnkit.cli.{name}").command
        app.command(name, cls=Command, help=_help(command))(command)
    app.callback(help=_help(options))(options)
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
    # A command that is named needs no other one, and `predict` would feel the building of their options.
    first = next((argument for argument in sys.argv[1:] if not argument.startswith("-")), "")
    make_app((first,) if first in COMMANDS else COMMANDS)()

"""The command line: one file a command. A command parses, calls `cnnkit.api`, renders, and sets the exit code."""

from typing import Annotated

import typer

import cnnkit
from cnnkit.cli import datasets, evaluate, export, models, predict, summary, train
from cnnkit.cli.common import Group

app = typer.Typer(
    name="cnnkit",
    cls=Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich",
)

for module in (summary, train, evaluate, export, predict, models, datasets):
    app.command(module.__name__.rpartition(".")[2])(module.command)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"cnnkit {cnnkit.__version__}")
        raise typer.Exit


@app.callback()
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


def main() -> None:
    """Run the command line."""
    app()

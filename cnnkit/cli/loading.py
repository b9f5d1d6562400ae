"""The commands: every module of this package that defines a function `command`. None is imported before it is named."""

import importlib
import inspect
import re
from functools import cache
from pathlib import Path
from typing import cast

import typer
from typer.core import TyperCommand

from cnnkit.cli.fields import with_options
from cnnkit.cli.values import Command

SETTINGS = {"help_option_names": ["-h", "--help"]}

_ORDER = (
    "summary", "train", "evaluate", "mistakes", "explain", "attack", "report", "export", "verify", "benchmark",
    "serve", "predict", "models", "datasets", "doctor",
)  # fmt: skip
"""Of the help; a command that is not here comes after these."""

_SUMMARY = re.compile(r'^def command\(.*?^    """(.*?)(?:\n\n|""")', re.DOTALL | re.MULTILINE)


@cache
def summaries() -> dict[str, str]:
    """Return what each command does, in a sentence, by its name; from the text of its module."""
    found = {path.stem: _SUMMARY.search(path.read_text("utf-8")) for path in sorted(Path(__file__).parent.glob("*.py"))}
    names = sorted(found, key=lambda name: _ORDER.index(name) if name in _ORDER else len(_ORDER))
    return {name: filled(summary[1]) for name in names if (summary := found[name])}


def load(name: str) -> TyperCommand:
    """Return a command with its options."""
    command = importlib.import_module(f"cnnkit.cli.{name}").command
    app = typer.Typer(add_completion=False, rich_markup_mode="rich", context_settings=SETTINGS)
    app.command(name, cls=Command, help=filled(command.__doc__))(with_options(command))
    return cast("TyperCommand", typer.main.get_command(app))


def filled(text: str) -> str:
    """Return a docstring without the line breaks in its paragraphs, which Typer would keep."""
    return re.sub(r"(?<!\n)\n(?!\n)", " ", inspect.cleandoc(text))

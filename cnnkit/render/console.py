"""The two consoles: results go to standard output, progress and errors to standard error."""

import os
import re
import sys
from collections.abc import Iterable
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cnnkit.render import notices


class _Errors(Console):
    """Goes on unread where its reader or terminal is gone: somebody may read the results, or a run has to be saved."""

    def __exit__(self, *error: Any) -> None:
        try:
            super().__exit__(*error)
        except OSError:
            self.on_broken_pipe()

    def on_broken_pipe(self) -> None:
        """Send what comes to nowhere; Rich would send the results there too, and end the program."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stderr.fileno())
        os.close(nowhere)


def out() -> Console:
    """Return the console for results."""
    return Console(highlight=False, markup=False, emoji=False)


def err() -> Console:
    """Return the console for progress, notes and errors."""
    return _Errors(stderr=True, highlight=False, markup=False, emoji=False)


def error(message: str) -> None:
    """Print an error to standard error."""
    say(err(), Text.assemble(("error: ", "bold red"), printable(message)))


def warning(message: str, console: Console | None = None) -> None:
    """Print what the user should know, and what is no error, to standard error; once, and in the JSON envelope too."""
    text = message.rstrip().removesuffix(".")
    if notices.add(text):
        say(console or err(), Text.assemble(("warning: ", "bold yellow"), (printable(text), "yellow"), "."))


def note(message: str) -> None:
    """Print a remark to standard error."""
    say(err(), Text(printable(message), "dim"))


def undrawn(texts: Iterable[str]) -> None:
    """Warn of characters of some texts that pictures show as boxes, as no font of this machine has them."""
    from cnnkit.render import fonts

    if said := fonts.note(texts):
        warning(said)


def assumed(console: Console, assumptions: Iterable[str]) -> None:
    """Print what was assumed of an ONNX file without a card."""
    for assumption in assumptions:
        say(console, Text(printable(f"assumed: {assumption}"), "dim"))


def say(console: Console, text: Text) -> None:
    """Print a line of prose: left whole in a file or pipe; filled to a terminal, but for a command at its end.

    That gets a line of its own, so that it can be copied.
    """
    if not console.is_terminal:
        console.print(text, soft_wrap=True)
        return
    prose, colon, _ = text.plain.rpartition(": cnnkit ")
    if colon:
        console.print(text[: len(prose) + 1])
        text = text[len(prose) + 2 :]
    console.print(text, soft_wrap=bool(colon))


def printable(text: str) -> str:
    """Replace what could steer the terminal: names of files and of what they hold come from outside."""
    return re.sub(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", "�", text)


def table() -> Table:
    """Return an empty table in the style that all of cnnkit's tables share."""
    return Table(box=SIMPLE_HEAD, show_edge=False, header_style="bold cyan", padding=(0, 1, 0, 0))


def titled(console: Console, title: str, table: Table) -> None:
    """Print a table under a title that may be wider than it, with a blank line after both."""
    say(console, Text(title, "bold"))
    console.print(table)
    console.print()

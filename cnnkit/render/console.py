"""The two consoles: results go to standard output, progress and errors to standard error."""

from rich.console import Console
from rich.table import Table
from rich.text import Text


def out() -> Console:
    """Return the console for results."""
    return Console(highlight=False)


def err() -> Console:
    """Return the console for progress, notes and errors."""
    return Console(stderr=True, highlight=False)


def error(message: str) -> None:
    """Print an error to standard error."""
    err().print(Text.assemble(("error: ", "bold red"), message), soft_wrap=True)


def note(message: str) -> None:
    """Print a remark to standard error."""
    err().print(Text(message, style="dim"), soft_wrap=True)


def table(title: str = "", *, caption: str = "") -> Table:
    """Return an empty table in the style that all of cnnkit's tables share."""
    from rich import box

    return Table(
        title=title or None,
        title_justify="left",
        title_style="bold",
        caption=caption or None,
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        header_style="bold cyan",
        pad_edge=False,
        padding=(0, 1),
    )

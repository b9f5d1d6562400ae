"""Progress on standard error; nothing is drawn where nobody sees it."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from cnnkit.render import console
from cnnkit.results import LoadNote, LoadProgress, WorkProgress, result_of

T = TypeVar("T")
Step = LoadProgress | LoadNote | WorkProgress


def bar() -> Progress:
    """Return a progress bar with a count and the time left."""
    terminal = console.err()
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=terminal,
        transient=True,
        disable=not terminal.is_terminal,
    )


@contextmanager
def working(what: str) -> Iterator[None]:
    """Show a spinner while something without measurable progress runs."""
    terminal = console.err()
    if terminal.is_terminal:
        with terminal.status(what):
            yield
    else:
        yield


def follow(steps: Generator[Step, None, T], what: str) -> T:
    """Run a generator of progress to its end under a bar, with its notes above, and return its result."""
    with bar() as progress:
        task = progress.add_task(what, total=None)

        def show(step: Step) -> None:
            nonlocal task
            if isinstance(step, LoadNote):
                console.say(progress.console, Text(f"{console.printable(step.text)}.", "yellow"))
            elif isinstance(step, WorkProgress) and step.total is None:
                # A bar that had a total keeps it; only a new one is without.
                progress.remove_task(task)
                task = progress.add_task(step.what, total=None)
            elif isinstance(step, WorkProgress):
                progress.update(task, description=step.what, completed=step.done, total=step.total)
            elif step.done == step.total:
                progress.update(task, description=what, completed=0, total=None)
            else:
                progress.update(task, description=f"reading {step.what}", completed=step.done, total=step.total)

        return result_of(steps, show)

"""Progress on standard error: a bar where somebody sees it, elsewhere a line now and then."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from threading import Event, Thread
from typing import TypeVar

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from cnnkit.operation import result_of
from cnnkit.progress import LoadProgress, Notice, Step, Steps
from cnnkit.render import console

T = TypeVar("T")

_PAUSE, _GROWTH, _LONGEST = 10.0, 1.5, 60.0
"""Seconds to the first line, how much longer each pause is than the one before, and the longest."""
_RECENT = 600.0
"""Seconds that the time left is estimated from; a step may take longer than Rich's half a minute."""


class Bar(Progress):
    """Leaves room for the ^C that a terminal echoes: wrapped to the next line, it would keep this one from erasure."""

    def get_renderables(self) -> Iterable[RenderableType]:
        """Return what is drawn."""
        return map(_Narrower, super().get_renderables())


@dataclass
class _Narrower:
    shown: RenderableType

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from console.render(self.shown, options.update_width(options.max_width - len("^C") - 1))


class _Lines(Progress):
    """Tells a log what is being done and how far it is, also while a single step takes long."""

    def start(self) -> None:
        self._over = Event()
        self._teller = Thread(target=self._tell, daemon=True)
        self._teller.start()

    def stop(self) -> None:
        self._over.set()
        self._teller.join()

    def _tell(self) -> None:
        pause = _PAUSE
        while not self._over.wait(pause):
            for task in self.tasks:
                console.say(self.console, Text(_line(task)))
            pause = min(pause * _GROWTH, _LONGEST)


def _line(task: Task) -> str:
    count = "" if task.total is None else f": {task.completed:,.0f} of {task.total:,.0f}"
    seconds = task.time_remaining  # asked once: the next step may come meanwhile
    left = f", {timedelta(seconds=seconds)} left" if seconds else ""
    return console.printable(f"{task.description}{count}{left}")


def bar(*columns: ProgressColumn, auto_refresh: bool = True) -> Progress:
    """Return a progress bar with a count and the time left, or with other columns; lines where there is no terminal."""
    terminal = console.err()
    shown = columns or (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    return (Bar if terminal.is_terminal else _Lines)(
        *shown,
        console=terminal,
        auto_refresh=auto_refresh,
        transient=True,
        speed_estimate_period=_RECENT,
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
        with bar() as lines:
            lines.add_task(what, total=None)
            yield


def follow(steps: Steps[T], what: str) -> T:
    """Run a generator of progress to its end under a bar, with its notes above, and return its result."""
    with bar() as progress:
        task = progress.add_task(what, total=None)

        def show(step: Step) -> None:
            nonlocal task
            if isinstance(step, Notice):
                if step.warning:
                    console.warning(step.text, progress.console)
                else:
                    console.say(progress.console, Text(f"{console.printable(step.text)}.", "dim"))
                return
            about, done, total = step.what, step.done, step.total
            if isinstance(step, LoadProgress):
                read = done == total
                about, done, total = (what, 0, None) if read else (f"reading {about}", done, total)
            if progress.tasks[-1].description != about:
                # Each part has a time left of its own. And a bar that had a total keeps it; only a new one is without.
                progress.remove_task(task)
                task = progress.add_task(about, total=total)
            progress.update(task, completed=done, total=total)

        return result_of(steps, show)

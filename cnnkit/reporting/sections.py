"""The sections of a report: tried one after the other, and left out with a reason where they are unavailable."""

from collections.abc import Callable, Generator, Sequence
from typing import TypeVar

from cnnkit.errors import CnnkitError
from cnnkit.operation import relayed
from cnnkit.progress import Notice, Step, Steps, WorkProgress
from cnnkit.reporting.results import SECTIONS, LeftOut, SectionName
from cnnkit.runtime.results import BenchmarkStep

T = TypeVar("T")
Told = Step | BenchmarkStep
"""A step of the command that a section rests on."""


class Sections:
    """Tries sections, and keeps the reasons of those that are unavailable."""

    def __init__(self, without: "Sequence[SectionName]") -> None:
        self.left_out = {name: LeftOut(name, "it was not asked for") for name in without}

    def lacks(self, name: "SectionName") -> bool:
        """Whether a section is left out."""
        return name in self.left_out

    def leave_out(self, name: "SectionName", reason: str) -> None:
        """Note why a section is not there; the first reason counts."""
        self.left_out.setdefault(name, LeftOut(name, reason))

    def attempt(
        self, names: "SectionName | tuple[SectionName, ...]", steps: Callable[[], Generator[Told, None, T]]
    ) -> Steps[T | None]:
        """Run what sections rest on, unless it was asked for none of them; None where it is unavailable."""
        wanted = (names,) if isinstance(names, str) else names
        if all(name in self.left_out for name in wanted):
            return None
        try:
            return (yield from told(wanted[0], steps()))
        except CnnkitError as error:
            reason = str(error).strip().removesuffix(".")
        except ModuleNotFoundError as error:
            reason = f"it needs {error.name}, which this installation lacks: pip install {error.name}"
        for name in wanted:
            self.leave_out(name, reason)
        return None

    def in_order(self) -> tuple[LeftOut, ...]:
        """Return what was left out, in the order of the page."""
        return tuple(self.left_out[name] for name in SECTIONS if name in self.left_out)


def told(what: str, steps: Generator[Told, None, T]) -> Steps[T]:
    """Run the steps of another command as those of a section; its notes go through."""

    def of_section(step: Told) -> Step:
        if isinstance(step, Notice):
            return step
        return WorkProgress(f"{what}: {step.what}", step.done, step.total)

    yield WorkProgress(what, 0, None)
    return (yield from relayed(steps, of_section))


def done(function: Callable[[], T]) -> Steps[T]:
    """Make steps of what has none."""
    yield from ()
    return function()

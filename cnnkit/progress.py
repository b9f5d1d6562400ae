"""How far an operation is, and what its user should know meanwhile."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class LoadProgress:
    """How many files of `what` are decoded."""

    what: str
    done: int
    total: int


@dataclass(frozen=True)
class WorkProgress:
    """What is done now, and how much of it: images, mostly. `total` is None where that is not known."""

    what: str
    done: float
    total: int | None


@dataclass(frozen=True)
class Notice:
    """Something about the loading that the user should know, as a sentence without its full stop.

    `warning` marks what may take value from the results; it is kept in the JSON envelope and in reports.
    """

    text: str
    warning: bool = False


Step = LoadProgress | Notice | WorkProgress


Steps = Generator[Step, None, T]
"""Of an operation that tells how far it is, and returns `T`."""

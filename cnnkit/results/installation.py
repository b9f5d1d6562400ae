"""What an installation consists of, and what is wrong with it."""

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["ok", "note", "problem"]


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        what: it was.
        found: what is there.
        verdict: `note` where something is lacking that not every machine needs, `problem` where a command would fail.
        advice: what to do about it; empty where nothing is to be done.
        command: that does it; cnnkit itself never runs it.
    """

    what: str
    found: str
    verdict: Verdict = "ok"
    advice: str = ""
    command: str = ""

    def __str__(self) -> str:
        return " ".join(part for part in (f"{self.what}: {self.found}.", self.advice, self.command) if part)


@dataclass(frozen=True)
class Installation:
    """All that was looked at, in order."""

    checks: tuple[Check, ...]

    @property
    def problems(self) -> tuple[Check, ...]:
        """What would make a command fail."""
        return tuple(check for check in self.checks if check.verdict == "problem")

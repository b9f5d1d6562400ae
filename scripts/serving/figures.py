"""Figures with what they must be, as a table for the terminal and the docs, and as JSON."""

import json
import os
import platform
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One row: what was measured, what it must be where something is required, and whether it is."""

    what: str
    measured: str
    required: str = ""
    passed: bool = True


@dataclass(frozen=True)
class Part:
    """What one part of a script found.

    Attributes:
        name: of the part.
        figures: rows of its table.
        details: numbers behind them.
        problems: what went wrong, each with what is needed to see it again.
    """

    name: str
    figures: Sequence[Figure]
    details: dict[str, Any] = field(default_factory=dict)
    problems: Sequence[str] = ()

    @property
    def passed(self) -> bool:
        """Whether all is as it must be."""
        return not self.problems and all(figure.passed for figure in self.figures)


def headline(packages: Iterable[str]) -> str:
    """Return machine, versions and time in one line."""
    found = []
    for package in packages:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    moment = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{moment}, {cores} cores of {_processor()}, Python {platform.python_version()}, {', '.join(found)}"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text("utf-8").splitlines() if cpuinfo.is_file() else []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor())


def markdown(parts: Iterable[Part]) -> str:
    """Return one table over all parts."""
    lines = ["| what | measured | must be | |", "| --- | --- | --- | --- |"]
    for part in parts:
        for figure in part.figures:
            verdict = ("yes" if figure.passed else "**NO**") if figure.required else ""
            lines.append(f"| {figure.what} | {figure.measured} | {figure.required} | {verdict} |")
    return "\n".join(lines)


def alike(problems: Iterable[str]) -> Iterator[tuple[str, int]]:
    """Yield the first of the problems that differ only in numbers and ids, and how many more there are."""
    kinds: dict[str, list[str]] = {}
    for problem in problems:
        kinds.setdefault(re.sub(r"[0-9a-f-]*[0-9][0-9a-f.-]*", "#", problem), []).append(problem)
    for found in kinds.values():
        yield found[0], len(found) - 1


def report(title: str, parts: Sequence[Part], output: Path | None) -> int:
    """Print the table and the problems; write both, and the numbers, as `output` with .md and .json. Exit code."""
    table = markdown(parts)
    print(f"{title}\n\n{table}")
    for part in parts:
        for problem, like_it in alike(part.problems):
            print(f"problem: {part.name}: {problem}" + (f" (and {like_it:,} like it)" if like_it else ""))
    if output:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.with_suffix(".md").write_text(f"{title}\n\n{table}\n", "utf-8")
        document = {"title": title, "parts": [asdict(part) for part in parts]}
        output.with_suffix(".json").write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return 0 if all(part.passed for part in parts) else 1

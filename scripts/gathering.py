"""What the scripts share that measure for the docs: options, results that gather in a file, and parts of a page."""

import argparse
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

Result = dict[str, Any]


def options(about: str | None, names: Sequence[str]) -> argparse.ArgumentParser:
    """Return the options of a script that measures, by seed, what has a name: --data-dir, --seeds and --only."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", type=_some_of(names), default=names, help=f"of {','.join(names)}")
    return parser


def _some_of(names: Sequence[str]) -> Callable[[str], list[str]]:
    def chosen(text: str) -> list[str]:
        unknown = [name for name in text.split(",") if name not in names]
        if unknown:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: expected some of {','.join(names)}")
        return text.split(",")

    return chosen


def results_in(path: Path) -> list[Result]:
    """Return what was measured so far."""
    found: list[Result] = json.loads(path.read_text("utf-8")) if path.exists() else []
    return found


def gather(path: Path, result: Result, *, by: Sequence[str]) -> None:
    """Add a result to a file, in the place of the one that has the same values of `by`."""
    others = [found for found in results_in(path) if any(found[name] != result[name] for name in by)]
    path.write_text(json.dumps([*others, result], indent=1) + "\n", "utf-8")


def part_in(page: Path, name: str) -> list[str]:
    """Return the lines of a page between `<!-- name -->` and the next `<!-- end -->`."""
    return _divided(page, name)[1].splitlines()


def write_part(page: Path, name: str, lines: Iterable[str]) -> None:
    """Replace the lines of a page between `<!-- name -->` and the next `<!-- end -->`."""
    before, _, after = _divided(page, name)
    page.write_text(before + "".join(f"{line}\n" for line in lines) + after, "utf-8")


def _divided(page: Path, name: str) -> tuple[str, str, str]:
    begin, end = f"<!-- {name} -->\n", "<!-- end -->\n"
    before, found, rest = page.read_text("utf-8").partition(begin)
    part, ended, after = rest.partition(end)
    if not (found and ended):
        raise ValueError(f"{page.name} has no part from {begin.strip()} to {end.strip()}")
    return before + begin, part, end + after

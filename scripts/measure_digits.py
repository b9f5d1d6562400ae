"""Measure how a network reads drawn digits, by style, and write the tables of docs/recipes.md.

    python scripts/measure_digits.py [--model digits] [--write]

The drawings are those of scripts/draw_digits.py, made anew: the set of 200 of the tests, 1,000 for each seed, and 400 in
European styles for each seed. No network was trained on them.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from draw_digits import EUROPEAN, draw
from gathering import write_part

import cnnkit

DOCUMENT = Path(__file__).parent.parent / "docs" / "recipes.md"
PART = "drawn digits"
SEEDS = range(4)


@dataclass
class Count:
    """Drawings, those read right, and what the others were read as."""

    drawings: int = 0
    right: int = 0
    wrong: Counter[str] = field(default_factory=Counter)

    def add(self, digit: int, label: str) -> None:
        """Count one drawing."""
        self.drawings += 1
        self.right += label == str(digit)
        if label != str(digit):
            self.wrong[label] += 1

    def row(self, *names: str) -> str:
        """Return a row of a table."""
        share = f"{self.right:,} of {self.drawings:,} ({self.right / self.drawings:.1%})"
        return f"| {' | '.join((*names, share, ', '.join(f'{k} ×{n}' for k, n in self.wrong.most_common())))} |"


def read(model: cnnkit.Classifier, seed: int, per_class: int, *, european: bool) -> Iterator[tuple[int, str, str]]:
    """Yield digit, style and what it is read as, of the drawings that draw_digits.py writes for a seed."""
    for digit in range(10):
        styles = list(EUROPEAN[digit]) if european else [""]
        names = [styles[index % len(styles)] for index in range(per_class)]
        images = [draw(digit, np.random.default_rng([seed, digit, i]), style) for i, style in enumerate(names)]
        yield from ((digit, style, p.label) for style, p in zip(names, model.predict(images, top=1), strict=True))


def tables(model: cnnkit.Classifier) -> list[str]:
    """Return the lines of the tables as Markdown."""
    sets = {"the 200 of the tests": (0, 20, False)}
    sets |= {f"1,000, seed {seed}": (seed, 100, False) for seed in SEEDS}
    sets |= {f"400 European, seed {seed}": (seed, 40, True) for seed in SEEDS}
    lines = ["| drawings | read right | wrong ones read as |", "| --- | --- | --- |"]
    styles: dict[tuple[int, str], Count] = {}
    for name, (seed, per_class, european) in sets.items():
        total = Count()
        for digit, style, label in read(model, seed, per_class, european=european):
            total.add(digit, label)
            if european:
                styles.setdefault((digit, style), Count()).add(digit, label)
        lines.append(total.row(name))
    lines += [
        "",
        "| digit | European style | read right, seeds 0 to 3 | wrong ones read as |",
        "| --- | --- | --- | --- |",
    ]
    return lines + [count.row(str(digit), style) for (digit, style), count in sorted(styles.items())]


def main() -> None:
    """Print the tables, or replace the old ones."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="digits", help="model reference (default digits)")
    parser.add_argument("--write", action="store_true", help="write them into docs/recipes.md")
    arguments = parser.parse_args()
    lines = tables(cnnkit.load(arguments.model, device="cpu"))
    print("\n".join(lines))
    if arguments.write:
        write_part(DOCUMENT, PART, lines)


if __name__ == "__main__":
    main()

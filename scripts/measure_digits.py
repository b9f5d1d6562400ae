"""Measure how a network reads drawn digits, by style, and write the tables of docs/recipes.md.

    python scripts/measure_digits.py [--model digits] [--write]

The drawings are those of scripts/draw_digits.py, made anew: the set of 200 of the tests, 1,000 for each seed, and 400
in European styles for each seed. No network was trained on them.
"""

import argparse
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from draw_digits import write
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


def tables(model: cnnkit.Classifier) -> list[str]:
    """Return the lines of the tables as Markdown."""
    sets = {"the 200 of the tests": (0, 20, False)}
    sets |= {f"1,000, seed {seed}": (seed, 100, False) for seed in SEEDS}
    sets |= {f"400 European, seed {seed}": (seed, 40, True) for seed in SEEDS}
    lines = ["| drawings | read right | wrong ones read as |", "| --- | --- | --- |"]
    styles: dict[tuple[int, str], Count] = {}
    for name, (seed, per_class, european) in sets.items():
        total = Count()
        with TemporaryDirectory() as folder:
            files = write(Path(folder), per_class, seed, european=european)
            found = model.predict(files, top=1)
        for file, prediction in zip(files, found, strict=True):
            digit, style = int(file.parent.name), file.stem.rpartition("-")[0]
            total.add(digit, prediction.label)
            if european:
                styles.setdefault((digit, style), Count()).add(digit, prediction.label)
        lines.append(total.row(name))
    lines += ["", f"| digit | European style | read right, seeds 0 to {SEEDS[-1]} | wrong ones read as |"]
    lines += ["| --- | --- | --- | --- |"]
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

"""Rewrite the table of corruptions in docs/robustness.md from the corruptions themselves.

python scripts/corruption_table.py
"""

from pathlib import Path

from gathering import write_part

from cnnkit.robustness.corruptions import KINDS

DOCUMENT = Path(__file__).parent.parent / "docs" / "robustness.md"
PART = "corruptions"


def table() -> list[str]:
    """Return the lines of the table as Markdown."""
    rows = [
        f"| {name} | {kind.unit} | {' | '.join(f'{amount:g}' for amount in kind.amounts[1:])} |"
        for name, kind in KINDS.items()
    ]
    return ["| corruption | amount | 1 | 2 | 3 | 4 | 5 |", "| --- | --- | --- | --- | --- | --- | --- |", *rows]


def main() -> None:
    """Replace the old table."""
    write_part(DOCUMENT, PART, table())


if __name__ == "__main__":
    main()

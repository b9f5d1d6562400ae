"""Rewrite the table of corruptions in docs/robustness.md from the corruptions themselves.

python scripts/corruption_table.py
"""

from pathlib import Path

from cnnkit.robustness.corruptions import KINDS

DOCUMENT = Path(__file__).parent.parent / "docs" / "robustness.md"
BEGIN, END = "<!-- corruptions -->\n", "<!-- end -->\n"


def table() -> str:
    """Return the table as Markdown."""
    rows = [
        f"| {name} | {kind.unit} | {' | '.join(f'{amount:g}' for amount in kind.amounts[1:])} |\n"
        for name, kind in KINDS.items()
    ]
    return "| corruption | amount | 1 | 2 | 3 | 4 | 5 |\n| --- | --- | --- | --- | --- | --- | --- |\n" + "".join(rows)


def main() -> None:
    """Replace the old table."""
    text = DOCUMENT.read_text("utf-8")
    before, _, after = text.partition(BEGIN)
    DOCUMENT.write_text(before + BEGIN + table() + END + after.partition(END)[2], "utf-8")


if __name__ == "__main__":
    main()

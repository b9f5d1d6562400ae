"""Rewrite the table of the recipe's fields at the end of docs/training.md from the fields themselves.

python scripts/recipe_table.py
"""

from pathlib import Path

from cnnkit.options import Parameter, parameters
from cnnkit.recipe import Recipe

DOCUMENT = Path(__file__).parent.parent / "docs" / "training.md"
HEADER = "| option | default | what |\n| --- | --- | --- |\n"


def table() -> str:
    """Return the table as Markdown, its header included."""
    return HEADER + "".join(map(row, parameters(Recipe)))


def row(field: Parameter) -> str:
    """Return a line of the table."""
    default = str(field.default).lower() if field.kind is bool else "" if field.default in (None, "") else field.default
    shown = f"`{default:g}`" if isinstance(default, float) else f"`{default}`" if default != "" else ""
    bounded = field.kind in (int, float)
    words = [field.help, field.option.note, f"{field.expected[0].upper()}{field.expected[1:]}." if bounded else ""]
    names = ", ".join(f"`{name}`" for name in (field.flag, *field.option.also))
    return f"| {names} | {shown} | {' '.join(filter(None, words))} |\n"


def main() -> None:
    """Replace the old table."""
    text = DOCUMENT.read_text("utf-8")
    DOCUMENT.write_text(text[: text.index(HEADER)] + table(), "utf-8")


if __name__ == "__main__":
    main()

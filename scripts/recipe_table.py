"""Rewrite the table of the recipe's fields at the end of docs/training.md from the fields themselves.

python scripts/recipe_table.py
"""

from pathlib import Path
from typing import Literal, get_args, get_origin

from cnnkit.recipe import Recipe

DOCUMENT = Path(__file__).parent.parent / "docs" / "training.md"
HEADER = "| field | default | what |\n| --- | --- | --- |\n"


def table() -> str:
    """Return the table as Markdown, its header included."""
    rows = []
    for name, field in Recipe.model_fields.items():
        choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
        default = field.default
        text = (
            str(default).lower()
            if isinstance(default, bool)
            else f"{default:g}"
            if default.__class__ is float
            else default
        )
        listed = ", ".join(f"`{choice}`" for choice in choices) + "; " if len(choices) > 1 else ""
        rows.append(f"| `{name}` | {f'`{text}`' if text not in (None, '') else ''} | {listed}{field.description} |\n")
    return HEADER + "".join(rows)


def main() -> None:
    """Replace the old table."""
    text = DOCUMENT.read_text("utf-8")
    DOCUMENT.write_text(text[: text.index(HEADER)] + table(), "utf-8")


if __name__ == "__main__":
    main()

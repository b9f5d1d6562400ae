"""The `run.toml` of a run folder: its recipe as it stands there, not yet checked."""

import tomllib
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from cnnkit.errors import UsageError


def is_whole(fields: Collection[str]) -> bool:
    """Whether a recipe table has all fields, as the `run.toml` of a run has; then nobody chose each of them."""
    return {"seed", "limit_batches", "tensorboard"} <= set(fields)


def read_recipe_table(path: Path) -> dict[str, object]:
    """Return the fields that the `[recipe]` table of a TOML file gives; they are not yet checked.

    Raises:
        UsageError: no such file, not TOML, or no such table.
    """
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"cannot read the recipe {path}: {getattr(error, 'strerror', None) or error}.") from error
    table = document.get("recipe")
    if not isinstance(table, dict):
        raise UsageError(f"{path} has no [recipe] table; a run's run.toml shows the form.")
    return table


def resume_command(run: Path) -> str:
    """Return the command that goes on with a run; a network that is code of the user's is named again."""
    model = None
    with suppress(UsageError):
        model = read_recipe_table(run / "run.toml").get("model")
    named = f"{model} " if isinstance(model, str) and ":" in model else ""
    return f"cnnkit train {named}--resume {run}"


def is_of_earlier_version(table: Collection[str]) -> bool:
    """Whether a recipe table is a whole one that a version before 0.2 wrote, in which the seed divides the images."""
    return "split_by" not in table and is_whole(table)

"""What installed packages add to cnnkit by entry points."""

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from cnnkit.errors import UsageError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


@cache
def registered(group: str) -> "dict[str, EntryPoint]":
    """Return the entry points of a group by name, sorted. Nothing is imported; looking takes some 20 ms, once."""
    from importlib.metadata import entry_points

    return {point.name: point for point in sorted(entry_points(group=group), key=lambda point: point.name)}


def load(group: str, name: str, fits: Callable[[Any], bool], expected: str) -> Any:
    """Import what a package registers under a name; None where none does.

    Args:
        group: of entry points.
        name: in it.
        fits: whether an object is what the group is for.
        expected: what the group is for, in words.

    Raises:
        UsageError: it cannot be imported, or is something else.
    """
    point = registered(group).get(name)
    if point is None:
        return None
    where = f"{point.value!r}, which an installed package registers as {name} under {group},"
    try:
        found = point.load()
    except Exception as error:  # whatever importing somebody's package raises
        raise UsageError(f"{where} cannot be imported: {error}. Repair or uninstall the package.") from error
    if not fits(found):
        raise UsageError(f"{where} is of the type {type(found).__name__}; expected {expected}.")
    return found

"""Images that stand in a data set more than once, by the hashes of their contents."""

from collections.abc import Iterator, Mapping, Sequence

from cnnkit.data.results import Duplicates
from cnnkit.data.splits import PARTS, Part, Positions
from cnnkit.words import agree, counted

_NAMED = 3
"""Groups that a warning names."""


def find_duplicates(
    origins: Sequence[str], contents: Sequence[str], targets: Sequence[int], parts: Mapping[Part, Positions]
) -> Duplicates:
    """Return the images of a data set that have the content of another one.

    Args:
        origins: names of the images.
        contents: hashes of their contents.
        targets: their classes.
        parts: positions of the images of each split; images in none do not count.
    """
    of_part = {part: {contents[position] for position in where.tolist()} for part, where in parts.items()}
    images = sum(map(len, parts.values()))
    if sum(map(len, of_part.values())) == images == len(set().union(*of_part.values())):
        return Duplicates()
    groups: dict[str, list[int]] = {}
    for part in PARTS:
        for position in parts[part].tolist():
            groups.setdefault(contents[position], []).append(position)
    several = [group for group in groups.values() if len(group) > 1]
    across = [group for group in several if sum(contents[group[0]] in held for held in of_part.values()) > 1]
    mixed = [group for group in several if len({targets[position] for position in group}) > 1]

    def named(chosen: list[list[int]]) -> tuple[tuple[str, ...], ...]:
        return tuple(tuple(origins[position] for position in group) for group in chosen)

    places = {(contents[at], targets[at], part) for part, where in parts.items() for at in where.tolist()}
    return Duplicates(named(across), named(mixed), images - len(places))


def duplicate_warnings(found: Duplicates) -> Iterator[str]:
    """Yield what a user should know of duplicates, as sentences without their full stop."""
    if found.across_splits:
        yield (
            f"{_standing(found.across_splits)} in more than one split, which makes results look better than "
            f"they are: {_named(found.across_splits)}"
        )
    if found.across_classes:
        yield (
            f"{_standing(found.across_classes)} in more than one class, so that some labels must be wrong: "
            f"{_named(found.across_classes)}"
        )
    if found.copies:
        yield (
            f"{counted(found.copies, 'image')} {agree(found.copies, 'is', 'are')} identical to another one of the same "
            "class and split"
        )


def _standing(groups: Sequence[object]) -> str:
    return f"{counted(len(groups), 'identical image')} {agree(len(groups), 'stands', 'stand')}"


def _named(groups: Sequence[tuple[str, ...]]) -> str:
    shown = "; ".join(" = ".join(group[:_NAMED]) + (" = …" if len(group) > _NAMED else "") for group in groups[:_NAMED])
    return shown + (f" and {len(groups) - _NAMED:,} more" if len(groups) > _NAMED else "")

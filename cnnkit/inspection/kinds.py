"""Which dimensions of a tensor hold features of one place, as channels do, and which hold places."""

from collections.abc import Sequence
from math import gcd, prod

Part = tuple[int, bool]
"""The size of a dimension, or of a factor of one, and whether it holds features of one place."""

Kind = bool | tuple[Part, ...]
"""Whether a dimension holds features of one place; of one that a view made of several, the parts, outer ones first."""


def parts_of(kind: Kind, size: int) -> list[Part]:
    """Return what a dimension of some size was made of."""
    return [(size, kind)] if isinstance(kind, bool) else list(kind)


def kinds_of(sizes: Sequence[int], parts: Sequence[Part]) -> list[Kind]:
    """Return the kinds of dimensions of some sizes that a view makes of parts, which are given in order."""
    left = [part for part in parts if part[0] > 1]
    single: dict[int, list[bool]] = {}
    for place, (size, flag) in enumerate(parts):
        if size == 1:
            single.setdefault(prod(size for size, _ in parts[:place]), []).append(flag)
    found: list[Kind] = []
    for place, whole in enumerate(sizes):
        size, own = whole, list[Part]()
        waiting = single.get(prod(sizes[:place]), [])
        if whole == 1:
            # Where there are fewer places for them, the last without features go first, so that the batch stays.
            room = next((i for i, after in enumerate(sizes[place:]) if after > 1), len(sizes) - place)
            while len(waiting) > room and waiting.count(False) > 1:
                del waiting[-1 - waiting[::-1].index(False)]
            batch = place == 0 and len(waiting) < room and waiting[:1] == [True]
            own += [(1, waiting.pop(0))] if waiting and not batch else []
        else:
            own += [(1, True) for flag in waiting if flag]
        while size > 1:
            have, flag = left.pop(0)
            taken = gcd(have, size)
            if taken not in {have, size}:  # parts do not fit, as in 2×3 read as 3×2
                return [False] * len(sizes)
            if taken < have:
                left.insert(0, (have // taken, flag))
            own.append((taken, flag))
            size //= taken
        flags = {flag for _, flag in own}
        found.append(tuple(own) if len(flags) > 1 else flags == {True})
    return found


def agreed(kinds: Sequence[Kind]) -> Kind:
    """Return the kind of a dimension whose values are made of several tensors, which have these kinds."""
    if all(kind == kinds[0] for kind in kinds):
        return kinds[0] if kinds else False
    return any(kind is True for kind in kinds)


def fitting(kinds: Sequence[Sequence[Kind]], sizes: Sequence[int]) -> tuple[Kind, ...]:
    """Return the kinds of dimensions of some sizes, of each from those known; parts of another size do not count."""
    whole = [
        [kind for kind in known if isinstance(kind, bool) or prod(part for part, _ in kind) == size]
        for known, size in zip(kinds, sizes, strict=True)
    ]
    return tuple(map(agreed, whole))


def without_order(channels: Sequence[Kind], *places: int) -> tuple[Kind, ...]:
    """Return kinds after the dimensions at some places lost the order of their parts."""
    return tuple(
        False if place in places and not isinstance(kind, bool) else kind for place, kind in enumerate(channels)
    )

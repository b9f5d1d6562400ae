"""What rules of operators are given: bounds in place of tensors that come from an input."""

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor

from cnnkit.inspection.bounds import Bounds, none

Shape = tuple[int, ...]
Rule = Callable[..., Bounds | list[Bounds] | None]
"""Called with the shape of an operator's (first) result and its arguments, tensors that come from an input replaced by
their bounds; returns the bounds of the results, of several as a list; None where no input plays a part.

Raises `UnknownError`, or what Python raises where the operator has a form that the rule does not know.
"""


def of(value: Bounds | Tensor) -> Bounds:
    """Return the bounds of a tensor; of one that comes from no input, those of nothing."""
    return value if isinstance(value, Bounds) else none(value.shape)


def tracked(values: Iterable[Any]) -> list[Bounds]:
    """Return the bounds among arguments, those in lists as well."""
    found = []
    for value in values:
        if isinstance(value, Bounds):
            found.append(value)
        elif isinstance(value, list | tuple):
            found += tracked(value)
    return found


def listed(value: Any, count: int) -> list[int]:
    """Spell out a setting for each dimension: one number, or a list."""
    values = [value] if isinstance(value, int) else list(value)
    return values * count if len(values) == 1 else values

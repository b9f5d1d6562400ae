"""What rules of operators are given: bounds in place of tensors that come from an input."""

from collections.abc import Callable, Iterable, Sequence

from torch import Tensor

from cnnkit.inspection.bounds import Bounds, none

Shape = tuple[int, ...]
Value = Bounds | Tensor
"""A tensor that comes from an input, by its bounds; or one that does not, as it is."""
Setting = int | Sequence[int]
"""One number for all dimensions, or a list of one number or of one for each."""
Rule = Callable[..., Bounds | list[Bounds] | None]
"""Called with the shape of an operator's (first) result and its arguments, tensors that come from an input replaced by
their bounds; returns the bounds of the results, of several as a list; None where no input plays a part.

Raises `UnknownError`, or what Python raises where the operator has a form that the rule does not know.
"""


def of(value: Value) -> Bounds:
    """Return the bounds of a tensor; of one that comes from no input, those of nothing."""
    return value if isinstance(value, Bounds) else none(value.shape)


def tracked(values: Iterable[object]) -> list[Bounds]:
    """Return the bounds among arguments, those in lists as well."""
    found = []
    for value in values:
        if isinstance(value, Bounds):
            found.append(value)
        elif isinstance(value, list | tuple):
            found += tracked(value)
    return found


def listed(value: Setting, count: int) -> list[int]:
    """Return a setting for each of so many dimensions."""
    values = [value] if isinstance(value, int) else list(value)
    return values * count if len(values) == 1 else values

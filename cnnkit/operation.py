"""One definition a command: a generator that yields how far it is, and returns what it found.

>>> @operation
... def count(to: int) -> Generator[int, None, str]:
...     yield from range(to)
...     return f"counted to {to}"
>>> count(3), list(count.steps(3))
('counted to 3', [0, 1, 2])
"""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from functools import wraps
from typing import ParamSpec, Protocol, TypeVar, cast

P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")
U = TypeVar("U")
S_co = TypeVar("S_co", covariant=True)
T_co = TypeVar("T_co", covariant=True)
U_co = TypeVar("U_co", covariant=True)


class Operation(Protocol[P, S_co, T_co, U_co]):
    """A function with the steps of its work beside it, which take the same parameters."""

    __name__: str

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> U_co:
        """Do all of it."""

    def steps(self, *args: P.args, **kwargs: P.kwargs) -> Generator[S_co, None, T_co]:
        """Do it step by step; the generator returns the result, and ends the work when it is closed."""


def operation(definition: Callable[P, Generator[S, None, T]]) -> Operation[P, S, T, T]:
    """Make a function that returns the result of a generator; `steps` of it is the generator itself."""

    @wraps(definition)
    def whole(*args: P.args, **kwargs: P.kwargs) -> T:
        return result_of(definition(*args, **kwargs))

    return _with_steps(whole, definition)


def selecting(kind: type[U]) -> Callable[[Callable[P, Generator[S, None, T]]], Operation[P, S, T, Iterator[U]]]:
    """Make a generator of the steps of one kind, as an operation whose result is what happens on the way."""

    def decorated(definition: Callable[P, Generator[S, None, T]]) -> Operation[P, S, T, Iterator[U]]:
        @wraps(definition)
        def some(*args: P.args, **kwargs: P.kwargs) -> Iterator[U]:
            with closing(definition(*args, **kwargs)) as steps:
                for step in steps:
                    if isinstance(step, kind):
                        yield step

        return _with_steps(some, definition)

    return decorated


def _with_steps(function: Callable[P, U], definition: Callable[P, Generator[S, None, T]]) -> Operation[P, S, T, U]:
    vars(function)["steps"] = definition
    return cast("Operation[P, S, T, U]", function)


def result_of(steps: Generator[S, None, T], show: Callable[[S], object] | None = None) -> T:
    """Run a generator of steps to its end, give each step to `show`, and return its result."""
    with closing(steps):
        while True:
            try:
                step = next(steps)
            except StopIteration as stop:
                result: T = stop.value
                return result
            if show is not None:
                show(step)


def relayed(steps: Generator[S, None, T], change: Callable[[S], U]) -> Generator[U, None, T]:
    """Run a generator of steps to its end, yield what `change` makes of each step, and return its result."""
    with closing(steps):
        while True:
            try:
                step = next(steps)
            except StopIteration as stop:
                result: T = stop.value
                return result
            yield change(step)

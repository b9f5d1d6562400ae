"""Errors by their class and by what they name, tables by their cells: their sentences can be improved at any time."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest


@contextmanager
def expect_error(error: type[Exception], *names: object) -> Iterator[pytest.ExceptionInfo[Any]]:
    """Expect an error of this class and of none below it: the class of an error is its code.

    Each of `names` must stand in its message as words of their own: an option, a file, a layer, a number.
    """
    with pytest.raises(error) as caught:
        yield caught
    assert caught.type is error, f"{caught.type.__name__} instead of {error.__name__}"
    message = str(caught.value)
    missing = [name for name in map(str, names) if not re.search(rf"(?<!\w){re.escape(name)}(?!\w)", message)]
    assert not missing, f"{message!r} does not name {missing}"


def rows_of(text: str) -> list[list[str]]:
    """Return the lines of a drawn table as cells, which stand two or more spaces apart."""
    return [re.split(r"\s{2,}", line.strip()) for line in text.splitlines()]

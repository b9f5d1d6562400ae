"""Expect an error by its class and by what it names, so that its sentence can be improved at any time."""

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

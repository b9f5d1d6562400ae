"""Generators of progress: run to their end, watched or passed on, and closed where nobody wants the rest."""

from collections.abc import Generator

import pytest

from cnnkit.results import relayed, result_of


@pytest.fixture
def closed() -> list[int]:
    return []


def squares(count: int, closed: list[int]) -> Generator[int, None, str]:
    try:
        for number in range(count):
            yield number**2
    finally:
        closed.append(count)
    return f"{count} of them"


@pytest.mark.parametrize("count", [0, 1, 4])
def test_the_result_comes_back_and_each_step_is_shown(count: int, closed: list[int]) -> None:
    seen: list[int] = []
    assert result_of(squares(count, closed), seen.append) == f"{count} of them"
    assert seen == [0, 1, 4, 9][:count]
    assert result_of(squares(count, closed)) == f"{count} of them"


@pytest.mark.parametrize("count", [0, 1, 4])
def test_steps_are_changed_on_their_way_and_the_result_is_not(count: int, closed: list[int]) -> None:
    seen: list[str] = []
    assert result_of(relayed(squares(count, closed), lambda step: f"at {step}"), seen.append) == f"{count} of them"
    assert seen == ["at 0", "at 1", "at 4", "at 9"][:count]


def test_what_is_passed_on_is_closed_with_who_passes_it_on(closed: list[int]) -> None:
    inner = squares(4, closed)
    outer = relayed(inner, str)
    assert next(outer) == "0"
    outer.close()
    assert closed == [4]

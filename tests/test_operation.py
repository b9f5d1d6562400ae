"""Operations, and generators of steps: run to their end, watched or passed on, closed where nobody wants the rest."""

import inspect
import pydoc
from collections.abc import Generator
from contextlib import closing

import pytest

from cnnkit.operation import operation, relayed, result_of, selecting
from tests.expecting import expect_error


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


def test_what_is_shown_may_fail_and_the_work_is_closed(closed: list[int]) -> None:
    def fail(step: int) -> None:
        raise BrokenPipeError

    steps = squares(4, closed)
    with pytest.raises(BrokenPipeError):
        result_of(steps, fail)
    assert closed == [4]


def test_an_operation_gives_the_result_and_its_steps(closed: list[int]) -> None:
    """Take the same parameters both ways."""
    counted = operation(squares)
    assert counted(3, closed=closed) == "3 of them"
    assert list(counted.steps(3, closed)) == [0, 1, 4]
    assert result_of(counted.steps(count=2, closed=closed)) == "2 of them"
    with closing(counted.steps(5, closed)) as steps:
        assert next(steps) == 0
    assert closed == [3, 3, 2, 5]


def test_an_operation_may_select_what_happens_on_the_way(closed: list[int]) -> None:
    def numbers(count: int) -> Generator[int | str, None, str]:
        """Count."""
        for step in relayed(squares(count, closed), str):
            yield step
            yield int(step)
        return "done"

    counted = selecting(int)(numbers)
    assert list(counted(3)) == [0, 1, 4]
    assert list(counted.steps(2)) == ["0", 0, "1", 1]
    some = counted(9)
    assert next(some) == 0
    some.close()  # type: ignore[attr-defined]
    assert closed == [3, 2, 9]


@pytest.mark.parametrize("decorator", [operation, selecting(int)])
def test_help_and_signature_are_those_of_the_definition(decorator: object) -> None:
    def measure(ref: str, *, seed: int = 3) -> Generator[int, None, str]:
        """Measure a network."""
        yield seed
        return ref

    made = decorator(measure)  # type: ignore[operator]
    assert made.__name__ == "measure"
    assert made.__module__ == __name__
    assert inspect.signature(made) == inspect.signature(made.steps) == inspect.signature(measure)
    text = pydoc.plain(pydoc.render_doc(made))
    assert "measure(ref: str, *, seed: int = 3)" in text
    assert "Measure a network." in text
    with expect_error(TypeError, "sead"):
        list(made.steps("net", sead=3))

"""Progress: bars and spinners on a terminal, silence elsewhere, and the result in either case."""

from collections.abc import Generator

import pytest

from cnnkit.errors import DataError
from cnnkit.render import progress
from cnnkit.results import LoadProgress, WorkProgress

Captured = pytest.CaptureFixture[str]


def steps(count: int) -> Generator[LoadProgress, None, str]:
    for done in range(1, count + 1):
        yield LoadProgress("test images", done, count)
    return "the result"


@pytest.fixture(params=[False, True], ids=["pipe", "terminal"])
def terminal(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    if request.param:
        monkeypatch.setenv("TTY_COMPATIBLE", "1")
    return request.param


@pytest.mark.parametrize("count", [0, 1, 5])
def test_the_result_of_the_steps_comes_back(count: int, terminal: bool, capsys: Captured) -> None:
    assert progress.follow(steps(count), "evaluating net") == "the result"
    out, err = capsys.readouterr()
    assert out == ""
    assert ("evaluating net" in err) == terminal


def test_an_error_of_the_steps_comes_through(terminal: bool) -> None:
    def failing() -> Generator[LoadProgress, None, str]:
        yield LoadProgress("test images", 1, 2)
        raise DataError("no more")

    with pytest.raises(DataError, match="no more"):
        progress.follow(failing(), "evaluating net")


def test_work_without_measure_has_a_spinner(terminal: bool, capsys: Captured) -> None:
    with progress.working("exporting net"):
        pass
    out, err = capsys.readouterr()
    assert out == ""
    assert ("exporting net" in err) == terminal


def test_a_part_without_measure_has_no_count_of_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def parts() -> Generator[WorkProgress, None, None]:
        for step in (WorkProgress("a", 0, None), WorkProgress("a: b", 7, 9), WorkProgress("c", 0, None)):
            yield step
            (task,) = shown[0].tasks
            seen.append((task.description, task.completed, task.total))

    shown = []
    bar = progress.bar
    monkeypatch.setattr(progress, "bar", lambda: shown.append(bar()) or shown[0])
    progress.follow(parts(), "reporting")
    assert seen == [("a", 0, None), ("a: b", 7, 9), ("c", 0, None)]


def test_names_are_no_markup(terminal: bool, capsys: Captured) -> None:
    def part() -> Generator[WorkProgress, None, None]:
        yield WorkProgress("of [/x]", 1, 2)

    progress.follow(part(), "reporting on runs/[/b]")
    assert ("of [/x]" in capsys.readouterr().err) == terminal

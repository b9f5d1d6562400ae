"""Progress: bars and spinners on a terminal, now and then a line elsewhere, and the result in either case."""

import time
from collections.abc import Callable, Generator
from threading import Event

import pytest

from cnnkit.errors import DataError
from cnnkit.progress import LoadProgress, WorkProgress
from cnnkit.render import progress
from tests.expecting import expect_error

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

    with expect_error(DataError):
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


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> Callable[[str], list[str]]:
    """Wait until standard error says something; return all lines until then: `told("attacking")`; they come fast."""
    for name in ("_PAUSE", "_LONGEST"):
        monkeypatch.setattr(progress, name, 0.02)

    def wait(what: str) -> list[str]:
        said, deadline = "", time.monotonic() + 60
        while what not in said:
            assert time.monotonic() < deadline, said
            time.sleep(0.01)
            said += capsys.readouterr().err
        return said.splitlines()

    return wait


def test_a_log_is_told_what_is_done_even_while_a_step_takes_long(told: Callable[[str], list[str]]) -> None:
    def parts() -> Generator[LoadProgress | WorkProgress, None, None]:
        assert set(told("attacking net\nattacking net\n")) == {"attacking net"}
        yield LoadProgress("test images", 1, 4)
        told("reading test images: 1 of 4\n")
        yield LoadProgress("test images", 4, 4)
        told("attacking net\n")
        yield WorkProgress("pgd in linf, radius 0.1", 256, 1000)
        told("pgd in linf, radius 0.1: 256 of 1,000\n")
        yield WorkProgress("pgd in linf, radius 0.1", 512, 1000)
        (last, *_) = [line for line in told(" left\n") if line.endswith(" left")]
        assert last.startswith("pgd in linf, radius 0.1: 512 of 1,000, 0:0")
        yield WorkProgress("parity", 0, None)
        told("parity\n")

    progress.follow(parts(), "attacking net")


def test_a_log_is_told_nothing_of_what_is_done_soon_and_nothing_after_the_end(
    told: Callable[[str], list[str]], monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    with progress.working("exporting net"):
        assert set(told("exporting net\n")) == {"exporting net"}
    capsys.readouterr()
    time.sleep(0.1)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(progress, "_PAUSE", 10.0)
    progress.follow(steps(5), "evaluating net")
    assert capsys.readouterr().err == ""


def test_lines_come_less_and_less_often_up_to_one_a_minute(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    pauses: list[float | None] = []

    class Over(Event):
        def wait(self, timeout: float | None = None) -> bool:
            super().wait(300)  # for the end: by then there is work to tell of
            pauses.append(timeout)
            return len(pauses) == 8

    monkeypatch.setattr(progress, "Event", Over)
    with progress.working("exporting net"):
        pass
    assert pauses == [10, 15, 22.5, 33.75, 50.625, 60, 60, 60]
    assert capsys.readouterr().err.splitlines() == ["exporting net"] * 7


def test_the_time_left_is_that_of_the_part(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = []
    bar = progress.bar
    monkeypatch.setattr(progress, "bar", lambda: shown.append(bar()) or shown[0])

    def parts() -> Generator[WorkProgress, None, None]:
        for done in range(1, 4):
            time.sleep(0.001)
            yield WorkProgress("quick", done, 9)
        assert shown[0].tasks[0].time_remaining is not None
        yield WorkProgress("slow", 1, 9)
        assert shown[0].tasks[0].time_remaining is None

    progress.follow(parts(), "attacking")

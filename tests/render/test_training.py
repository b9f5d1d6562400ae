"""A training run as it is shown: rows and the bar on standard error, the result on standard output."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cnnkit.recipe import Recipe
from cnnkit.render import training
from cnnkit.results import (
    EpochRecord,
    LoadProgress,
    StepProgress,
    TrainingEvent,
    TrainingFinished,
    TrainingStarted,
)

Golden = Callable[[str, str], None]
Captured = pytest.CaptureFixture[str]
RUN = Path("net-photos-1")
RECIPE = Recipe(model="net", data="./photos", epochs=2, schedule="cosine", augmentation="affine", input_shape=(3, 8, 8))
STARTED = TrainingStarted(RUN, "cpu", 21_578, 48_000, 12_000, 10_000, 750)
FIRST = EpochRecord(1, 0.6543, 0.7812, 0.4321, 0.8765, 0.001, 12.34, 3890.5, True)
SECOND = EpochRecord(2, 0.4, 0.9, 0.5, 0.85, 0.0005, 11.0, 4200.0, False)
FINISHED = TrainingFinished(RUN, RUN / "best.safetensors", 1, 0.8765, 0.8712, 25.5)
EVENTS: list[TrainingEvent] = [
    LoadProgress("train images", 256, 1000),
    STARTED,
    StepProgress(1, 750, 48_000, 0.6543, 0.7812),
    FIRST,
    StepProgress(2, 750, 48_000, 0.4, 0.9),
    SECOND,
    FINISHED,
]


def interrupted(events: list[TrainingEvent]) -> Iterator[TrainingEvent]:
    yield from events
    raise KeyboardInterrupt


def test_a_run_that_ends_well(golden: Golden, capsys: Captured) -> None:
    training.show(iter(EVENTS), RECIPE, as_json=False)
    out, err = capsys.readouterr()
    golden("train-progress", err)
    golden("train-result", out.replace("\\", "/"))


def test_a_run_without_test_split_says_nothing_of_it(capsys: Captured) -> None:
    training.show(iter([*EVENTS[:-1], replace(FINISHED, test_accuracy=None)]), RECIPE, as_json=False)
    assert capsys.readouterr().out.startswith("best epoch 1: validation 87.65%, 25.5 s\n")


def test_json_has_recipe_epochs_and_result_and_progress_stays_where_it_is(capsys: Captured) -> None:
    training.show(iter(EVENTS), RECIPE, as_json=True)
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert (found["command"], found["status"]) == ("train", "ok")
    assert set(found["data"]) == {"recipe", "epochs", "result"}
    assert found["data"]["recipe"]["input_shape"] == [3, 8, 8]
    assert [record["epoch"] for record in found["data"]["epochs"]] == [1, 2]
    assert found["data"]["result"]["test_accuracy"] == 0.8712
    assert "epoch  train loss" in err


@pytest.mark.parametrize(
    ("seen", "message"),
    [
        (0, "stopped: training had not begun, and nothing is left behind"),
        (1, "stopped: training had not begun, and nothing is left behind"),
        (3, "stopped: training had not begun, and nothing is left behind"),
        (4, "stopped: the best so far, epoch 1 (87.65%), is in net-photos-1"),
        (6, "stopped: the best so far, epoch 1 (87.65%), is in net-photos-1"),
    ],
)
def test_a_run_that_is_stopped_says_what_is_kept_in_one_line(seen: int, message: str, capsys: Captured) -> None:
    with pytest.raises(KeyboardInterrupt):
        training.show(interrupted(EVENTS[:seen]), RECIPE, as_json=False)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[-1] == message
    assert err.count("stopped") == 1


def test_a_run_that_is_stopped_before_its_first_step_promises_no_weights(capsys: Captured) -> None:
    with pytest.raises(KeyboardInterrupt):
        training.show(interrupted(EVENTS[:2]), RECIPE, as_json=False)
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("stopped: ")
    assert "the weights as they were are in" not in last


def test_a_terminal_sees_loss_accuracy_speed_and_time_left(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", "120")

    def events() -> Iterator[TrainingEvent]:
        yield LoadProgress("train images", 256, 1000)
        time.sleep(0.15)
        yield STARTED
        for step in (100, 200, 300):
            time.sleep(0.05)
            yield StepProgress(1, step, 64 * step, 1.2345, 0.5678)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training.show(events(), RECIPE, as_json=False)
    err = capsys.readouterr().err
    assert "reading train images" in err
    for part in ("epoch 1/2", "loss 1.2345", "56.78%", " images/s", " left"):
        assert part in err, part


def test_a_huge_loss_does_not_hide_its_neighbours(capsys: Captured) -> None:
    wild = replace(FIRST, validation_loss=2.1e31, validation_accuracy=0.5)
    training.show(iter([STARTED, wild, FINISHED]), RECIPE, as_json=False)
    header, row = capsys.readouterr().err.splitlines()[2:4]
    assert len(row) <= len(header) + len(" best")
    assert "50.00%" in row

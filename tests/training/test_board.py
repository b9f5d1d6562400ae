"""The curves for TensorBoard are those of metrics.csv, once each, however often the run was interrupted."""

import csv
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from cnnkit.errors import MissingDependencyError
from cnnkit.recipe import Recipe
from cnnkit.training import loop
from cnnkit.training.board import Board, require_tensorboard
from cnnkit.training.results import EpochRecord, TrainingStopped
from cnnkit.training.runs import recipe_of
from tests.expecting import expect_error

pytestmark = pytest.mark.usefixtures("few_shapes")
FAST = {"model": "softmax-regression", "data": "shapes", "batch_size": 16, "epochs": 3, "tensorboard": True}
CURVES = {
    "loss/train": "train_loss",
    "loss/validation": "validation_loss",
    "accuracy/train": "train_accuracy",
    "accuracy/validation": "validation_accuracy",
    "learning rate": "learning_rate",
    "images per second": "images_per_second",
}


def train(recipe: Recipe, runs: Path, **options: Any) -> Any:
    *_, last = loop.train_events(recipe, runs_dir=runs, device="cpu", **options)
    return last


def curves(run: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard shows: epoch and value of each point."""
    found = EventAccumulator(str(run / "tensorboard"))
    found.Reload()
    return {tag: [(event.step, event.value) for event in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def next_second() -> None:
    """Wait as long as it takes: TensorBoard reads its files by the second in which they were made."""
    time.sleep(1.01 - time.time() % 1)


def assert_as_in_metrics(run: Path, epochs: int) -> None:
    with (run / "metrics.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == epochs
    found = curves(run)
    assert found.keys() == CURVES.keys()
    for tag, field in CURVES.items():
        assert [step for step, _ in found[tag]] == list(range(1, epochs + 1)), tag
        assert [value for _, value in found[tag]] == pytest.approx([float(row[field]) for row in rows], rel=1e-6)


def test_the_curves_are_those_of_the_metrics(tmp_path: Path) -> None:
    assert_as_in_metrics(train(Recipe(**FAST), tmp_path).run, 3)


def test_they_are_written_only_where_they_are_asked_for(tmp_path: Path) -> None:
    finished = train(Recipe(**{**FAST, "tensorboard": False}), tmp_path)
    assert not (finished.run / "tensorboard").exists()


@pytest.mark.parametrize("epoch", [1, 2])
def test_each_epoch_can_be_seen_once_it_is_done(epoch: int, tmp_path: Path) -> None:
    events = loop.train_events(Recipe(**FAST), runs_dir=tmp_path, device="cpu")
    while not (isinstance(event := next(events), EpochRecord) and event.epoch == epoch):
        pass
    assert [step for step, _ in curves(tmp_path / "softmax-regression-shapes-1")["loss/train"]] == [1, 2][:epoch]
    events.close()


@pytest.mark.parametrize("call", [2, 6, 12])
def test_a_resumed_run_shows_every_epoch_once(call: int, tmp_path: Path) -> None:
    calls = 0

    def stop() -> bool:
        nonlocal calls
        calls += 1
        return calls == call

    stopped = train(Recipe(**FAST), tmp_path, stop=stop)
    assert isinstance(stopped, TrainingStopped)
    next_second()
    train(recipe_of(stopped.run), tmp_path, resume=stopped.run)
    assert_as_in_metrics(stopped.run, 3)


@pytest.mark.parametrize("epochs", [0, 1, 2])
def test_an_epoch_that_was_shown_and_lost_is_shown_once(epochs: int, tmp_path: Path) -> None:
    # Killed after the curves were written and before the state was: the epoch after the last state comes again.
    events = loop.train_events(Recipe(**FAST), runs_dir=tmp_path, device="cpu")
    run, saved = tmp_path / "softmax-regression-shapes-1", {}
    for event in events:
        if isinstance(event, EpochRecord):
            if event.epoch == epochs:
                saved = {path.name: path.read_bytes() for path in run.glob("state*")}
            if event.epoch == epochs + 1:
                break
    events.close()
    for path in run.glob("state*"):
        path.unlink()
    for name, content in saved.items():
        (run / name).write_bytes(content)
    next_second()
    train(recipe_of(run), tmp_path, resume=run)
    assert_as_in_metrics(run, 3)


def test_curves_can_be_asked_for_later(tmp_path: Path) -> None:
    recipe = Recipe(**{**FAST, "tensorboard": False, "epochs": 1})
    run = train(recipe, tmp_path).run
    train(recipe.override({"tensorboard": True, "epochs": 3}), tmp_path, resume=run)
    assert [step for step, _ in curves(run)["loss/train"]] == [2, 3]


def test_nothing_is_written_for_nobody(tmp_path: Path) -> None:
    board = Board(tmp_path, False, after=0)
    board.add(EpochRecord(1, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, True))
    board.close()
    assert list(tmp_path.iterdir()) == []


def test_without_tensorboard_the_pip_line_is_the_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_tensorboard()
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)  # as if it were not installed
    with expect_error(MissingDependencyError, "pip install 'cnnkit[tensorboard]'"):
        train(Recipe(**FAST), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_curves_of_a_dry_run_say_so(tmp_path: Path) -> None:
    run = train(Recipe(**{**FAST, "limit_batches": 1}), tmp_path).run
    assert {"loss/train (dry run)", "accuracy/validation (dry run)"} <= curves(run).keys()
    assert not curves(run).keys() & {"loss/train", "accuracy/validation"}

"""What a run says of its recipe before it begins, and of what it learnt after its end."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from cnnkit.recipe import Recipe
from cnnkit.training import loop
from cnnkit.training.advice import notes_before
from cnnkit.training.classification import Classification
from cnnkit.training.results import EpochRecord, TrainingFinished

RECORD = EpochRecord(
    epoch=1, train_loss=1.0, train_accuracy=0.5, validation_loss=1.0, validation_accuracy=0.5, learning_rate=0.1,
    seconds=1.0, images_per_second=1.0, is_best=True, dry_run=False, train_images=10,
)  # fmt: skip


def texts(recipe: Recipe, done: int | None = None) -> str:
    return "; ".join(note.text for note in notes_before(recipe, 10, done))


@pytest.mark.parametrize(
    ("epochs", "decay_epochs", "falls"), [(30, 30, False), (31, 30, True), (1, 5, False), (6, 5, True), (0, 5, True)]
)
def test_a_step_schedule_that_never_falls_is_said(epochs: int, decay_epochs: int, falls: bool) -> None:
    recipe = Recipe(schedule="step", epochs=epochs, decay_epochs=decay_epochs)
    assert ("keeps its rate" in texts(recipe)) != falls
    assert texts(Recipe(schedule="constant", epochs=epochs)) == ""


@pytest.mark.parametrize(("epochs", "done", "over"), [(2, 2, True), (2, 4, True), (3, 2, False), (0, 0, True)])
def test_a_finished_run_that_is_resumed_says_how_to_go_on(epochs: int, done: int, over: bool) -> None:
    assert (f"--epochs {done + max(1, epochs)} goes on" in texts(Recipe(epochs=epochs), done)) == over


@pytest.mark.parametrize(("loss", "said"), [(math.log(10), True), (9.6, True), (2.30, False), (0.1, False)])
def test_a_network_that_guesses_is_said(loss: float, said: bool) -> None:
    assert bool(Classification(10).advice([RECORD, replace(RECORD, train_loss=loss)])) == said


def test_a_dry_run_and_one_of_no_epochs_say_nothing_of_what_was_learnt() -> None:
    assert Classification(10).advice([]) == ""
    assert Classification(10).advice([replace(RECORD, train_loss=9.0, dry_run=True)]) == ""


@pytest.mark.parametrize(("rate", "said"), [(1e-9, True), (0.002, False)])
def test_a_run_says_that_it_learnt_nothing(rate: float, said: bool, photos: Path, tmp_path: Path) -> None:
    recipe = Recipe(
        model="softmax-regression", data=str(photos), epochs=3, learning_rate=rate, normalisation="standard",
        input_shape=(1, 28, 28), seed=1,
    )  # fmt: skip
    events = list(loop.train_events(recipe, runs_dir=tmp_path, device="cpu"))
    assert isinstance(events[-1], TrainingFinished)
    assert bool(events[-1].advice) == said

"""Going on with a run: to the last bit as if nothing had happened, or not at all."""

import csv
import math
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from cnnkit.data import loaded as data
from cnnkit.data import sets
from cnnkit.errors import CheckpointError, CnnkitError, DataError, OutputError, UsageError
from cnnkit.progress import LoadProgress, Notice
from cnnkit.recipe import Recipe
from cnnkit.sources import find
from cnnkit.sources.checkpoint import load_checkpoint
from cnnkit.training import engine, loop
from cnnkit.training.results import (
    EpochRecord,
    StartRecord,
    TrainingEvent,
    TrainingFinished,
    TrainingStarted,
    TrainingStopped,
)
from cnnkit.training.runs import recipe_of
from cnnkit.training.state import PREVIOUS, STATE, read_state, write_state
from tests.expecting import expect_error

pytestmark = pytest.mark.usefixtures("fewer_shapes", "nets")
FEWER = replace(sets.BUILT_IN["shapes"], train=30, test=9)

# 24 images in batches of 7 are four steps, the last of three images; stopping is asked for after each, and before each
# batch that is measured: the fifth time of an epoch. The 16th is on the test images, when all epochs are done.
BASE = {"model": "tinynets:Regular", "data": "shapes", "batch_size": 7, "epochs": 3}
EVERYTHING = {
    "optimizer": "sgd", "momentum": 0.9, "nesterov": True, "learning_rate": 0.01, "schedule": "cosine",
    "warmup_epochs": 0.5, "weight_decay": 1e-4, "clip_norm": 1.0, "ema": 0.9, "mixup": 0.4, "label_smoothing": 0.1,
    "class_weights": "balanced", "normalisation": "standard", "augmentation": "affine",
}  # fmt: skip
RECIPES: dict[str, dict[str, Any]] = {
    "everything": EVERYTHING,
    "adam": {"learning_rate": 2e-3, "schedule": "one-cycle", "augmentation": "drawings"},
    "rmsprop": {"optimizer": "rmsprop", "momentum": 0.5, "schedule": "step", "decay_epochs": 1},
    "bf16": {**EVERYTHING, "optimizer": "adamw", "momentum": 0.0, "nesterov": False, "precision": "bf16"},
    "shapes-cnn": {"model": "shapes-cnn", "augmentation": "drawings"},
    "adversarial": {**EVERYTHING, "adversarial_training": 0.1, "adversarial_steps": 2},
    "digit-cnn": {"model": "digit-cnn", "augmentation": "digits", "ema": 0.5},
}
QUICK = {"model": "softmax-regression", "data": "shapes", "batch_size": 8, "learning_rate": 0.01, "epochs": 2}


@pytest.fixture
def fewer_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `shapes` be 30 images to train, 6 of them to validate, and 9 to test."""
    monkeypatch.setitem(sets.BUILT_IN, "shapes", FEWER)


def recipe_named(name: str, **changes: object) -> Recipe:
    return Recipe(**{**BASE, **RECIPES[name], **changes})


def at_call(number: int) -> Callable[[], bool]:
    """Ask to stop the so many-th time that anybody wants to know."""
    calls = 0

    def stop() -> bool:
        nonlocal calls
        calls += 1
        return calls == number

    return stop


def begin(recipe: Recipe, runs: Path, **options: Any) -> Iterator[TrainingEvent]:
    return loop.train_events(recipe, runs_dir=runs, device="cpu", **options)


def train(recipe: Recipe, runs: Path, **options: Any) -> TrainingFinished:
    *_, finished = begin(recipe, runs, **options)
    assert isinstance(finished, TrainingFinished)
    return finished


def stopped(recipe: Recipe, runs: Path, call: int, **options: Any) -> TrainingStopped:
    *_, event = begin(recipe, runs, stop=at_call(call), **options)
    assert isinstance(event, TrainingStopped)
    return event


def resume(run: Path, **options: Any) -> TrainingFinished:
    return train(recipe_of(run), run.parent / "elsewhere", resume=run, **options)


@dataclass
class Outcome:
    """All that a run leaves, but for its times."""

    weights: str
    metrics: dict[str, float]
    curves: list[dict[str, str]]
    tensors: dict[str, Tensor]
    facts: dict[str, Any]


TIMES = {"seconds", "epoch_seconds", "images_per_second"}


def outcome(run: Path) -> Outcome:
    with (run / "metrics.csv").open(encoding="utf-8", newline="") as file:
        curves = [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(file)]
    state = read_state(run)
    assert state is not None
    facts = {k: v for k, v in state[1].items() if k not in TIMES | {"records"}}
    card = load_checkpoint(run / "best.safetensors", "best", trust_code=True)[1]
    return Outcome(card.weights_sha256, dict(card.metrics), curves, state[0], facts)


def assert_same(run: Path, expected: Outcome) -> None:
    found = outcome(run)
    assert found.curves == expected.curves
    assert found.metrics == expected.metrics
    assert found.weights == expected.weights
    assert found.facts == expected.facts
    assert found.tensors.keys() == expected.tensors.keys()
    differing = [name for name, tensor in found.tensors.items() if not same_numbers(tensor, expected.tensors[name])]
    assert differing == []


def same_numbers(one: Tensor, other: Tensor) -> bool:
    return torch.equal(one.nan_to_num(7), other.nan_to_num(7)) if one.is_floating_point() else torch.equal(one, other)


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Outcome]:
    """What a recipe gives when nothing interrupts it."""
    found: dict[str, Outcome] = {}

    def get(name: str) -> Outcome:
        if name not in found:
            found[name] = outcome(train(recipe_named(name), tmp_path_factory.mktemp(name)).run)
        return found[name]

    return get


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def noise(_: object = None) -> None:
    """Draw from every global generator, as whoever looks at events may."""
    torch.rand(3)
    np.random.rand(5)
    random.random()
    random.gauss(0, 1)


@pytest.mark.slow
@pytest.mark.no_cover
@pytest.mark.parametrize(
    ("name", "call"),
    [("everything", call) for call in range(1, 17)]
    + [(name, call) for name in RECIPES if name != "everything" for call in (1, 4, 8, 15)],
)
def test_a_stopped_run_goes_on_to_the_same_end(
    name: str, call: int, straight: Callable[[str], Outcome], tmp_path: Path
) -> None:
    event = stopped(recipe_named(name), tmp_path, call)
    # In the measuring of an epoch its steps are done, and the epoch is not.
    epoch, step = divmod(call - 1, 5)
    assert (event.epochs, event.steps) == (3, 0) if call == 16 else (epoch, min(step + 1, 4))
    assert event.run.parent == tmp_path
    best = load_checkpoint(event.run / "best.safetensors", "best", trust_code=True)[1]
    assert best.metrics.get("epoch", 0) == event.best_epoch
    finished = resume(event.run)
    assert finished.run == event.run
    assert not (tmp_path / "elsewhere").exists()
    assert_same(event.run, straight(name))


@pytest.mark.slow
def test_a_run_may_be_stopped_again_and_again(straight: Callable[[str], Outcome], tmp_path: Path) -> None:
    run = stopped(recipe_named("everything"), tmp_path, 1).run
    for _ in range(11):
        stopped(recipe_of(run), tmp_path, 1, resume=run)
    resume(run)
    assert_same(run, straight("everything"))


@pytest.mark.slow
@pytest.mark.no_cover
def test_closing_at_any_event_loses_nothing_even_if_somebody_drew_numbers(
    straight: Callable[[str], Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_PROGRESS_SECONDS", 0)
    kinds = [type(event) for event in begin(recipe_named("everything"), tmp_path / "all")]
    first = kinds.index(StartRecord) + 1  # before the first step there is nothing to lose
    assert len(kinds) == first + 3 * (4 + 1) + 1
    for number in range(first, len(kinds)):
        events = begin(recipe_named("everything"), tmp_path / str(number))
        for _ in range(number + 1):
            next(events)
            noise()
        events.close()
        (run,) = (tmp_path / str(number)).iterdir()
        resume(run)
        assert_same(run, straight("everything"))


def test_an_exception_that_is_thrown_in_loses_nothing_either(
    straight: Callable[[str], Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_PROGRESS_SECONDS", 0)
    events = begin(recipe_named("everything"), tmp_path)
    while not isinstance(next(events), EpochRecord):
        pass
    next(events)
    noise()
    with pytest.raises(KeyboardInterrupt):
        events.throw(KeyboardInterrupt)
    (run,) = tmp_path.iterdir()
    state = read_state(run)
    assert state is not None
    assert (state[1]["epoch"], state[1]["step"]) == (1, 1)
    resume(run)
    assert_same(run, straight("everything"))


def test_whoever_draws_random_numbers_between_events_changes_nothing(
    straight: Callable[[str], Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_PROGRESS_SECONDS", 0)
    for event in begin(recipe_named("everything"), tmp_path):
        noise(event)
    assert_same(event.run, straight("everything"))


@pytest.mark.slow
@pytest.mark.no_cover
@pytest.mark.parametrize("damaged", [False, True], ids=["whole", "newest damaged"])
def test_killed_at_any_step_a_run_goes_on_from_its_last_state(
    damaged: bool, straight: Callable[[str], Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_PROGRESS_SECONDS", 0)
    copies = []
    for _ in begin(recipe_named("everything"), tmp_path / "runs", checkpoint_every=2):
        run = tmp_path / "runs" / "tinynets-Regular-shapes-1"
        if run.is_dir():  # what a killed process leaves at this moment
            copies.append(Path(shutil.copytree(run, tmp_path / f"copy-{len(copies)}")))
            (copies[-1] / ".cnnkit.dead.tmp").write_bytes(b"half a st")
    assert len(copies) == 3 + 3 * 5 + 1  # a note, the start, …
    for copy in copies[:: 3 if damaged else 1]:
        if damaged and (copy / STATE).exists():
            (copy / STATE).write_bytes((copy / STATE).read_bytes()[:-20])
            if not (copy / PREVIOUS).exists():
                with expect_error(CheckpointError):
                    resume(copy)
                continue
        resume(copy)
        assert_same(copy, straight("everything"))
        assert not (copy / ".cnnkit.dead.tmp").exists()


def test_states_within_an_epoch_change_nothing(straight: Callable[[str], Outcome], tmp_path: Path) -> None:
    finished = train(recipe_named("everything"), tmp_path, checkpoint_every=1)
    assert_same(finished.run, straight("everything"))


def test_a_finished_run_is_measured_again_and_stays_as_it_is(
    straight: Callable[[str], Outcome], tmp_path: Path
) -> None:
    finished = train(recipe_named("everything"), tmp_path)
    before = content(finished.run)
    again = list(begin(recipe_of(finished.run), tmp_path, resume=finished.run))
    note, *events = [event for event in again if not isinstance(event, LoadProgress)]
    assert isinstance(note, Notice)
    assert "nothing is left to train" in note.text
    assert [type(event) for event in events] == [TrainingStarted, TrainingFinished]
    assert again[-1] == finished
    assert content(finished.run) == before
    assert_same(finished.run, straight("everything"))


@pytest.mark.parametrize("schedule", ["constant", "one-cycle"])
def test_a_run_of_no_epochs_goes_on(schedule: str, tmp_path: Path) -> None:
    recipe = Recipe(model="mlp", data="shapes", schedule=schedule, epochs=2, batch_size=16)
    straight = [event for event in begin(recipe, tmp_path / "straight") if isinstance(event, EpochRecord)]
    events = list(begin(recipe.override({"epochs": 0}), tmp_path / "runs"))
    run = next(event.run for event in events if isinstance(event, TrainingStarted))
    gone_on = [event for event in begin(recipe, tmp_path / "runs", resume=run) if isinstance(event, EpochRecord)]
    assert [event.validation_loss for event in gone_on] == [event.validation_loss for event in straight]


def test_stopped_in_its_first_epoch_a_run_of_no_epochs_keeps_what_was_trained(tmp_path: Path) -> None:
    recipe = Recipe(model="mlp", data="shapes", epochs=2, batch_size=16)
    events = list(begin(recipe.override({"epochs": 0}), tmp_path))
    run = next(event.run for event in events if isinstance(event, TrainingStarted))
    assert not find(str(run)).weights()[1].trained
    calls = iter([False, True])
    list(begin(recipe, tmp_path, resume=run, stop=lambda: next(calls)))
    network, card = find(str(run)).weights()
    state = read_state(run)
    assert state is not None
    assert card.trained
    assert all(torch.equal(state[0][f"model.{name}"], tensor) for name, tensor in network.state_dict().items())


def test_what_begins_is_said_where_a_run_goes_on(tmp_path: Path) -> None:
    run = stopped(recipe_named("adam"), tmp_path, 8).run
    events = begin(recipe_of(run), tmp_path, resume=run)
    started = next(event for event in events if isinstance(event, TrainingStarted))
    events.close()
    assert started.resumed_at == (1, 3)
    assert [record.epoch for record in started.earlier] == [1]
    assert started.start is not None
    assert (started.start.images, started.start.dry_run) == (started.validation_images, False)
    with (run / "metrics.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert {name: str(value) for name, value in vars(started.earlier[0]).items()} == row


def test_the_time_of_earlier_parts_counts(tmp_path: Path) -> None:
    run = stopped(recipe_named("adam"), tmp_path, 8).run
    state = read_state(run)
    assert state is not None
    assert 0 < state[1]["epoch_seconds"] < state[1]["seconds"]
    write_state(run, state[0], {**state[1], "seconds": 1000.0, "epoch_seconds": 500.0})
    *_, second, third, finished = (e for e in begin(recipe_of(run), tmp_path, resume=run) if not is_progress(e))
    assert 500 < second.seconds < 600
    assert second.images_per_second == pytest.approx(24 / 500, rel=0.2)
    assert 0 < third.seconds < 100
    assert 1000 < finished.seconds < 1100


def is_progress(event: object) -> bool:
    return type(event).__name__.endswith("Progress")


def test_a_run_that_was_killed_before_its_first_state_begins_again(
    straight: Callable[[str], Outcome], tmp_path: Path
) -> None:
    run = tmp_path / "tinynets-Regular-shapes-1"
    run.mkdir()
    recipe_named("adam").write(run / "run.toml")
    events = begin(recipe_of(run), tmp_path, resume=run)
    started = next(event for event in events if isinstance(event, TrainingStarted))
    events.close()
    assert started.resumed_at is None
    # Stopped at once, a folder that was there before stays there.
    resume(run)
    assert_same(run, straight("adam"))


@pytest.mark.slow
@pytest.mark.parametrize("end", ["finished", "closed at the end", "stopped at the test", "stopped"])
@pytest.mark.parametrize("name", ["everything", "rmsprop"])
def test_more_epochs_are_those_of_a_longer_run(name: str, end: str, tmp_path: Path) -> None:
    longer = recipe_named(name, epochs=5, schedule="step" if name == "rmsprop" else "constant")
    expected = outcome(train(longer, tmp_path / "longer").run)
    shorter = longer.override({"epochs": 3})
    if end == "closed at the end":
        events = begin(shorter, tmp_path)
        while not isinstance(event := next(events), TrainingFinished):
            pass
        events.close()
    elif end == "finished":
        event = train(shorter, tmp_path)
    else:
        event = stopped(shorter, tmp_path, 16 if end == "stopped at the test" else 13)
    assert event.best_epoch < 3, "the weights that are kept are not the last ones"
    train(recipe_of(event.run).override({"epochs": 5}), tmp_path, resume=event.run)
    assert recipe_of(event.run).epochs == 5, "the recipe in the folder is that of all of its epochs"
    assert_same(event.run, expected)


def test_patience_and_time_may_change(tmp_path: Path) -> None:
    recipe = recipe_named("adam", schedule="constant", max_seconds=1e-9)
    finished = train(recipe, tmp_path)
    assert finished.ended_by == "max-seconds"
    assert finished.best_epoch == 1
    finished = resume(finished.run)
    assert finished.ended_by == "max-seconds"
    more = train(recipe.override({"max_seconds": 0.0, "patience": 50}), tmp_path, resume=finished.run)
    assert more.ended_by == "epochs"
    assert len((more.run / "metrics.csv").read_text().splitlines()) == 1 + 3
    assert recipe_of(more.run).patience == 50


# What cannot go on.


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was stopped in its second epoch; read only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sets.BUILT_IN, "shapes", FEWER)
        return stopped(Recipe(**QUICK), tmp_path_factory.mktemp("quick"), 6).run


@pytest.fixture
def own(quick: Path, tmp_path: Path) -> Path:
    """A copy of `quick` that a test may change."""
    return Path(shutil.copytree(quick, tmp_path / "runs" / quick.name))


def refused(run: Path, error: type[CnnkitError], name: str, recipe: Recipe | None = None, **options: Any) -> None:
    """Resume, and make sure that it fails without a trace."""
    before = content(run) if run.is_dir() else None
    with expect_error(error, name):
        list(begin(recipe or recipe_of(run), run.parent, resume=run, **options))
    assert (content(run) if run.is_dir() else None) == before
    assert [path.name for path in run.parent.iterdir()] in ([run.name], [])


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("model", "mlp", "model was 'softmax-regression' and is 'mlp'"),
        ("data", "mnist", "data was 'shapes' and is 'mnist'"),
        ("seed", 1, "seed was 0 and is 1"),
        ("batch_size", 6, "batch_size was 8 and is 6"),
        ("learning_rate", 0.02, "learning_rate was 0.01 and is 0.02"),
        ("optimizer", "sgd", "optimizer was 'adam' and is 'sgd'"),
        ("augmentation", "affine", "augmentation was 'none' and is 'affine'"),
        ("precision", "bf16", "precision was 'fp32' and is 'bf16'"),
        ("ema", 0.9, "ema was 0.0 and is 0.9"),
        ("limit_batches", 2, "limit_batches was 0 and is 2"),
        ("validation_fraction", 0.3, "validation_fraction was 0.2 and is 0.3"),
        ("input_shape", (3, 14, 14), "input_shape was (3, 28, 28) and is (3, 14, 14)"),
        ("compile", True, "compile was False and is True"),
    ],
)
def test_another_recipe_is_another_run(field: str, value: object, said: str, own: Path) -> None:
    refused(own, UsageError, said, recipe_of(own).override({field: value}))


def test_every_difference_is_named(own: Path) -> None:
    recipe = recipe_of(own).override({"seed": 3, "batch_size": 4, "epochs": 9})
    refused(own, UsageError, "batch_size was 8 and is 4; seed was 0 and is 3", recipe)


@pytest.mark.parametrize("schedule", ["cosine", "one-cycle"])
def test_a_schedule_over_all_epochs_takes_no_more_of_them(schedule: str, tmp_path: Path) -> None:
    run = stopped(Recipe(**QUICK, schedule=schedule), tmp_path, 2).run
    refused(run, UsageError, "epochs was 2 and is 3", recipe_of(run).override({"epochs": 3}))


def test_without_a_state_yet_the_recipe_in_the_folder_counts(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "run"
    run.mkdir(parents=True)
    Recipe(**QUICK).write(run / "run.toml")
    refused(run, UsageError, "seed was 0 and is 5", Recipe(**QUICK, seed=5))


@pytest.mark.parametrize("given", ["missing", "empty", "file"])
def test_what_is_no_run_folder_cannot_be_resumed(given: str, tmp_path: Path) -> None:
    run = tmp_path / "runs" / given
    run.parent.mkdir()
    if given == "empty":
        run.mkdir()
    elif given == "file":
        run.write_text("")
    with expect_error(OutputError if given == "file" else UsageError, given):
        list(begin(Recipe(**QUICK), run.parent, resume=run))
    assert [p.name for p in run.parent.iterdir()] == [given] * (given != "missing")
    assert not run.is_dir() or list(run.iterdir()) == []


def damage_both(run: Path) -> None:
    for path in (run / STATE, run / PREVIOUS):
        path.write_bytes(b"")


def test_damaged_states_are_an_error_that_leaves_the_folder_alone(own: Path) -> None:
    damage_both(own)
    refused(own, CheckpointError, "best.safetensors")


def change_facts(run: Path, **changes: object) -> None:
    state = read_state(run)
    assert state is not None
    write_state(run, state[0], {**state[1], **changes})


@pytest.mark.parametrize("changes", [{"content": "other"}, {"classes": ["circles", "squares", "stars"]}], ids=str)
def test_other_data_under_the_same_name_is_refused(changes: dict[str, object], own: Path) -> None:
    change_facts(own, **changes)
    refused(own, DataError, "shapes")


def test_a_state_of_another_network_is_refused(own: Path) -> None:
    state = read_state(own)
    assert state is not None
    tensors = {name.replace("model.", "model.other."): tensor for name, tensor in state[0].items()}
    write_state(own, tensors, state[1])
    refused(own, CheckpointError, "state")


@pytest.fixture
def photos_quick(own_photos: Path, tmp_path: Path) -> Path:
    """A run on `own_photos` that was stopped in its second epoch."""
    recipe = Recipe(**{**QUICK, "data": str(own_photos), "batch_size": 4})
    return stopped(recipe, tmp_path / "runs", 6).run


@pytest.mark.parametrize("change", ["added", "removed", "replaced", "renamed"])
def test_a_folder_that_changed_is_refused_until_it_is_as_it_was(
    change: str, photos_quick: Path, own_photos: Path
) -> None:
    file, new = own_photos / "dark" / "03.png", own_photos / "dark" / "new.png"
    old = file.read_bytes()
    if change == "added":
        shutil.copy(file, new)
    elif change == "removed":
        file.unlink()
    elif change == "renamed":
        file.rename(new)
    else:
        shutil.copy(own_photos / "light" / "03.png", file)
    refused(photos_quick, DataError, "photos")
    new.unlink(missing_ok=True)
    file.write_bytes(old)
    assert resume(photos_quick).ended_by == "epochs"


def test_an_image_that_was_painted_over_is_noticed_though_its_size_is_the_same(
    own_photos: Path, tmp_path: Path
) -> None:
    file = own_photos / "dark" / "03.bmp"
    with Image.open(file.with_suffix(".png")) as image:
        image.save(file)
    old = file.read_bytes()
    run = stopped(Recipe(**{**QUICK, "data": str(own_photos), "batch_size": 4}), tmp_path / "runs", 6).run
    file.write_bytes(old[:-1] + bytes([old[-1] ^ 255]))
    refused(run, DataError, "photos")
    file.write_bytes(old)
    assert resume(run).ended_by == "epochs"


def test_a_folder_that_was_moved_is_another_one(photos_quick: Path, own_photos: Path) -> None:
    moved = own_photos.rename(own_photos.with_name("moved"))
    refused(photos_quick, DataError, "photos")
    recipe = recipe_of(photos_quick).override({"data": str(moved)})
    refused(photos_quick, UsageError, "moved", recipe)


def test_a_run_on_a_relative_folder_goes_on_from_anywhere(
    own_photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(own_photos.parent)
    recipe = Recipe(**{**QUICK, "data": "./photos", "batch_size": 4})
    expected = outcome(train(recipe, tmp_path / "straight").run)
    run = stopped(recipe, tmp_path / "runs", 6).run
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    assert recipe_of(run).data == str(own_photos.resolve())
    resume(run)
    found = outcome(run)
    assert (found.weights, found.curves) == (expected.weights, expected.curves)
    card = load_checkpoint(run / "best.safetensors", "best")[1]
    assert card.recipe is not None
    assert card.recipe["data"] == "./photos", "the card, which travels, keeps what was given"
    train(recipe_of(run), tmp_path / "again")


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_images_that_are_streamed_out_of_a_file_train_the_same_network(
    own_photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Recipe(**{**QUICK, "data": str(own_photos), "batch_size": 4, "augmentation": "affine"})
    expected = outcome(train(recipe, tmp_path / "held").run)
    monkeypatch.setattr(data, "fits_in_memory", lambda _: False)
    assert_same(train(recipe, tmp_path / "streamed").run, expected)
    run = stopped(recipe, tmp_path / "stopped", 6).run
    resume(run)
    assert_same(run, expected)


# What is not the same any more, and does not matter.


def notes_of(run: Path) -> list[str]:
    return [event.text for event in begin(recipe_of(run), run.parent, resume=run) if isinstance(event, Notice)]


def test_on_the_same_machine_there_is_nothing_to_note(own: Path) -> None:
    assert notes_of(own) == []


def test_going_on_from_an_older_state_is_noted(own: Path) -> None:
    (own / STATE).write_bytes(b"")
    (note,) = notes_of(own)
    assert str(own / STATE) in note
    assert note.endswith("Going on from the state before that one")


def test_another_number_of_threads_is_noted(own: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        (note,) = notes_of(own)
    finally:
        torch.set_num_threads(threads)
    assert note.startswith(f"the run was begun elsewhere (threads {threads} → {threads + 1}), so its weights")


def test_other_versions_and_machines_are_noted_and_the_run_goes_on(own: Path) -> None:
    state = read_state(own)
    assert state is not None
    change_facts(own, built_with={**state[1]["built_with"], "torch": "1.0", "device": "cuda"}, processes=4)
    (note,) = notes_of(own)
    assert all(part in note for part in ("torch 1.0 → ", "device cuda → cpu", "processes 4 → 1"))
    assert len((own / "metrics.csv").read_text().splitlines()) == 1 + 2
    assert math.isfinite(outcome(own).metrics["validation_loss"])

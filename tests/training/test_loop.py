"""The training loop: its events, its run folder, its repeatability, and how it ends when it ends badly."""

import contextlib
import csv
from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path

import pytest

from cnnkit import api, datasets
from cnnkit.card import ModelCard
from cnnkit.errors import CnnkitError, DataError, OutputError, TrainingDivergedError, UnknownNameError, UsageError
from cnnkit.recipe import Recipe
from cnnkit.results import (
    EpochRecord,
    LoadProgress,
    StepProgress,
    TrainingEvent,
    TrainingFinished,
    TrainingStarted,
    result_of,
)
from cnnkit.training import loop, networks
from cnnkit.training.evaluation import evaluate_network

pytestmark = pytest.mark.usefixtures("few_shapes")
FAST = {"model": "softmax-regression", "data": "shapes", "batch_size": 16, "learning_rate": 0.01, "epochs": 3}


def start(runs: Path, **changes: object) -> Iterator[TrainingEvent]:
    return loop.train_events(Recipe(**{**FAST, **changes}), runs_dir=runs, device="cpu")


def train(runs: Path, **changes: object) -> tuple[list[EpochRecord], TrainingFinished]:
    events = list(start(runs, **changes))
    assert isinstance(events[-1], TrainingFinished)
    return [event for event in events if isinstance(event, EpochRecord)], events[-1]


def card_of(run: Path) -> ModelCard:
    return networks.load_checkpoint(run / "best.safetensors", "best")[1]


def split_off(events: Iterator[TrainingEvent], kind: type) -> tuple[list[TrainingEvent], list[TrainingEvent]]:
    """The first events, of one kind, and the others."""
    listed = list(events)
    count = next(index for index, event in enumerate(listed) if not isinstance(event, kind))
    return listed[:count], listed[count:]


def test_events_come_in_order(tmp_path: Path) -> None:
    loading, (started, *between, finished) = split_off(start(tmp_path), LoadProgress)
    assert [(event.what, event.done, event.total) for event in loading] == [
        ("validation images", 12, 12),
        ("train images", 48, 48),
        ("test images", 30, 30),
    ]
    assert isinstance(started, TrainingStarted)
    assert isinstance(finished, TrainingFinished)
    assert {type(event) for event in between} == {StepProgress, EpochRecord}
    assert [event.epoch for event in between] == sorted(event.epoch for event in between)
    for before, after in pairwise(between):
        if isinstance(after, EpochRecord):  # the last step of an epoch is always shown
            assert isinstance(before, StepProgress)
            assert (before.epoch, before.step, before.images) == (after.epoch, 3, 48)
            assert (before.loss, before.accuracy) == (after.train_loss, after.train_accuracy)
    assert started.run == finished.run == tmp_path / "softmax-regression-shapes-1"
    assert (started.train_images, started.validation_images, started.test_images) == (48, 12, 30)
    assert (started.steps_per_epoch, started.parameters, started.device) == (3, 785 * 3, "cpu")


@pytest.mark.parametrize(
    "left_over",
    [
        2,
        1,
    ],
)
def test_the_last_step_is_shown_whatever_is_left_over(left_over: int, tmp_path: Path) -> None:
    events = list(start(tmp_path, validation_fraction=(12 - left_over) / 60, batch_size=16, epochs=2))
    before = [event for event, after in pairwise(events) if isinstance(after, EpochRecord)]
    assert all(isinstance(event, StepProgress) for event in before)
    started = next(event for event in events if isinstance(event, TrainingStarted))
    assert [event.step for event in before] == [started.steps_per_epoch] * 2


def test_a_folder_reports_its_loading_first(photos: Path, tmp_path: Path) -> None:
    loading, others = split_off(start(tmp_path, data=str(photos), epochs=1), LoadProgress)
    assert {(event.what, event.total) for event in loading} == {
        ("train images", 12),
        ("validation images", 4),
        ("test images", 4),
    }
    assert isinstance(others[0], TrainingStarted)


def test_the_run_folder_has_recipe_metrics_and_checkpoint(tmp_path: Path) -> None:
    records, finished = train(tmp_path)
    assert {path.name for path in finished.run.iterdir()} == {"run.toml", "metrics.csv", "best.safetensors"}
    with (finished.run / "metrics.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows == [{name: str(value) for name, value in asdict(record).items()} for record in records]
    assert Recipe.from_toml(finished.run / "run.toml") == Recipe(**FAST)


def test_the_card_says_where_the_weights_come_from(tmp_path: Path) -> None:
    _, finished = train(tmp_path)
    card = card_of(finished.run)
    assert (card.model, card.dataset, card.trained) == ("softmax-regression", "shapes", True)
    assert card.labels == ("circles", "squares", "triangles")
    assert Recipe(**{k: v for k, v in card.recipe.items() if v is not None}) == Recipe(**FAST)
    assert card.metrics == {
        "epoch": finished.best_epoch,
        "validation_accuracy": finished.validation_accuracy,
        "validation_loss": pytest.approx(card.metrics["validation_loss"]),
        "test_accuracy": finished.test_accuracy,
    }
    assert {"python", "torch", "cnnkit"} <= set(card.versions)


def test_the_best_epoch_is_the_one_of_the_highest_validation_accuracy_then_the_lowest_loss(tmp_path: Path) -> None:
    records, finished = train(tmp_path, model="mlp", epochs=8, learning_rate=0.003)
    best = None
    for record in records:
        rank = (record.validation_accuracy, -record.validation_loss)
        assert record.is_best == (best is None or rank > best)
        best = rank if record.is_best else best
    assert finished.best_epoch == max(record.epoch for record in records if record.is_best)
    assert any(not record.is_best for record in records)
    network, card = networks.load_network(str(finished.run))
    measured = {
        split: result_of(evaluate_network(networks.TorchNetwork(network, card, "cpu"), "it", split=split))
        for split in ("validation", "test")
    }
    assert measured["validation"].accuracy == pytest.approx(finished.validation_accuracy)
    assert measured["validation"].loss == pytest.approx(records[finished.best_epoch - 1].validation_loss, rel=1e-4)
    assert measured["test"].accuracy == pytest.approx(finished.test_accuracy)


@pytest.mark.parametrize("model", ["softmax-regression", "dropout-cnn"])
def test_a_seed_repeats_a_run_bit_for_bit(model: str, tmp_path: Path) -> None:
    changes = {"model": model, "epochs": 1, "augmentation": "drawings", "normalisation": "standard"}
    hashes = [card_of(train(tmp_path, seed=seed, **changes)[1].run).weights_sha256 for seed in (1, 1, 2)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_run_toml_repeats_its_run_bit_for_bit(tmp_path: Path) -> None:
    _, first = train(tmp_path, optimizer="sgd", momentum=0.9, schedule="one-cycle", initialisation="xavier", seed=4)
    recipe = Recipe.from_toml(first.run / "run.toml")
    *_, again = loop.train_events(recipe, runs_dir=tmp_path / "again", device="cpu")
    assert card_of(again.run).weights_sha256 == card_of(first.run).weights_sha256
    assert (again.run / "run.toml").read_bytes() == (first.run / "run.toml").read_bytes()


@pytest.mark.parametrize("model", ["digit-cnn", "dropout-cnn"])
def test_validation_has_no_dropout_and_no_statistics_of_its_own(model: str, tmp_path: Path) -> None:
    (record,), finished = train(tmp_path, model=model, epochs=1)
    network = networks.TorchNetwork(*networks.load_network(str(finished.run)), "cpu")
    # One image at a time, so that statistics of the batch would show.
    again = result_of(evaluate_network(network, "it", split="validation", batch_size=1))
    assert again.loss == pytest.approx(record.validation_loss, rel=1e-4)


def test_a_left_over_image_does_not_break_batch_normalisation(tmp_path: Path) -> None:
    records, _ = train(tmp_path, model="digit-cnn", validation_fraction=11 / 60, epochs=1)
    assert records[0].train_loss > 0


def test_a_single_training_image_is_trained_on_or_refused(tmp_path: Path) -> None:
    with contextlib.suppress(CnnkitError):
        train(tmp_path, validation_fraction=0.98)


def test_without_test_split_no_test_accuracy_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = datasets.DATASETS["shapes"]
    monkeypatch.setitem(datasets.DATASETS, "shapes", replace(spec, test=0))
    _, finished = train(tmp_path, epochs=1)
    assert finished.test_accuracy is None
    assert "test_accuracy" not in card_of(finished.run).metrics
    with pytest.raises(DataError, match="the test split of shapes is empty"):
        api.evaluate(finished.run)


def test_a_small_set_can_be_learnt_by_heart(tmp_path: Path) -> None:
    records, _ = train(tmp_path, model="mlp", epochs=30, learning_rate=0.002, normalisation="standard")
    assert records[-1].train_accuracy > 0.9
    assert records[-1].train_loss < 0.5 * records[0].train_loss


@pytest.mark.parametrize(("schedule", "last"), [("constant", 0.01), ("cosine", 0.0025)])
def test_the_schedule_runs_over_the_whole_training(schedule: str, last: float, tmp_path: Path) -> None:
    records, _ = train(tmp_path, schedule=schedule)
    assert [records[0].learning_rate, records[-1].learning_rate] == pytest.approx([0.01, last])


DIVERGES = {"model": "mlp", "optimizer": "sgd", "learning_rate": 1e10, "batch_size": 60, "epochs": 50}


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    records = []
    with pytest.raises(TrainingDivergedError) as caught:
        records += (event for event in start(tmp_path, **DIVERGES) if isinstance(event, EpochRecord))
    run = tmp_path / "mlp-shapes-1"
    good = card_of(run).metrics["epoch"]
    assert 1 <= good < 50
    message = str(caught.value)
    assert f"The best checkpoint, of epoch {good:g}, is kept in {run / 'best.safetensors'}" in message
    assert "--learning-rate 1e+09" in message
    assert len((run / "metrics.csv").read_text("utf-8").splitlines()) >= 1 + good


@pytest.mark.usefixtures("nets")
def test_a_loss_that_was_never_a_number_leaves_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(TrainingDivergedError, match="became nan in epoch 1"):
        train(tmp_path, model="tinynets:NotANumber", input_shape=(3, 8, 8))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("nets")
def test_the_message_of_a_loss_that_was_never_a_number_reads_well(tmp_path: Path) -> None:
    with pytest.raises(TrainingDivergedError, match=r"in epoch 1\. Lower the learning rate"):
        train(tmp_path, model="tinynets:NotANumber", input_shape=(3, 8, 8))


def test_stopping_before_the_first_step_leaves_no_folder(tmp_path: Path) -> None:
    events = start(tmp_path, epochs=2)
    while not isinstance(next(events), TrainingStarted):
        pass
    events.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("how", ["close", "interrupt"])
@pytest.mark.parametrize("epoch", [1, 3])
def test_stopping_keeps_what_is_best(how: str, epoch: int, tmp_path: Path) -> None:
    events = start(tmp_path, epochs=100)
    seen = []
    for event in events:
        seen += [event] if isinstance(event, EpochRecord) else []
        if isinstance(event, StepProgress) and event.epoch == epoch:
            break
    if how == "close":
        events.close()
    else:
        with pytest.raises(KeyboardInterrupt):
            events.throw(KeyboardInterrupt)
    card = card_of(tmp_path / "softmax-regression-shapes-1")
    best = [record for record in seen if record.is_best]
    assert card.metrics.get("epoch") == (best[-1].epoch if best else None)
    assert card.trained


@pytest.mark.usefixtures("nets")
@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"model": "lenet", "input_shape": (3, 28, 28)}, UsageError, "lenet cannot take images of 3×28×28"),
        ({"model": "lenet", "input_shape": (1, 8, 8)}, UsageError, "lenet cannot take images of 1×8×8"),
        ({"model": "tinynets:silent"}, UsageError, "does not say its input; give .* --input 3x32x32"),
        ({"model": "tinynets:fixed"}, UsageError, r"gives \[2, 5\] for two images; expected logits \[2, 3\]"),
        ({"model": "tinynets:two_outputs", "input_shape": (3, 8, 8)}, UsageError, "gives tuple for two images"),
        ({"model": "lenett"}, UnknownNameError, "Did you mean lenet"),
        ({"data": "shape"}, UnknownNameError, "Did you mean shapes"),
        ({"data": "./nowhere"}, DataError, "there is no image folder"),
    ],
)
def test_what_cannot_be_trained_fails_before_a_run_folder_is_made(
    changes: dict[str, object], error: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        list(start(tmp_path, **changes))
    assert list(tmp_path.iterdir()) == []


def test_a_runs_folder_that_cannot_be_written_is_found_out_before_anything_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(OutputError, match="cannot write into"):
        next(start(tmp_path / "runs", data="./nowhere"))


@pytest.mark.usefixtures("nets")
def test_a_network_of_the_users_own_is_trained_and_found_again(photos: Path, tmp_path: Path) -> None:
    recipe = api.default_recipe("tinynets:Linear", data=str(photos), epochs=20, batch_size=4)
    *_, finished = loop.train_events(recipe, runs_dir=tmp_path, device="cpu")
    assert finished.run.name == "tinynets-Linear-photos-1"
    assert finished.test_accuracy == 1.0
    network, _ = networks.load_network(str(finished.run), trust_code=True)
    assert type(network).__name__ == "Linear"

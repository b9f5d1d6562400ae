"""The training loop: its events, its run folder, its repeatability, and how it ends when it ends badly."""

import contextlib
import csv
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import cnnkit
from cnnkit.card import ModelCard
from cnnkit.data import loaded as data
from cnnkit.data import sets
from cnnkit.errors import (
    CnnkitError,
    DataError,
    DeviceError,
    OutOfMemoryError,
    OutputError,
    TrainingDivergedError,
    UnknownNameError,
    UsageError,
)
from cnnkit.evaluation.accuracy import evaluate
from cnnkit.models import networks, normalisation
from cnnkit.operation import result_of
from cnnkit.progress import LoadProgress, Notice
from cnnkit.recipe import Recipe
from cnnkit.runtime.classifier import Classifier
from cnnkit.sources import find
from cnnkit.sources.checkpoint import load_checkpoint
from cnnkit.training import loop
from cnnkit.training.classification import Classification
from cnnkit.training.distributed import Group
from cnnkit.training.measuring import measure
from cnnkit.training.results import (
    EpochRecord,
    StartRecord,
    StepProgress,
    TrainingEvent,
    TrainingFinished,
    TrainingStarted,
)
from cnnkit.training.runs import read_metrics
from cnnkit.training.state import read_state
from tests.expecting import expect_error

pytestmark = pytest.mark.usefixtures("few_shapes")
TASK = Classification(2)
FAST = {"model": "softmax-regression", "data": "shapes", "batch_size": 16, "learning_rate": 0.01, "epochs": 3}


def start(runs: Path, **changes: object) -> Iterator[TrainingEvent]:
    return loop.train_events(Recipe(**{**FAST, **changes}), runs_dir=runs, device="cpu")


def started_from(runs: Path) -> StartRecord:
    """What the state of the only run keeps of epoch 0."""
    (run,) = runs.iterdir()
    state = read_state(run)
    assert state is not None
    return StartRecord(**state[1]["start"])


def train(runs: Path, **changes: object) -> tuple[list[EpochRecord], TrainingFinished]:
    events = list(start(runs, **changes))
    assert isinstance(events[-1], TrainingFinished)
    return [event for event in events if isinstance(event, EpochRecord)], events[-1]


def card_of(run: Path) -> ModelCard:
    return load_checkpoint(run / "best.safetensors", "best")[1]


def split_off(events: Iterator[TrainingEvent], kind: type) -> tuple[list[TrainingEvent], list[TrainingEvent]]:
    """The first events, of one kind, and the others."""
    listed = list(events)
    count = next(index for index, event in enumerate(listed) if not isinstance(event, kind))
    return listed[:count], listed[count:]


def test_events_come_in_order(tmp_path: Path) -> None:
    loading, (started, *between, finished) = split_off(start(tmp_path), LoadProgress)
    assert [(event.what, event.done, event.total) for event in loading] == [
        ("train images", 48, 48),
        ("validation images", 12, 12),
        ("test images", 30, 30),
    ]
    assert isinstance(started, TrainingStarted)
    assert isinstance(finished, TrainingFinished)
    assert between.pop(0) == started_from(tmp_path)
    assert {type(event) for event in between} == {StepProgress, EpochRecord}
    assert [event.epoch for event in between] == sorted(event.epoch for event in between)
    for before, after in pairwise(between):
        if isinstance(after, EpochRecord):  # the last step of an epoch is always shown
            assert isinstance(before, StepProgress)
            assert (before.epoch, before.step, before.images) == (after.epoch, 3, 48)
            assert (before.loss, before.accuracy) == (after.train_loss, after.train_accuracy)
    assert started.run == finished.run == tmp_path / "softmax-regression-shapes-1"
    assert (started.train_images, started.validation_images, started.test_images) == (48, 12, 30)
    assert (started.steps_per_epoch, started.processes, started.device) == (3, 1, "cpu")
    assert started.parameters == started.trainable == (3 * 28 * 28 + 1) * 3
    assert (started.resumed_at, started.earlier) == (None, ())
    assert finished.ended_by == "epochs"


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
    assert {(event.what, event.total) for event in loading} == {("headers of images", 20), ("images", 20)}
    assert loading[-1].done == 20
    assert isinstance(others[0], TrainingStarted)


def test_the_run_folder_has_recipe_metrics_and_checkpoint(tmp_path: Path) -> None:
    records, finished = train(tmp_path)
    assert {path.name for path in finished.run.iterdir()} == {
        "run.toml",
        "metrics.csv",
        "best.safetensors",
        "split.csv",
        "state.safetensors",
        "state.previous.safetensors",
    }
    with (finished.run / "metrics.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows == [{name: str(value) for name, value in asdict(record).items()} for record in records]
    assert Recipe.from_toml(finished.run / "run.toml") == Recipe(**FAST, input_shape=(3, 28, 28))


def test_the_card_says_where_the_weights_come_from(tmp_path: Path) -> None:
    _, finished = train(tmp_path)
    card = card_of(finished.run)
    assert (card.model, card.dataset, card.trained) == ("softmax-regression", "shapes", True)
    assert card.labels == ("circles", "squares", "triangles")
    recipe = Recipe(**{k: v for k, v in card.recipe.items() if v is not None})
    assert recipe == Recipe(**FAST, input_shape=(3, 28, 28))
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
    network, card = find(str(finished.run)).weights()
    measured = {
        split: evaluate(Classifier(networks.TorchNetwork(network, card, "cpu"), "it"), split=split)
        for split in ("validation", "test")
    }
    assert measured["validation"].accuracy == pytest.approx(finished.validation_accuracy)
    assert measured["validation"].loss == pytest.approx(records[finished.best_epoch - 1].validation_loss, rel=1e-4)
    assert measured["test"].accuracy == pytest.approx(finished.test_accuracy)


@pytest.mark.slow
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
    network = networks.TorchNetwork(*find(str(finished.run)).weights(), "cpu")
    # One image at a time, so that statistics of the batch would show.
    again = evaluate(Classifier(network, "it"), split="validation", batch_size=1)
    assert again.loss == pytest.approx(record.validation_loss, rel=1e-4)


def test_a_left_over_image_does_not_break_batch_normalisation(tmp_path: Path) -> None:
    records, _ = train(tmp_path, model="digit-cnn", validation_fraction=11 / 60, epochs=1)
    assert records[0].train_loss > 0


def test_a_single_training_image_is_trained_on_or_refused(tmp_path: Path) -> None:
    with contextlib.suppress(CnnkitError):
        train(tmp_path, validation_fraction=0.98)


def test_without_test_split_no_test_accuracy_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = sets.BUILT_IN["shapes"]
    monkeypatch.setitem(sets.BUILT_IN, "shapes", replace(spec, test=0))
    events = list(start(tmp_path, epochs=1))
    said = Notice("there is no test set in shapes; what is measured are validation figures", warning=True)
    assert said in events
    finished = events[-1]
    assert isinstance(finished, TrainingFinished)
    assert (finished.test_accuracy, finished.test_images, finished.validation_images) == (None, 0, 12)
    card = card_of(finished.run)
    assert "test_accuracy" not in card.metrics
    found = cnnkit.evaluate(finished.run)
    assert (found.split, found.images, found.accuracy) == ("validation", 12, finished.validation_accuracy)
    assert found.warnings == (
        "there is no test set in shapes; these are validation figures: the images chose the best epoch",
    )
    with expect_error(DataError, "shapes", "--split", "train", "validation"):
        cnnkit.evaluate(finished.run, split="test")


@pytest.mark.slow
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
    with expect_error(TrainingDivergedError, "nan"):
        train(tmp_path, model="tinynets:NotANumber", input_shape=(3, 8, 8))
    assert list(tmp_path.iterdir()) == []


def test_the_message_of_a_loss_that_becomes_infinite_in_the_first_epoch_reads_well(tmp_path: Path) -> None:
    with expect_error(TrainingDivergedError, "epoch 1"):
        train(tmp_path, optimizer="sgd", learning_rate=1e38)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("nets")
def test_a_loss_that_is_never_a_number_leaves_no_state_either(tmp_path: Path) -> None:
    with pytest.raises(TrainingDivergedError):
        list(
            loop.train_events(
                Recipe(**{**FAST, "model": "tinynets:NotANumber", "batch_size": 4}),
                runs_dir=tmp_path,
                device="cpu",
                checkpoint_every=1,
            )
        )
    assert list(tmp_path.iterdir()) == []


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
    ("changes", "error", "name"),
    [
        ({"model": "lenet", "input_shape": (1, 8, 8)}, UsageError, "12×12"),
        ({"model": "tinynets:silent"}, UsageError, "--input 3x8x8"),
        ({"model": "tinynets:fixed"}, UsageError, "[2, 5]"),
        ({"model": "tinynets:two_outputs", "input_shape": (3, 8, 8)}, UsageError, "tuple"),
        ({"model": "lenett"}, UnknownNameError, "lenet"),
        ({"data": "shape"}, UnknownNameError, "shapes"),
        ({"data": "./nowhere"}, DataError, "nowhere"),
        ({"precision": "fp16"}, DeviceError, "--precision fp16"),
        ({"model": "tinynets:Weightless"}, UsageError, "weights"),
    ],
)
def test_what_cannot_be_trained_fails_before_a_run_folder_is_made(
    changes: dict[str, object], error: type[Exception], name: str, tmp_path: Path
) -> None:
    with expect_error(error, name):
        list(start(tmp_path, **changes))
    assert list(tmp_path.iterdir()) == []


def test_a_runs_folder_that_cannot_be_written_is_found_out_before_anything_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with expect_error(OutputError):
        next(start(tmp_path / "runs", data="./nowhere"))


@pytest.mark.usefixtures("nets")
def test_a_network_of_the_users_own_is_trained_and_found_again(photos: Path, tmp_path: Path) -> None:
    recipe = cnnkit.default_recipe("tinynets:Linear", data=str(photos), epochs=20, batch_size=4)
    *_, finished = loop.train_events(recipe, runs_dir=tmp_path, device="cpu")
    assert finished.run.name == "tinynets-Linear-photos-1"
    assert finished.test_accuracy == 1.0
    network, _ = find(str(finished.run)).weights(trust_code=True)
    assert type(network).__name__ == "Linear"


# When it ends, and what it leaves out.

STILL = {"optimizer": "sgd", "learning_rate": 1e-30, "epochs": 9}


@pytest.mark.parametrize("patience", [1, 3])
def test_patience_ends_a_run_so_many_epochs_after_its_best(patience: int, tmp_path: Path) -> None:
    # Weights that stay as they are have their best epoch first.
    records, finished = train(tmp_path, **STILL, patience=patience)
    assert [record.is_best for record in records] == [True] + [False] * patience
    assert (finished.best_epoch, finished.ended_by) == (1, "patience")


def test_patience_begins_anew_with_each_better_epoch(tmp_path: Path) -> None:
    records, finished = train(tmp_path, model="mlp", epochs=40, learning_rate=0.003, patience=2)
    assert finished.ended_by == "patience"
    assert finished.best_epoch > 1
    assert len(records) == finished.best_epoch + 2
    # What is kept, and measured on the test images, are the weights of then, not the last ones.
    network = networks.TorchNetwork(*find(str(finished.run)).weights(), "cpu")
    validation, test = (evaluate(Classifier(network, "it"), split=split) for split in ("validation", "test"))
    assert validation.loss == pytest.approx(records[finished.best_epoch - 1].validation_loss, rel=1e-4)
    assert validation.loss != pytest.approx(records[-1].validation_loss, rel=1e-4)
    assert test.accuracy == pytest.approx(finished.test_accuracy)


def test_the_last_epoch_is_the_reason_where_patience_ends_with_it(tmp_path: Path) -> None:
    assert train(tmp_path, **{**STILL, "epochs": 2}, patience=1)[1].ended_by == "epochs"


def test_time_ends_a_run_within_an_epoch_that_is_measured_all_the_same(tmp_path: Path) -> None:
    (record,), finished = train(tmp_path, max_seconds=1e-9)
    assert (finished.ended_by, finished.best_epoch) == ("max-seconds", 1)
    assert finished.test_accuracy is not None
    # One step was enough, and counts only its own images.
    (only,), _ = train(tmp_path, epochs=1, limit_batches=1, validation_fraction=0.2)
    assert record.train_loss == only.train_loss
    # The figures say of how many images they are.
    (whole, *_), _ = train(tmp_path)
    assert 0 < record.train_images == only.train_images < whole.train_images
    assert read_metrics(finished.run) == (record,)


def test_enough_time_changes_nothing(tmp_path: Path) -> None:
    (first, one), (second, other) = (train(tmp_path, max_seconds=seconds) for seconds in (0.0, 1e6))
    assert other.ended_by == "epochs"
    assert card_of(one.run).weights_sha256 == card_of(other.run).weights_sha256
    assert [record.validation_loss for record in first] == [record.validation_loss for record in second]


def test_a_limit_is_one_of_training_validation_and_test(tmp_path: Path) -> None:
    changes = {"batch_size": 4, "limit_batches": 2, "epochs": 1}
    events = list(start(tmp_path, **changes))
    started = next(event for event in events if isinstance(event, TrainingStarted))
    assert (started.steps_per_epoch, started.train_images, started.test_images) == (2, 48, 30)
    assert [(e.step, e.images) for e in events if isinstance(e, StepProgress)][-1] == (2, 8)
    finished, record = events[-1], events[-2]
    network, card = find(str(finished.run)).weights()
    loaded = result_of(data.load(Recipe(**{**FAST, **changes}).data_options(), card.preprocessing))
    for whole, loss, accuracy in (
        (loaded.validation, record.validation_loss, record.validation_accuracy),
        (loaded.test, None, finished.test_accuracy),
    ):
        split = whole.drawn(8)
        assert (len(split), set(split.targets.tolist())) == (8, {0, 1, 2})
        with torch.inference_mode():
            logits = network(normalisation.Normalise(card.preprocessing.mean, card.preprocessing.std)(split.images))
        assert (logits.argmax(1) == split.targets).float().mean().item() == pytest.approx(accuracy)
        if loss is not None:
            assert F.cross_entropy(logits, split.targets).item() == pytest.approx(loss, rel=1e-5)


def test_figures_of_a_dry_run_are_marked_and_no_card_has_them(tmp_path: Path) -> None:
    events = list(start(tmp_path, batch_size=4, limit_batches=1, epochs=2))
    started = next(event for event in events if isinstance(event, TrainingStarted))
    assert started.dry_run == (4, 4, 4)
    records, finished = [event for event in events if isinstance(event, EpochRecord)], events[-1]
    assert isinstance(finished, TrainingFinished)
    assert [record.dry_run for record in records] == [True, True]
    assert (finished.dry_run, finished.validation_images, finished.test_images) == (True, 4, 4)
    assert read_metrics(finished.run) == tuple(records)
    card = card_of(finished.run)
    assert card.metrics == {"epoch": finished.best_epoch}
    assert card.recipe is not None
    assert card.recipe["limit_batches"] == 1
    found = cnnkit.evaluate(finished.run)
    assert found.images == 30
    assert found.warnings == ("the weights are those of a dry run, of 1 batch an epoch, so no figure of them counts",)
    assert cnnkit.evaluate(finished.run, split="validation").images == 12


def test_a_dry_run_that_goes_on_stays_one(tmp_path: Path) -> None:
    changes = {"batch_size": 4, "limit_batches": 1}
    _, finished = train(tmp_path, **changes, epochs=1)
    recipe = Recipe(**{**FAST, **changes, "epochs": 2})
    *_, record, last = loop.train_events(recipe, runs_dir=tmp_path, device="cpu", resume=finished.run)
    assert record.dry_run
    assert last.dry_run
    assert "validation_accuracy" not in card_of(finished.run).metrics


def test_a_whole_run_is_no_dry_run(tmp_path: Path) -> None:
    records, finished = train(tmp_path, epochs=1)
    assert (records[0].dry_run, finished.dry_run) == (False, False)
    assert card_of(finished.run).metrics.keys() == {
        "epoch", "validation_loss", "validation_accuracy", "test_accuracy"
    }  # fmt: skip


def test_measuring_takes_every_image_a_thousand_at_a_time() -> None:
    seen = []
    network = nn.Sequential(nn.Flatten(), nn.Linear(784, 2))
    network.register_forward_hook(lambda _, images, __: seen.append(len(images[0])))
    split = data.Split(torch.zeros(2500, 28, 28, 1, dtype=torch.uint8), torch.zeros(2500, dtype=torch.int64))
    recipe = Recipe(batch_size=64)
    group = Group(0, 1, torch.device("cpu"))
    found = measure(network, TASK, normalisation.Normalise((0.0,), (1.0,)), split, recipe, group, stop=lambda: False)
    assert found is not None
    assert seen == [1000, 1000, 500]


@pytest.mark.usefixtures("nets")
def test_the_averaged_weights_are_measured_and_kept(tmp_path: Path) -> None:
    changes = {"model": "tinynets:Regular", "batch_size": 8, "epochs": 2}
    (_, plain), _ = train(tmp_path, **changes)
    (_, averaged), finished = train(tmp_path, **changes, ema=0.9)
    assert averaged.train_loss == plain.train_loss, "the network that is trained is the same"
    assert averaged.validation_loss != plain.validation_loss
    if finished.best_epoch == 2:
        network = networks.TorchNetwork(*find(str(finished.run)).weights(trust_code=True), "cpu")
        again = evaluate(Classifier(network, "it"), split="validation")
        assert again.loss == pytest.approx(averaged.validation_loss, rel=1e-4)


# What goes wrong on the way.


def content(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in run.iterdir()}


@pytest.mark.usefixtures("nets")
@pytest.mark.parametrize("model", ["tinynets:Greedy", "tinynets:GreedyOnTheGpu"])
def test_too_little_memory_in_the_middle_keeps_what_was_saved(model: str, tmp_path: Path) -> None:
    recipe = Recipe(**{**FAST, "model": model})
    records = []
    with pytest.raises(OutOfMemoryError) as caught:  # the sixth step is the last one of the second epoch
        records += (e for e in loop.train_events(recipe, runs_dir=tmp_path, device="cpu") if isinstance(e, EpochRecord))
    run = tmp_path / f"{model.replace(':', '-')}-shapes-1"
    assert str(caught.value) == (
        "cpu has too little memory for batches of 16. What was saved before is whole; go on with: cnnkit train "
        f"{model} --resume {run} A new run with a smaller --batch-size needs less."
    )
    assert len((run / "metrics.csv").read_text().splitlines()) == 1 + 1
    assert load_checkpoint(run / "best.safetensors", "best", trust_code=True)[1].metrics["epoch"] == 1
    # Five more steps are one more epoch, and so the state is one after the first.
    with pytest.raises(OutOfMemoryError):
        records += (
            e
            for e in loop.train_events(recipe, runs_dir=tmp_path, device="cpu", resume=run)
            if isinstance(e, EpochRecord)
        )
    assert len((run / "metrics.csv").read_text().splitlines()) == 1 + 2
    state = read_state(run)
    assert state is not None
    assert (state[1]["epoch"], state[1]["step"]) == (2, 0)


@pytest.mark.usefixtures("nets")
@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("tinynets:GreedyAtOnce", "3×8×8"),
        ("tinynets:TooLarge", "batches of 16"),
    ],
)
def test_too_little_memory_for_the_first_step_leaves_no_folder(model: str, name: str, tmp_path: Path) -> None:
    with expect_error(OutOfMemoryError, name):
        list(start(tmp_path, model=model, input_shape=(3, 8, 8)))
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_compiled_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._inductor import config

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "kernels"))
    torch.compiler.reset()
    with (
        config.patch({"cpp.cxx": ("no-such-compiler",)}),
        expect_error(UsageError, "--compile"),
    ):
        train(tmp_path / "runs", model="mlp", compile=True)
    assert list((tmp_path / "runs").iterdir()) == []


@pytest.mark.usefixtures("nets")
def test_a_mistake_that_only_training_meets_is_found_before_the_run(tmp_path: Path) -> None:
    with expect_error(UsageError, "tinynets:Breaking"):
        list(start(tmp_path, model="tinynets:Breaking"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("nets")
def test_an_error_of_the_users_network_in_the_run_comes_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        list(start(tmp_path, model="tinynets:BreakingLater"))
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def full_disk() -> Iterator[Callable[[int], None]]:
    """Let no file grow beyond so many bytes, as on a disk that is full."""
    resource = pytest.importorskip("resource", reason="only Unix can limit the size of files")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_fills_up_in_a_later_epoch_costs_that_epoch_only(
    full_disk: Callable[[int], None], tmp_path: Path
) -> None:
    expected = card_of(train(tmp_path / "straight")[1].run).weights_sha256
    events = start(tmp_path)
    while not isinstance(next(events), EpochRecord):
        pass
    run = tmp_path / "softmax-regression-shapes-1"
    before = content(run)
    full_disk(len(before["best.safetensors"]) + 500)  # weights alone still fit, the state does not
    with expect_error(OutputError, "state.safetensors"):
        list(events)
    full_disk(-1)
    after = content(run)
    assert after.keys() == before.keys()
    assert after["state.safetensors"] == before["state.safetensors"]
    *_, finished = loop.train_events(Recipe(**FAST), runs_dir=tmp_path, device="cpu", resume=run)
    assert card_of(finished.run).weights_sha256 == expected
    assert len((run / "metrics.csv").read_text().splitlines()) == 1 + 3


def test_a_disk_that_is_full_from_the_start_is_an_output_error(
    full_disk: Callable[[int], None], tmp_path: Path
) -> None:
    events = start(tmp_path)
    while not isinstance(next(events), TrainingStarted):
        pass
    full_disk(500)
    with expect_error(OutputError, "best.safetensors"):
        list(events)
    full_disk(-1)
    assert list(tmp_path.iterdir()) == []


def test_closing_on_a_full_disk_says_so(full_disk: Callable[[int], None], tmp_path: Path) -> None:
    events = start(tmp_path)
    while not isinstance(next(events), EpochRecord):
        pass
    full_disk(500)
    with expect_error(OutputError):
        events.close()
    full_disk(-1)
    assert read_state(tmp_path / "softmax-regression-shapes-1") is not None

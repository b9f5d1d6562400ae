"""What a run keeps in its folder, and what it says is left of it."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnkit.errors import CheckpointError
from cnnkit.operation import result_of
from cnnkit.recipe import Recipe
from cnnkit.sources import create_model
from cnnkit.sources.checkpoint import load_checkpoint
from cnnkit.training import randomness
from cnnkit.training.checkpoints import CheckpointSaver, Position, remove_if_empty, restore, what_is_left
from cnnkit.training.classification import Classification
from cnnkit.training.distributed import Group
from cnnkit.training.results import EpochRecord
from cnnkit.training.setup import Prepared, prepare
from cnnkit.training.state import read_state
from cnnkit.training.step import TrainingStep
from tests.expecting import expect_error

CPU = torch.device("cpu")
TASK = Classification(3)
GROUP = Group(0, 1, CPU)
RECIPE = Recipe(model="softmax-regression", data="shapes", batch_size=16, epochs=2)
number = st.floats(allow_nan=False, allow_infinity=False)
RECORDS = st.lists(
    st.builds(
        EpochRecord, st.integers(1, 10**6), number, number, number, number, number, number, number, st.booleans()
    ),
    max_size=5,
)


@pytest.fixture
def prepared(few_shapes: object, tmp_path: Path) -> Prepared:
    return result_of(prepare(RECIPE, GROUP, data_dir=None, runs_dir=tmp_path / "runs", resume=None, trust_code=False))


@pytest.fixture
def saver(prepared: Prepared) -> CheckpointSaver:
    step = TrainingStep(prepared.network, TASK, RECIPE, CPU)
    return CheckpointSaver(prepared, GROUP, step, Position())


def record(epoch: int, *, best: bool) -> EpochRecord:
    return EpochRecord(epoch, 0.5, 0.5, 0.5, 0.5, 0.1, 1.0, 10.0, best)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    epoch=st.integers(0, 10**6), step=st.integers(0, 10**9), numbers=st.tuples(number, number, number), records=RECORDS
)
def test_a_position_survives_json_exactly(
    epoch: int, step: int, numbers: tuple[float, float, float], records: list[EpochRecord]
) -> None:
    position = Position(epoch, step, *numbers, records)
    facts = json.loads(json.dumps({**asdict(position), "recipe": {}, "images": 3}))
    assert Position.from_facts(facts) == position


def test_the_best_epoch_is_the_last_that_was_best() -> None:
    assert Position().best is None
    records = [record(1, best=True), record(2, best=True), record(3, best=False)]
    assert Position(records=records).best == records[1]


def test_the_state_is_put_back_with_the_numbers_that_come_next(saver: CheckpointSaver, prepared: Prepared) -> None:
    saver.position.epoch, saver.position.step = 4, 2
    saver.train_step.totals.images = 32
    randomness.seed_network(1, 1, 0, CPU)
    torch.rand(5)
    saver.save_state()
    expected = torch.rand(3)
    state = read_state(prepared.run)
    assert state is not None
    step = TrainingStep(create_model("softmax-regression", 3, (3, 28, 28)), TASK, RECIPE, CPU)
    position = restore(state, step, GROUP)
    assert (position.epoch, position.step, step.totals.images) == (4, 2, 32)
    assert torch.equal(torch.rand(3), expected)
    torch.testing.assert_close(step.network.state_dict(), prepared.network.state_dict(), rtol=0, atol=0)


def test_a_process_that_was_not_there_before_keeps_its_own_numbers(saver: CheckpointSaver, prepared: Prepared) -> None:
    saver.save_state()
    state = read_state(prepared.run)
    assert state is not None
    torch.manual_seed(9)
    before = torch.get_rng_state()
    restore(state, TrainingStep(prepared.network, TASK, RECIPE, CPU), Group(3, 4, CPU))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_best_weights_come_back_as_they_were(saver: CheckpointSaver) -> None:
    weights = next(saver.train_step.network.parameters())
    best = weights.detach().clone()
    saver.save_best({"epoch": 1.0})
    with torch.no_grad():
        weights.add_(1)
    saver.load_best()
    assert torch.equal(weights, best)


def test_best_weights_that_are_gone_are_a_checkpoint_error(saver: CheckpointSaver) -> None:
    with expect_error(CheckpointError, "best.safetensors"):
        saver.load_best()


def test_only_the_first_process_writes(prepared: Prepared) -> None:
    other = Group(1, 2, CPU)
    saver = CheckpointSaver(prepared, other, TrainingStep(prepared.network, TASK, RECIPE, CPU), Position())
    saver.save_best({})
    saver.write_metrics()
    saver.leave(keep=False)
    assert sorted(path.name for path in prepared.run.iterdir()) == ["run.toml", "split.csv"]


@pytest.mark.parametrize("keep", [True, False])
def test_before_the_first_epoch_the_weights_at_hand_are_kept_or_nothing_is(keep: bool, saver: CheckpointSaver) -> None:
    saver.leave(keep=keep)
    assert saver.run.exists() == keep
    if keep:
        assert load_checkpoint(saver.checkpoint, "best")[1].metrics == {}


@pytest.mark.parametrize("keep", [True, False])
def test_a_best_epoch_is_never_given_up(keep: bool, saver: CheckpointSaver) -> None:
    saver.save_best({"epoch": 3.0})
    saver.leave(keep=keep)
    assert load_checkpoint(saver.checkpoint, "best")[1].metrics == {"epoch": 3.0}


def test_a_user_hears_what_there_is_to_go_on_with(saver: CheckpointSaver, prepared: Prepared) -> None:
    assert what_is_left(prepared.run) == "Nothing was saved before."
    saver.save_best({})
    assert what_is_left(prepared.run) == "Nothing was saved before."
    saver.save_state()
    assert what_is_left(prepared.run).endswith(f"go on with: cnnkit train --resume {prepared.run}")


@pytest.mark.parametrize("name", ["best.safetensors", "state.safetensors", "state.previous.safetensors", "run.toml"])
def test_a_folder_with_anything_saved_is_not_empty(name: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / name).write_bytes(b"")
    remove_if_empty(run)
    assert run.exists() == (name != "run.toml")

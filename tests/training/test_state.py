"""The state of a run: whole or refused, whatever happens to its file, and exact where it is whole."""

import contextlib
import json
import multiprocessing
import os
import random
import signal
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from cnnkit.errors import CheckpointError, OutputError
from cnnkit.recipe import Recipe
from cnnkit.training.classification import Classification
from cnnkit.training.state import PREVIOUS, STATE, read_facts, read_state, restore_step, step_tensors, write_state
from cnnkit.training.step import TrainingStep

CPU = torch.device("cpu")
TASK = Classification(3)
Facts = dict[str, Any]


def tensors_of(number: float) -> dict[str, Tensor]:
    return {
        "model.weight": torch.full((2, 3), number),
        "model.seen": torch.tensor(3),
        "random.torch@0": torch.arange(20, dtype=torch.uint8),
        "optimizer.0.step": torch.tensor(number),
        "empty": torch.zeros(0, 4),
        "half": torch.tensor([1.5], dtype=torch.bfloat16),
    }


def facts_of(number: float) -> Facts:
    return {"epoch": number, "recipe": {"data": "ü/∑", "rate": 0.1 + 0.2}, "records": [{"loss": 1e-300, "best": True}]}


def write(run: Path, *numbers: float) -> None:
    for number in numbers:
        write_state(run, tensors_of(number), facts_of(number))


def number_of(run: Path) -> float:
    """Which of the states of `write` is read; makes sure that it is whole."""
    state = read_state(run)
    assert state is not None
    tensors, facts = state
    number = facts["epoch"]
    assert {name: fact for name, fact in facts.items() if name != "damaged"} == facts_of(number)
    torch.testing.assert_close(tensors, tensors_of(number), rtol=0, atol=0)
    return number


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    write(tmp_path, 1)
    assert number_of(tmp_path) == 1
    assert names(tmp_path) == {STATE}


def test_without_a_state_there_is_none(tmp_path: Path) -> None:
    assert read_state(tmp_path) is None
    assert read_state(tmp_path / "nowhere") is None


def test_the_generation_before_is_kept_and_no_older_one(tmp_path: Path) -> None:
    write(tmp_path, 1, 2, 3)
    assert names(tmp_path) == {STATE, PREVIOUS}
    assert number_of(tmp_path) == 3
    (tmp_path / STATE).unlink()
    assert number_of(tmp_path) == 2


def test_tensors_of_any_layout_are_written_as_they_read(tmp_path: Path) -> None:
    picture = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    shared = torch.randn(6)
    parameter = nn.Parameter(torch.randn(2))
    given = {"last": picture, "view": picture[:, 1:, ::2], "one": shared, "two": shared[:3], "parameter": parameter}
    write_state(tmp_path, given, {})
    state = read_state(tmp_path)
    assert state is not None
    assert all(torch.equal(state[0][name], tensor) for name, tensor in given.items())


def truncate(data: bytes) -> bytes:
    return data[:-1]


def behead(data: bytes) -> bytes:
    return data[:100]


def flip_in_a_tensor(data: bytes) -> bytes:
    return data[:-9] + bytes([data[-9] ^ 1]) + data[-8:]


def flip_in_the_facts(data: bytes) -> bytes:
    changed = data.replace(rb"1e-300", rb"1e-301")
    assert changed != data
    return changed


def empty(_: bytes) -> bytes:
    return b""


def zeros(data: bytes) -> bytes:
    return bytes(len(data))


DAMAGES = [truncate, behead, flip_in_a_tensor, flip_in_the_facts, empty, zeros]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_state_gives_way_to_the_one_before(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    write(tmp_path, 1, 2)
    (tmp_path / STATE).write_bytes(damage((tmp_path / STATE).read_bytes()))
    assert number_of(tmp_path) == 1
    assert str(tmp_path / STATE) in read_state(tmp_path)[1]["damaged"]


@pytest.mark.parametrize("damage", DAMAGES)
def test_where_both_are_damaged_both_are_named(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    write(tmp_path, 1, 2)
    for path in (tmp_path / STATE, tmp_path / PREVIOUS):
        path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(CheckpointError, match=rf"cannot be resumed: .*{STATE} is .*{PREVIOUS} is .*best\.safetensors"):
        read_state(tmp_path)


def test_a_single_damaged_state_is_an_error_and_not_a_fresh_start(tmp_path: Path) -> None:
    write(tmp_path, 1)
    (tmp_path / STATE).write_bytes(b"")
    with pytest.raises(CheckpointError, match="cannot be resumed"):
        read_state(tmp_path)


def test_a_state_of_another_version_is_refused_by_its_number(tmp_path: Path) -> None:
    write(tmp_path, 1)
    data = (tmp_path / STATE).read_bytes()
    (tmp_path / STATE).write_bytes(data.replace(rb"{\"version\": 1", rb"{\"version\": 7"))
    with pytest.raises(CheckpointError, match="state of version 7; this cnnkit reads version 1"):
        read_state(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        safetensors.torch.save({"model.weight": torch.zeros(2)}),
        safetensors.torch.save({"model.weight": torch.zeros(2)}, {"cnnkit_state": "3"}),
        safetensors.torch.save({"model.weight": torch.zeros(2)}, {"cnnkit_state": '{"version": 1}'}),
        struct.pack("<Q", 2**63) + b"{}",
        b"{}",
    ],
    ids=["weights only", "a number", "no facts", "a header beyond the end", "JSON"],
)
def test_another_file_in_its_place_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / STATE).write_bytes(content)
    with pytest.raises(CheckpointError, match="is not a whole state"):
        read_state(tmp_path)


CHANGES = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with one state."""
    run = tmp_path_factory.mktemp("whole")
    write(run, 5)
    return run


@settings(deadline=None, derandomize=True, max_examples=250)
@given(changes=CHANGES, part=st.sampled_from(["file", "header", "facts"]), cut=st.none() | st.floats(0, 1))
def test_no_damage_is_ever_taken_for_a_state(
    whole: Path,
    tmp_path_factory: pytest.TempPathFactory,
    changes: list[tuple[float, int]],
    part: str,
    cut: float | None,
) -> None:
    run = tmp_path_factory.getbasetemp() / "damaged"
    run.mkdir(exist_ok=True)
    data = bytearray((whole / STATE).read_bytes())
    begin, end = 0, len(data)
    if part != "file":
        end = 8 + int.from_bytes(data[:8], "little")
    if part == "facts":
        begin, end = data.index(b"facts"), data.index(b"sha256")
    for where, value in changes:
        # Digits in the facts, because most other bytes there make no JSON.
        data[begin + int(where * (end - begin))] = 48 + value % 10 if part == "facts" else value
    (run / STATE).write_bytes(data if cut is None else data[: int(cut * len(data))])
    with contextlib.suppress(CheckpointError):
        assert number_of(run) == 5


def test_what_a_killed_writer_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    write(tmp_path, 1, 2)
    (tmp_path / ".cnnkit.0123.tmp").write_bytes((tmp_path / STATE).read_bytes()[:50])
    (tmp_path / "notes.tmp").write_text("mine")
    assert number_of(tmp_path) == 2
    assert names(tmp_path) == {STATE, PREVIOUS, "notes.tmp"}


def test_killed_between_the_two_renames_the_one_before_is_there(tmp_path: Path) -> None:
    write(tmp_path, 1, 2)
    (tmp_path / STATE).replace(tmp_path / PREVIOUS)
    (tmp_path / ".cnnkit.0123.tmp").write_bytes(b"the third")
    assert number_of(tmp_path) == 2
    write(tmp_path, 3)
    assert number_of(tmp_path) == 3


def write_for_ever(run: Path, first: int) -> None:
    number = first
    while True:
        write(run, float(number))
        (run / "reached").write_text(str(number))
        number += 1


@pytest.mark.skipif(os.name == "nt", reason="Windows has no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_process_that_is_killed_at_any_moment_leaves_a_whole_state(tmp_path: Path) -> None:
    pauses, reached = random.Random(0), 0
    for _ in range(12):
        process = multiprocessing.get_context("fork").Process(target=write_for_ever, args=(tmp_path, reached + 1))
        process.start()
        while not (tmp_path / "reached").is_file() or (tmp_path / "reached").read_text() in {"", str(reached)}:
            time.sleep(0.001)
        time.sleep(pauses.uniform(0, 0.03))
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
        found = number_of(tmp_path)
        assert found >= reached
        reached = int(found)
        (tmp_path / "reached").unlink()
    assert not [name for name in names(tmp_path) if name.endswith(".tmp")]


def test_a_disk_that_fills_up_keeps_both_generations(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="only Unix can limit the size of files")
    write(tmp_path, 1, 2)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, hard))
    try:
        with pytest.raises(OutputError, match=STATE):
            write(tmp_path, 3)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names(tmp_path) == {STATE, PREVIOUS}
    assert number_of(tmp_path) == 2


# What a training step holds.


def make_step(seed: int = 0, width: int = 6, **fields: Any) -> TrainingStep:
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.Flatten(), nn.Linear(16 * width, 3))
    network.to(memory_format=torch.channels_last)
    return TrainingStep(network, TASK, Recipe(**fields), CPU)


def take(step: TrainingStep, first: int, last: int) -> None:
    step.network.train()
    for number in range(first, last):
        source = torch.Generator().manual_seed(number)
        images = torch.randn(8, 3, 6, 6, generator=source).to(memory_format=torch.channels_last)
        step(images, torch.randint(3, (8,), generator=source), rate=0.01 / (number + 1), together=8)


KINDS = [
    {"optimizer": "sgd"},
    {"optimizer": "sgd", "momentum": 0.9, "nesterov": True, "ema": 0.9},
    {"optimizer": "adam", "clip_norm": 0.1},
    {"optimizer": "adamw", "weight_decay": 0.1, "ema": 0.5},
    {"optimizer": "rmsprop", "momentum": 0.5},
    {"optimizer": "rmsprop", "precision": "bf16"},
]


@pytest.mark.parametrize("fields", KINDS, ids=str)
@pytest.mark.parametrize("done", [0, 1, 5])
def test_a_step_that_is_put_back_goes_on_bit_for_bit(fields: Facts, done: int, tmp_path: Path) -> None:
    step = make_step(**fields)
    take(step, 0, done)
    write_state(tmp_path, step_tensors(step), {})
    take(step, done, done + 4)
    state = read_state(tmp_path)
    assert state is not None
    other = make_step(seed=1, **fields)
    restore_step(other, state[0])
    take(other, done, done + 4)
    found, expected = step_tensors(other), step_tensors(step)
    assert found.keys() == expected.keys()
    assert [name for name in found if not torch.equal(found[name], expected[name])] == []


@pytest.mark.parametrize("fields", KINDS, ids=str)
def test_the_optimizer_gets_back_the_layout_of_its_parameters(fields: Facts, tmp_path: Path) -> None:
    step = make_step(**fields)
    take(step, 0, 2)
    write_state(tmp_path, step_tensors(step), {})
    other = make_step(seed=1, **fields)
    state = read_state(tmp_path)
    assert state is not None
    restore_step(other, state[0])
    first = other.network[0].weight
    assert first.stride() != torch.empty(first.shape).stride(), "channels-last, or this tests nothing"
    pairs = [
        (name, parameter, tensor)
        for parameter, values in other.optimizer.state.items()
        for name, tensor in values.items()
        if tensor is not None and tensor.shape == parameter.shape
    ]
    assert bool(pairs) == (fields != KINDS[0])
    for name, parameter, tensor in pairs:
        assert tensor.stride() == parameter.stride(), name
        assert tensor.dtype == parameter.dtype


def test_the_totals_are_put_back_in_their_own_memory() -> None:
    step, other = make_step(), make_step()
    take(step, 0, 3)
    memory = other.totals.loss.data_ptr()
    other.totals.load(step.totals.state())
    assert other.totals.images == step.totals.images
    assert (other.totals.loss.item(), other.totals.right.item()) == (step.totals.loss.item(), step.totals.right.item())
    assert step.totals.loss.item() > 0
    assert other.totals.loss.data_ptr() == memory


def test_the_scale_of_a_float16_loss_is_put_back() -> None:
    step, other = make_step(), make_step()
    for each in (step, other):
        each.scaler = torch.amp.GradScaler("cpu", init_scale=4.0, growth_interval=3)
    step.scaler.load_state_dict({**step.scaler.state_dict(), "scale": 1024.0, "_growth_tracker": 2})
    restore_step(other, step_tensors(step))
    assert {k: other.scaler.state_dict()[k] for k in ("scale", "_growth_tracker")} == {
        "scale": 1024.0,
        "_growth_tracker": 2,
    }
    take(other, 0, 1)
    assert other.scaler.get_scale() == 2048.0, "the third good step in a row doubles it"


@pytest.mark.parametrize(
    "other",
    [
        {"optimizer": "adam", "width": 5},
        {"optimizer": "sgd", "momentum": 0.9},
        {"optimizer": "rmsprop"},
        {"optimizer": "sgd"},
        {"optimizer": "adam", "ema": 0.9},
    ],
    ids=str,
)
def test_a_state_of_another_network_or_optimizer_is_refused(other: Facts) -> None:
    step = make_step(optimizer="adam")
    take(step, 0, 2)
    with pytest.raises(CheckpointError, match="the state does not fit this recipe's network and optimizer"):
        restore_step(make_step(**other), step_tensors(step))


@pytest.mark.parametrize("name", ["model.0.weight", "optimizer.2.exp_avg", "average.0.weight"])
def test_a_state_that_lacks_a_tensor_is_refused(name: str) -> None:
    step = make_step(optimizer="adam", ema=0.9)
    take(step, 0, 2)
    tensors = step_tensors(step)
    del tensors[name]
    with pytest.raises(CheckpointError, match="the state does not fit"):
        restore_step(make_step(optimizer="adam", ema=0.9), tensors)


def test_the_file_names_every_tensor_of_the_step(tmp_path: Path) -> None:
    step = make_step(optimizer="adam", ema=0.9)
    take(step, 0, 1)
    write_state(tmp_path, step_tensors(step), {"a": 1})
    data = (tmp_path / STATE).read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    record = json.loads(header.pop("__metadata__")["cnnkit_state"])
    assert record["version"] == 1
    assert record["facts"] == {"a": 1}
    assert header.keys() == step_tensors(step).keys()
    assert {name.partition(".")[0] for name in header} == {"model", "average", "steps", "optimizer"}


def test_the_facts_alone_are_those_of_the_state(tmp_path: Path) -> None:
    assert read_facts(tmp_path) is None
    facts = {"epoch": 3, "built_with": {"device": "cpu"}}
    write_state(tmp_path, tensors_of(1.0), facts)
    (tmp_path / ".cnnkit.other.tmp").touch()
    assert read_facts(tmp_path) == facts
    # Whoever writes there now keeps what it has begun.
    assert (tmp_path / ".cnnkit.other.tmp").exists()
    (tmp_path / STATE).write_bytes(b"damaged")
    assert read_facts(tmp_path) is None

"""Processes that train together: what they tell each other, and that they learn what one alone would learn."""

import multiprocessing
import os
import signal
import socket
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn

from cnnkit.errors import CnnkitError, DeviceError, TrainingDivergedError, UsageError
from cnnkit.recipe import Recipe
from cnnkit.sources.checkpoint import load_checkpoint
from cnnkit.training import loop
from cnnkit.training.classification import Classification
from cnnkit.training.distributed import Group, LostProcessError, is_first, joined
from cnnkit.training.results import EpochRecord, TrainingEvent, TrainingFinished, TrainingStarted, TrainingStopped
from cnnkit.training.step import Totals
from tests.expecting import expect_error

CPU = torch.device("cpu")
ALONE = Group(0, 1, CPU)
needs_fork = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is no fork, or no safe one")


@pytest.fixture
def together() -> Iterator[Callable[..., list[Any]]]:
    """Run a function in several processes, as torchrun would: `together(work)` is what each of them returned.

    They are forked, which spares them the import of PyTorch. A process that was killed returned None.
    """
    context = multiprocessing.get_context("fork")
    started = []

    def run(work: Callable[[], Any], *, world: int = 2) -> list[Any]:
        with socket.socket() as free:
            free.bind(("localhost", 0))
            port = free.getsockname()[1]
        ends = []
        for rank in range(world):
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(target=_member, args=(rank, world, port, work, theirs))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # of forking where there are threads
                process.start()
            theirs.close()
            started.append(process)
            ends.append(ours)
        results = [_received(end) for end in ends]
        for process in started:
            process.join(60)
        return results

    yield run
    for process in started:
        process.kill()


def _member(rank: int, world: int, port: int, work: Callable[[], Any], end: Any) -> None:
    os.environ |= {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world), "LOCAL_WORLD_SIZE": str(world),
        "MASTER_ADDR": "localhost", "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "test",
    }  # fmt: skip
    try:
        end.send(work())
    except BaseException as error:
        end.send(error)


def _received(end: Any) -> Any:
    try:
        assert end.poll(300), "a process hangs"
        return end.recv()
    except EOFError:
        return None


def totals(loss: float, right: int, images: int) -> Totals:
    made = Totals(Classification(2), CPU)
    made.load({"loss": torch.tensor(loss), "right": torch.tensor(right), "images": torch.tensor(images)})
    return made


def test_one_process_needs_nobody() -> None:
    assert ALONE.is_first
    assert is_first()
    assert ALONE.all_reduce(totals(6.0, 3, 4)) == (1.5, 0.75, 4)
    assert (ALONE.any(True), ALONE.any(False)) == (True, False)
    assert ALONE.broadcast("anything") == "anything"
    random = torch.arange(3)
    assert ALONE.gather({"torch": random}) == {"torch@0": random}
    network = nn.BatchNorm1d(2)
    before = {name: t.clone() for name, t in network.state_dict().items()}
    ALONE.broadcast_buffers(network)
    ALONE.broadcast_weights(network)
    assert all(torch.equal(t, before[name]) for name, t in network.state_dict().items())
    assert ALONE.synchronised(network) is network
    with ALONE.first_goes_first():
        assert not dist.is_initialized()


def test_without_torchrun_a_process_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")  # some cluster managers set it for everything
    with joined("cpu", 1) as group:
        assert group == ALONE


@pytest.fixture
def under_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be the first of two processes."""
    for name, value in {"RANK": 0, "LOCAL_RANK": 0, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")


@pytest.mark.usefixtures("under_torchrun")
@pytest.mark.parametrize(
    ("device", "batch_size", "error", "name"),
    [
        ("cpu", 3, UsageError, "batch of 3"),
        ("gpu", 64, UsageError, "gpu"),
        ("cuda:99", 64, DeviceError, "cuda:99"),
    ],
)
def test_what_cannot_work_is_said_before_anybody_is_waited_for(
    device: str, batch_size: int, error: type[CnnkitError], name: str
) -> None:
    with expect_error(error, name), joined(device, batch_size):
        pass
    assert not dist.is_initialized()


@pytest.mark.usefixtures("under_torchrun")
@pytest.mark.skipif(not torch.cuda.is_available() or torch.cuda.device_count() > 1, reason="needs exactly one GPU")
def test_two_processes_need_two_gpus() -> None:
    with expect_error(DeviceError, "2 GPUs", 1), joined("auto", 64):
        pass


def talk() -> dict[str, Any]:
    with joined("cpu", 64) as group:
        network = nn.BatchNorm1d(2)
        nn.init.constant_(network.weight, group.rank + 5.0)
        network.running_mean.fill_(group.rank + 7.0)
        group.broadcast_buffers(network)
        found = {
            "who": (group.rank, group.world, group.is_first, is_first()),
            "means": group.all_reduce(totals(6.0, 3, 4) if group.is_first else totals(0.0, 0, 1)),
            "any": [group.any(wish) for wish in (False, not group.is_first, True)],
            "share": group.broadcast({"from": group.rank}),
            "gather": {n: t.tolist() for n, t in group.gather({"torch": torch.tensor([group.rank])}).items()},
            "buffers": (network.weight.tolist(), network.running_mean.tolist()),
        }
        group.broadcast_weights(network)
        return {**found, "weights": network.weight.tolist()}


@needs_fork
def test_what_one_process_knows_the_others_learn(together: Callable[..., list[Any]]) -> None:
    first, second = together(talk)
    assert (first.pop("who"), second.pop("who")) == ((0, 2, True, True), (1, 2, False, False))
    assert (first.pop("buffers"), second.pop("buffers")) == (([5.0] * 2, [7.0] * 2), ([6.0] * 2, [7.0] * 2))
    assert first == second
    assert first == {
        "means": (1.2, 0.6, 5),
        "any": [False, True, True],
        "share": {"from": 0},
        "gather": {"torch@0": [0], "torch@1": [1]},
        "weights": [5.0, 5.0],
    }


@needs_fork
def test_the_first_process_is_waited_for(tmp_path: Path, together: Callable[..., list[Any]]) -> None:
    def load() -> bool:
        with joined("cpu", 64) as group, group.first_goes_first():
            if group.is_first:
                time.sleep(0.3)
                (tmp_path / "cache").write_text("made")
            return (tmp_path / "cache").is_file()

    assert together(load) == [True, True]


@needs_fork
@pytest.mark.parametrize("killed", [0, 1])
def test_who_is_left_alone_says_so(killed: int, together: Callable[..., list[Any]]) -> None:
    def wait() -> None:
        with joined("cpu", 64) as group:
            group.any(False)
            if group.rank == killed:
                os.kill(os.getpid(), signal.SIGKILL)
            group.any(False)

    results = together(wait)
    assert results[killed] is None
    assert isinstance(results[1 - killed], LostProcessError)
    assert (results[1 - killed].code, results[1 - killed].exit_code) == ("lost-process", 75)


@needs_fork
def test_an_error_of_its_own_stays_what_it_is(together: Callable[..., list[Any]]) -> None:
    def fail() -> None:
        with joined("cpu", 64) as group:
            group.any(False)
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    assert [type(error) for error in together(fail)] == [RuntimeError, RuntimeError]


# 30 images to train in batches of 13 are 7 and 6, 7 and 6, 2 and 2 in two processes.
RECIPE = {"model": "mlp", "epochs": 3, "batch_size": 13, "learning_rate": 1e-3, "validation_fraction": 0.25}
RECIPES: dict[str, dict[str, Any]] = {
    "plain": {},
    "everything": {
        "optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.9, "nesterov": True, "clip_norm": 0.5, "ema": 0.8,
        "weight_decay": 1e-3, "mixup": 0.4, "label_smoothing": 0.1, "augmentation": "affine",
        "schedule": "cosine", "warmup_epochs": 1.0, "normalisation": "standard", "initialisation": "xavier",
    },
    "classes-that-count": {"class_weights": "balanced", "model": "lenet", "limit_batches": 2},
}  # fmt: skip


def train(recipe: Recipe, runs: Path, **options: Any) -> list[TrainingEvent]:
    return list(loop.train_events(recipe, runs_dir=runs, device="cpu", **options))


def records_of(events: list[TrainingEvent]) -> list[EpochRecord]:
    return [event for event in events if isinstance(event, EpochRecord)]


@pytest.fixture
def uneven(few_photos: Callable[[int, int], Path]) -> Path:
    return few_photos(20, 30)


@pytest.fixture
def few_photos(tmp_path: Path) -> Callable[[int, int], Path]:
    """Draw so many dark and light images, some hard to tell apart."""

    def draw(dark: int, light: int) -> Path:
        import numpy as np
        from PIL import Image

        rng = np.random.default_rng(3)
        for name, count, level in (("dark", dark, 110), ("light", light, 145)):
            (tmp_path / "few" / name).mkdir(parents=True)
            for index in range(count):
                pixels = rng.normal(level, 60, (28, 28)).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(tmp_path / "few" / name / f"{index:02}.png")
        return tmp_path / "few"

    return draw


@needs_fork
@pytest.mark.parametrize("name", RECIPES)
def test_two_processes_learn_what_one_learns(
    name: str, uneven: Path, tmp_path: Path, together: Callable[..., list[Any]]
) -> None:
    recipe = Recipe(**{**RECIPE, "data": str(uneven), **RECIPES[name]})
    alone = train(recipe, tmp_path / "one")
    first, second = together(lambda: train(recipe, tmp_path / "two"))
    assert records_of(first)[0].train_loss == pytest.approx(records_of(alone)[0].train_loss, abs=1e-5)
    for one, two in zip(records_of(alone), records_of(first), strict=True):
        for field in ("train_loss", "validation_loss"):
            assert getattr(two, field) == pytest.approx(getattr(one, field), abs=1e-4)
        for field in ("train_accuracy", "validation_accuracy", "learning_rate", "is_best"):
            assert getattr(two, field) == getattr(one, field)
    assert len(records_of(first)) == 3
    weights = [
        load_checkpoint(next((tmp_path / runs).glob("*/best.safetensors")), "best")[0].state_dict()
        for runs in ("one", "two")
    ]
    for key, value in weights[0].items():
        torch.testing.assert_close(weights[1][key], value, atol=1e-4, rtol=1e-3)
    finished = [events[-1] for events in (alone, first, second)]
    assert all(isinstance(event, TrainingFinished) for event in finished)
    assert finished[0].test_accuracy == finished[1].test_accuracy == finished[2].test_accuracy


@needs_fork
def test_all_processes_see_the_same_events_and_one_writes(
    uneven: Path, tmp_path: Path, together: Callable[..., list[Any]]
) -> None:
    recipe = Recipe(**{**RECIPE, "data": str(uneven), "model": "digit-cnn"})  # it normalises batches, and drops out
    first, second = together(lambda: train(recipe, tmp_path / "runs"))
    (started,) = [event for event in first if isinstance(event, TrainingStarted)]
    assert (started.processes, started.train_images, started.steps_per_epoch) == (2, 30, 3)
    assert started in second
    for one, two in zip(records_of(first), records_of(second), strict=True):
        assert (one.train_loss, one.validation_loss, one.is_best) == (two.train_loss, two.validation_loss, two.is_best)
    assert first[-1].run == second[-1].run
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["digit-cnn-few-1"]
    assert len((first[-1].run / "metrics.csv").read_text("utf-8").splitlines()) == 4
    assert not list(first[-1].run.glob(".cnnkit.*"))


@needs_fork
@pytest.mark.parametrize("after", [2, 3, 4, 7])
def test_processes_that_are_stopped_go_on_together(
    after: int, uneven: Path, tmp_path: Path, together: Callable[..., list[Any]]
) -> None:
    """Asked one of them only, as a signal may come to one only."""
    recipe = Recipe(**{**RECIPE, "data": str(uneven), "model": "digit-cnn"})
    straight, _ = together(lambda: train(recipe, tmp_path / "straight"))

    def stopped() -> list[TrainingEvent]:
        asked = iter(range(1000))
        return train(
            recipe, tmp_path / "parts", stop=lambda: next(asked) + 1 >= after and not is_first(), checkpoint_every=1
        )

    first, second = together(stopped)
    assert isinstance(first[-1], TrainingStopped)
    assert first[-1] == second[-1]
    run = first[-1].run
    rest, _ = together(lambda: train(recipe, tmp_path / "parts", resume=run))
    whole, parts = records_of(straight), records_of(first) + records_of(rest)
    assert [(r.epoch, r.train_loss, r.train_accuracy, r.validation_loss) for r in parts] == [
        (r.epoch, r.train_loss, r.train_accuracy, r.validation_loss) for r in whole
    ]
    hashes = [
        load_checkpoint(folder / "best.safetensors", "best")[1].weights_sha256 for folder in (run, straight[-1].run)
    ]
    assert hashes[0] == hashes[1]


@needs_fork
@pytest.mark.parametrize("rank", [0, 1])
def test_a_loss_that_one_process_loses_ends_all_with_the_same_error(
    rank: int, photos: Path, tmp_path: Path, together: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "cli")
    # So slow that this process alone would look at its loss in the middle of the epoch.
    lose = "network.fc.weight.data.fill_(float('nan')); import time; time.sleep(0.4)"
    monkeypatch.setenv("ACT", f"if rank == {rank} and step == 5: {lose}")
    recipe = Recipe(model="acting:Net", data=str(photos), batch_size=4, epochs=5)
    errors = together(lambda: train(recipe, tmp_path))
    assert [type(error) for error in errors] == [TrainingDivergedError] * 2
    assert "the training loss became nan in epoch 2. The best checkpoint, of epoch 1, is kept in" in str(errors[0])


@needs_fork
def test_a_run_of_two_processes_goes_on_in_one_and_the_other_way_round(
    uneven: Path, tmp_path: Path, together: Callable[..., list[Any]]
) -> None:
    recipe = Recipe(**{**RECIPE, "data": str(uneven), "model": "mlp"})
    alone = records_of(train(recipe, tmp_path / "one"))

    def stopped() -> list[TrainingEvent]:
        asked = iter(range(1000))
        return train(recipe, tmp_path / "runs", stop=lambda: next(asked) + 1 >= 2)

    two, _ = together(stopped)
    one = train(recipe, tmp_path / "runs", resume=two[-1].run)
    assert "processes 2 → 1" in str(one)
    assert [r.train_loss for r in records_of(one)] == pytest.approx([r.train_loss for r in alone], abs=1e-4)
    (stop,) = [event for event in stopped() if isinstance(event, TrainingStopped)]
    both, _ = together(lambda: train(recipe, tmp_path / "runs", resume=stop.run))
    assert "processes 1 → 2" in str(both)
    assert [r.train_loss for r in records_of(both)] == pytest.approx([r.train_loss for r in alone], abs=1e-4)

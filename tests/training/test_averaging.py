"""Averaged weights: useful from the first steps, whatever the decay, and exact where a run goes on."""

import copy
import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from cnnkit.progress import Notice
from cnnkit.recipe import Recipe
from cnnkit.training import loop
from cnnkit.training.averaging import WeightAverage, decay_at, on_warm_up
from cnnkit.training.classification import Classification
from cnnkit.training.results import EpochRecord, TrainingFinished
from cnnkit.training.runs import recipe_of
from cnnkit.training.state import read_state, write_state
from cnnkit.training.step import TrainingStep

CPU = torch.device("cpu")
TASK = Classification(3)


def test_the_decay_is_that_of_timm() -> None:
    # ModelEmaV3(use_warmup=True).get_decay(n) for n updates, with its defaults of gamma and power.
    found = [decay_at(step, 0.9999) for step in (1, 2, 3, 11, 1001, 10_001)]
    assert found == pytest.approx([0.0, 0.3700395, 0.5192501, 0.7978200, 0.9900066, 0.9978457], abs=1e-7)


@given(st.floats(0, 1, exclude_max=True), st.integers(1, 10**9))
def test_the_decay_rises_to_the_highest_and_stays_there(highest: float, step: int) -> None:
    assert 0 <= decay_at(step, highest) <= decay_at(step + 1, highest) <= highest
    reached = math.ceil((1 - highest) ** -1.5 * (1 + 1e-9)) + 1
    assert decay_at(reached, highest) == highest


def test_a_run_that_does_not_get_to_its_decay_is_told_how_far_it_gets() -> None:
    said = on_warm_up(0.9999, 300)
    assert "0.9777" in said
    assert "1,000,000" in said
    assert on_warm_up(0.9, 300) == on_warm_up(0.0, 300) == ""


def easy(count: int) -> list[tuple[Tensor, Tensor]]:
    source = torch.Generator().manual_seed(1)
    found = []
    for _ in range(count):
        targets = torch.randint(4, (16,), generator=source)
        images = torch.randn(16, 2, 6, 6, generator=source) * 3
        images[:, 0] += targets.view(-1, 1, 1) * 2.0
        images[:, 1] += (targets.view(-1, 1, 1) % 2) * 4.0
        found.append((images, targets))
    return found


def normalised() -> nn.Module:
    """A network with batch statistics far from those that it begins with."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Flatten(), nn.Linear(32, 4),
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("decay", [0.9, 0.999, 0.9999, 0.99999])
def test_a_few_steps_give_a_useful_average(decay: float) -> None:
    network = normalised()
    step = TrainingStep(network, TASK, Recipe(optimizer="sgd", ema=decay), CPU)
    batches = easy(350)
    images, targets = (torch.cat(part) for part in zip(*batches[300:], strict=True))
    for seen, wanted in batches[:300]:
        network.train()
        step(seen, wanted, rate=0.05, together=16)
        if step.steps not in {30, 100, 300}:
            continue
        with torch.inference_mode():
            raw, average = (one.eval()(images) for one in (network, step.kept))
        right, others = ((logits.argmax(1) == targets).float().mean().item() for logits in (average, raw))
        assert right > others - (0.1 if step.steps < 100 else 0.01)
        assert step.steps < 100 or F.cross_entropy(average, targets) < F.cross_entropy(raw, targets) + 0.05


class Odd(nn.Module):
    """Buffers of all kinds: replaced instead of changed, infinite, counting, shared; and tied and whole weights."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(4, 4), nn.Linear(4, 4)
        self.two.weight = self.one.weight
        self.table = nn.Parameter(torch.tensor([1, 2]), requires_grad=False)
        self.register_buffer("mask", torch.full((4,), -torch.inf).masked_fill(torch.eye(4)[0] > 0, 0.0))
        self.register_buffer("moving", torch.zeros(4))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self.alias = self.moving
        self.register_buffer("wide", torch.zeros(2, dtype=torch.float64), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        values = self.two(self.one(images.flatten(1)))
        if self.training:
            self.moving = 0.9 * self.moving + 0.1 * values.detach().mean(0)
            self.seen += 1
            self.wide += 1
        return values - self.moving


def test_buffers_of_all_kinds_are_averaged_or_copied() -> None:
    torch.manual_seed(0)
    network = Odd()
    step = TrainingStep(network, TASK, Recipe(optimizer="sgd", ema=0.99), CPU)
    expected = {"moving": network.moving.double(), "wide": network.wide}
    for number in range(1, 9):
        step(torch.randn(6, 1, 2, 2), torch.arange(6) % 4, rate=0.1, together=6)
        share = number ** (-2 / 3)
        expected = {name: (1 - share) * t + share * getattr(network, name).double() for name, t in expected.items()}
    kept = step.kept
    assert isinstance(kept, Odd)
    assert kept.moving is not network.moving
    torch.testing.assert_close(kept.moving, expected["moving"].float())
    torch.testing.assert_close(kept.wide, expected["wide"])
    assert torch.equal(kept.mask, network.mask)
    assert kept.seen.item() == 8
    assert kept.one.weight is kept.two.weight
    assert torch.equal(kept.table, network.table)
    assert all(not tensor.isnan().any() for tensor in kept.state_dict().values())


def test_a_network_that_stands_still_is_its_own_average() -> None:
    network = normalised()
    before = copy.deepcopy(network.state_dict())
    average = WeightAverage(network, 0.999)
    for number in range(1, 50):
        average.begin(number)
        average.add()
    assert all(torch.equal(tensor, before[name]) for name, tensor in average.module.state_dict().items())


# Whole runs.

RUN: dict[str, Any] = {"model": "tinynets:Regular", "data": "shapes", "batch_size": 7, "epochs": 3, "ema": 0.9999}


def train(runs: Path, recipe: Recipe, *, stop_at: int = 0, **options: Any) -> list[Any]:
    asked = itertools.count(1)
    return list(loop.train_events(recipe, runs_dir=runs, device="cpu", stop=lambda: next(asked) == stop_at, **options))


def same(one: Tensor, other: Tensor) -> bool:
    return torch.equal(one.nan_to_num(), other.nan_to_num())


@pytest.mark.usefixtures("few_shapes", "nets")
@pytest.mark.parametrize("call", [1, 4, 9])
def test_a_resumed_average_is_that_of_an_unbroken_run(call: int, tmp_path: Path) -> None:
    straight = train(tmp_path / "straight", Recipe(**RUN))[-1].run
    run = train(tmp_path / "broken", Recipe(**RUN), stop_at=call)[-1].run
    finished = train(tmp_path, recipe_of(run), resume=run)[-1]
    assert isinstance(finished, TrainingFinished)
    found, expected = read_state(run), read_state(straight)
    assert found is not None
    assert expected is not None
    assert any(name.startswith("average.") for name in found[0])
    assert [name for name, tensor in found[0].items() if not same(tensor, expected[0][name])] == []


@pytest.mark.usefixtures("few_shapes", "nets")
def test_a_short_run_says_how_far_the_decay_gets(tmp_path: Path) -> None:
    events = train(tmp_path, Recipe(**RUN))
    (note,) = (event.text for event in events if isinstance(event, Notice) and "decay" in event.text)
    steps = 3 * next(event.steps_per_epoch for event in events if hasattr(event, "steps_per_epoch"))
    assert f"{steps} steps" in note


@pytest.mark.usefixtures("few_shapes", "nets")
@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, ["warms up"]),
        ({"ema": 0.0, "class_weights": "balanced", "label_smoothing": 0.1}, ["own class"]),
        ({"class_weights": "balanced", "mixup": 0.2}, ["own class", "warms up"]),
        ({"ema": 0.0, "class_weights": "balanced"}, []),
        ({"ema": 0.0, "label_smoothing": 0.1}, []),
    ],
)
def test_a_run_of_an_earlier_version_goes_on_by_the_new_rules_and_says_so(
    fields: dict[str, Any], said: list[str], tmp_path: Path
) -> None:
    run = train(tmp_path, Recipe(**{**RUN, **fields}), stop_at=9)[-1].run
    state = read_state(run)
    assert state is not None
    tensors, facts = state
    write_state(run, tensors, {name: fact for name, fact in facts.items() if name not in {"steps", "notices"}})
    events = train(tmp_path, recipe_of(run), resume=run)
    warnings = [event.text for event in events if isinstance(event, Notice) and event.warning]
    told = [text for text in warnings if "earlier version" in text]
    assert len(told) == bool(said)
    assert all(part in told[0] for part in said)
    assert [event.epoch for event in events if isinstance(event, EpochRecord)] == [2, 3]

"""Optimisers, schedules and initialisation are those that the recipe names."""

import copy
import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from cnnkit.recipe import Recipe
from cnnkit.training.optimisation import initialise, learning_rates, make_optimizer


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8, 5))


def test_default_leaves_the_weights_as_pytorch_made_them(network: nn.Module) -> None:
    before = copy.deepcopy(network.state_dict())
    initialise(network, "default")
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_xavier_draws_convolutions_and_linear_layers_from_glorots_interval(network: nn.Module) -> None:
    before = copy.deepcopy(network.state_dict())
    initialise(network, "xavier")
    after = network.state_dict()
    for name, bound in (("0.weight", math.sqrt(6 / (2 * 9 + 8 * 9))), ("3.weight", math.sqrt(6 / (8 + 5)))):
        assert not torch.equal(after[name], before[name])
        assert 0.8 * bound < after[name].abs().max() <= bound
    assert all(torch.equal(after[name], before[name]) for name in before if name not in {"0.weight", "3.weight"})


@pytest.mark.parametrize(
    ("name", "kind", "settings"),
    [
        ("sgd", torch.optim.SGD, {"lr": 0.02, "momentum": 0.5, "weight_decay": 0.1}),
        ("adam", torch.optim.Adam, {"lr": 0.02, "weight_decay": 0.1, "betas": (0.9, 0.999)}),
        ("adamw", torch.optim.AdamW, {"lr": 0.02, "weight_decay": 0.1}),
        ("rmsprop", torch.optim.RMSprop, {"lr": 0.02, "momentum": 0.5, "alpha": 0.9, "eps": 1e-7, "weight_decay": 0.1}),
    ],
)
def test_the_optimiser_takes_the_settings_of_the_recipe(
    name: str, kind: type, settings: dict[str, object], network: nn.Module
) -> None:
    momentum = {"momentum": 0.5} if "momentum" in settings else {}
    recipe = Recipe(optimizer=name, learning_rate=0.02, weight_decay=0.1, **momentum)
    optimizer = make_optimizer(recipe, network)
    assert type(optimizer) is kind
    assert {key: optimizer.param_groups[0][key] for key in settings} == settings
    assert sum(p.numel() for p in optimizer.param_groups[0]["params"]) == sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "rmsprop"])
def test_a_step_goes_downhill(name: str, network: nn.Module) -> None:
    optimizer = make_optimizer(Recipe(optimizer=name, learning_rate=1e-3), network)
    images, targets = torch.randn(16, 2, 3, 3), torch.arange(16) % 5
    losses = []
    for _ in range(15):
        loss = nn.functional.cross_entropy(network(images), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def rates(steps_per_epoch: int, epochs: int = 1, **fields: object) -> list[float]:
    return list(learning_rates(Recipe(learning_rate=0.3, epochs=epochs, **fields), steps_per_epoch))


def test_constant_stays() -> None:
    assert rates(5, 3) == [0.3] * 15


def test_cosine_falls_from_the_rate_towards_zero() -> None:
    expected = [0.15 * (1 + math.cos(math.pi * step / 10)) for step in range(10)]
    assert rates(5, 2, schedule="cosine") == pytest.approx(expected, abs=1e-6)


def test_one_cycle_rises_for_a_fifth_to_the_rate_and_falls_to_almost_nothing() -> None:
    found = rates(33, 3, schedule="one-cycle")
    assert len(found) == 99
    assert max(found) == pytest.approx(0.3)
    assert found.index(max(found)) == 19
    assert found[:20] == sorted(found[:20])
    assert found[19:] == sorted(found[19:], reverse=True)
    assert found[0] == pytest.approx(0.3 / 25)
    assert found[-1] < 1e-3


def test_the_step_schedule_falls_by_its_factor_every_so_many_epochs() -> None:
    found = rates(4, 7, schedule="step", decay_epochs=3, decay_factor=0.1)
    assert found == pytest.approx([0.3] * 12 + [0.03] * 12 + [0.003] * 4)


@pytest.mark.parametrize(
    ("schedule", "after"),
    [
        ("constant", [0.3] * 18),
        ("cosine", [0.15 * (1 + math.cos(math.pi * step / 18)) for step in range(18)]),
        ("step", [0.3] * 8 + [0.03] * 8 + [0.003] * 2),
    ],
)
def test_a_warm_up_rises_in_a_line_and_the_schedule_takes_the_steps_that_are_left(
    schedule: str, after: list[float]
) -> None:
    found = rates(4, 6, schedule=schedule, warmup_epochs=1.5, **{"decay_epochs": 2} if schedule == "step" else {})
    assert found[:6] == pytest.approx([0.3 * (step + 1) / 7 for step in range(6)])
    assert found[6:] == pytest.approx(after, abs=1e-6)


@pytest.mark.parametrize("schedule", ["constant", "cosine", "one-cycle", "step"])
@pytest.mark.parametrize(
    "steps",
    [
        1, 2, 3,
        4,
        5, 9,
    ],
)  # fmt: skip
def test_schedules_take_runs_of_any_length(steps: int, schedule: str) -> None:
    found = rates(steps, schedule=schedule)
    assert len(found) == steps
    assert all(0 < rate <= 0.3 + 1e-9 for rate in found)


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_a_warm_up_of_almost_everything_leaves_the_schedule_a_step(steps: int) -> None:
    found = rates(steps, schedule="cosine", warmup_epochs=0.99)
    assert len(found) == steps
    assert all(before < after for before, after in pairwise(found))
    assert found[-1] == pytest.approx(0.3)


@pytest.mark.parametrize("schedule", ["constant", "step"])
def test_what_comes_later_does_not_change_what_came_before(schedule: str) -> None:
    fields = {"schedule": schedule, "warmup_epochs": 0.5, **({"decay_epochs": 1} if schedule == "step" else {})}
    assert rates(4, 9, **fields)[:12] == rates(4, 3, **fields)


def test_rates_leave_the_global_random_numbers_alone() -> None:
    before = torch.get_rng_state()
    rates(5, 2, schedule="one-cycle")
    assert torch.equal(torch.get_rng_state(), before)


def test_nesterov_reaches_the_optimizer(network: nn.Module) -> None:
    assert make_optimizer(Recipe(optimizer="sgd", momentum=0.9, nesterov=True), network).param_groups[0]["nesterov"]
    assert not make_optimizer(Recipe(optimizer="sgd", momentum=0.9), network).param_groups[0]["nesterov"]


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "rmsprop"])
def test_what_is_frozen_is_not_in_the_optimizer(name: str, network: nn.Module) -> None:
    network.requires_grad_(False)
    network[3].requires_grad_(True)
    optimizer = make_optimizer(Recipe(optimizer=name), network)
    assert [id(p) for group in optimizer.param_groups for p in group["params"]] == list(
        map(id, network[3].parameters())
    )

"""Optimisers, schedules and initialisation are those that the recipe names."""

import copy
import math

import pytest
import torch
from torch import nn

from cnnkit.recipe import Recipe
from cnnkit.training.optimisers import initialise, make_optimizer, make_schedule


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8, 5))


def rates(recipe: Recipe, steps: int, network: nn.Module) -> list[float]:
    """The learning rate of each step, and the one after the last."""
    optimizer = make_optimizer(recipe, network)
    schedule = make_schedule(recipe, optimizer, steps)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return [*found, optimizer.param_groups[0]["lr"]]


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
    recipe = Recipe(optimizer=name, learning_rate=0.02, momentum=0.5, weight_decay=0.1)
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


def test_constant_stays(network: nn.Module) -> None:
    assert set(rates(Recipe(learning_rate=0.3), 5, network)) == {0.3}


def test_cosine_falls_from_the_rate_to_zero(network: nn.Module) -> None:
    found = rates(Recipe(learning_rate=0.3, schedule="cosine"), 10, network)
    expected = [0.15 * (1 + math.cos(math.pi * step / 10)) for step in range(11)]
    assert found == pytest.approx(expected, abs=1e-6)


def test_one_cycle_rises_for_a_fifth_to_the_rate_and_falls_to_almost_nothing(network: nn.Module) -> None:
    found = rates(Recipe(learning_rate=0.3, schedule="one-cycle"), 99, network)
    assert max(found) == pytest.approx(0.3)
    assert found.index(max(found)) == 19
    assert found[:20] == sorted(found[:20])
    assert found[19:] == sorted(found[19:], reverse=True)
    assert found[0] == pytest.approx(0.3 / 25)
    assert found[-1] < 1e-5


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize(
    "steps",
    [
        1, 2, 3,
        4,
        5, 9,
    ],
)  # fmt: skip
def test_one_cycle_takes_runs_of_any_length(steps: int, optimizer: str, network: nn.Module) -> None:
    recipe = Recipe(optimizer=optimizer, learning_rate=0.3, momentum=0.9, schedule="one-cycle")
    found = rates(recipe, steps, network)
    assert all(0 < rate <= 0.3 for rate in found)

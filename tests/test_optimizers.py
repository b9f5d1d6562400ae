"""Optimizers and schedules: those of cnnkit are true to PyTorch's, and other packages can add some."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from cnnkit import plugins
from cnnkit.cli.completion import offer
from cnnkit.errors import UnknownNameError, UsageError
from cnnkit.optimizers import optimizer, optimizers, schedule, schedules
from cnnkit.options import parameters
from cnnkit.recipe import Recipe
from cnnkit.render.report_words import recipe_sentences
from cnnkit.training.classification import Classification
from cnnkit.training.optimisation import learning_rates, make_optimizer
from cnnkit.training.state import restore_step, step_tensors
from cnnkit.training.step import TrainingStep
from tests.expecting import expect_error

MODULE = """
from cnnkit.optimizers import Optimizer, Schedule
NADAM = Optimizer(
    "NAdam", "torch.optim:NAdam", frozenset({"step", "exp_avg", "exp_avg_sq", "mu_product"}), fused=False
)
LINEAR = Schedule(
    "a learning rate that falls from {} in a line", "torch.optim.lr_scheduler:LinearLR",
    lambda recipe, steps, steps_per_epoch: {"start_factor": 1.0, "end_factor": 0.5, "total_iters": steps - 1},
    fits_length=True,
)
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package that adds an optimizer and a schedule, as pip leaves one."""
    (tmp_path / "acme_optim.py").write_text(MODULE)
    info = tmp_path / "acme_optim-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-optim\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[cnnkit.optimizers]\nacme-nadam = acme_optim:NADAM\n[cnnkit.schedules]\nlinear = acme_optim:LINEAR\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for cached in (plugins.registered, optimizers, schedules):
        cached.cache_clear()
    yield info
    for cached in (plugins.registered, optimizers, schedules):
        cached.cache_clear()


def step_of(recipe: Recipe) -> TrainingStep:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    return TrainingStep(network, Classification(3), recipe, torch.device("cpu"))


@pytest.mark.parametrize("momentum", [0.0, 0.5])
@pytest.mark.parametrize("name", optimizers())
def test_an_optimizer_keeps_what_it_says(name: str, momentum: float) -> None:
    kind = optimizer(name)
    if momentum and not kind.momentum:
        pytest.skip("it takes none")
    network = nn.Linear(4, 3)
    made = make_optimizer(Recipe(optimizer=name, momentum=momentum), network)
    network(torch.ones(2, 4)).sum().backward()
    made.step()
    kept = kind.state | ({"momentum_buffer"} if momentum else set())
    assert all(
        {key for key, value in values.items() if value is not None} == kept
        for values in made.state_dict()["state"].values()
    )


def test_the_recipe_takes_the_optimizer_and_schedule_of_another_package(installed: Path) -> None:
    choices = {field.name: field.choices for field in parameters(Recipe)}
    assert offer(*choices["optimizer"])("ac") == ["acme-nadam"]
    assert "linear" in choices["schedule"]
    recipe = Recipe(optimizer="acme-nadam", schedule="linear", learning_rate=0.1, epochs=1)
    assert list(learning_rates(recipe, 3)) == pytest.approx([0.1, 0.075, 0.05])
    first, second = step_of(recipe), step_of(recipe)
    assert type(first.optimizer) is torch.optim.NAdam
    first(torch.rand(2, 1, 2, 2), torch.tensor([0, 2]), rate=0.1, together=2)
    restore_step(second, step_tensors(first))
    assert torch.equal(step_tensors(first)["optimizer.0.exp_avg"], step_tensors(second)["optimizer.0.exp_avg"])


def test_without_the_package_what_it_trained_can_be_used_but_not_trained_on() -> None:
    recorded = Recipe.recorded({"optimizer": "acme-nadam", "momentum": 0.5})
    assert recorded.optimizer == "acme-nadam"
    with expect_error(UsageError, "optimizer", "acme-nadam", "sgd"):
        recorded.override({"epochs": 2})


def test_a_report_does_not_take_an_unknown_schedule_for_another() -> None:
    recipe = Recipe.recorded({"optimizer": "acme-nadam", "schedule": "acme-waves", "learning_rate": 0.25})
    said = " ".join(recipe_sentences(recipe.model_dump()))
    assert "acme-nadam with a learning rate up to 0.25, by acme-waves" in said


def test_what_is_not_installed_cannot_be_looked_up() -> None:
    with expect_error(UnknownNameError, "acme-nadam"):
        optimizer("acme-nadam")
    with expect_error(UnknownNameError, "acme-waves"):
        schedule("acme-waves")


def test_a_package_that_cannot_be_imported_is_named(installed: Path) -> None:
    (installed / "entry_points.txt").write_text("[cnnkit.optimizers]\nbad = acme_absent:NONE\n")
    with pytest.raises(UsageError, match="acme_absent:NONE"):
        Recipe(optimizer="adamw")

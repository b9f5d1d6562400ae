"""Optimizers and learning-rate schedules by name: all that recipes, checkpoints and reports must know of one.

A new one is one entry here. Another package adds its own by an entry point in the group `cnnkit.optimizers` or
`cnnkit.schedules`, which names an `Optimizer` or a `Schedule`. Nothing here imports PyTorch.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Protocol, TypeVar

from cnnkit import plugins
from cnnkit.errors import UnknownNameError

T = TypeVar("T")


@dataclass(frozen=True)
class Optimizer:
    """An optimizer.

    Attributes:
        title: as sentences name it.
        factory: a class of PyTorch's interface, as `module:name`; it gets the parameters, `lr` and `weight_decay`.
        state: names of what it keeps for each parameter, besides the `momentum_buffer` of those with a momentum.
        momentum, nesterov: it takes these fields of the recipe.
        late_momentum: its first step makes the momentum, not its constructor.
        fused: it has a kernel for all parameters in one call.
        capturable: it must be told that its step is recorded as a CUDA graph.
        settings: further arguments, which are the same in every recipe.
    """

    title: str
    factory: str
    state: frozenset[str] = frozenset()
    momentum: bool = False
    nesterov: bool = False
    late_momentum: bool = False
    fused: bool = True
    capturable: bool = True
    settings: Mapping[str, object] = field(default_factory=dict)


_ADAM = frozenset({"step", "exp_avg", "exp_avg_sq"})

OPTIMIZERS = {
    "sgd": Optimizer("SGD", "torch.optim:SGD", momentum=True, nesterov=True, late_momentum=True, capturable=False),
    "adam": Optimizer("Adam", "torch.optim:Adam", _ADAM),
    "adamw": Optimizer("AdamW", "torch.optim:AdamW", _ADAM),
    # The decay and epsilon of Keras, which the recipes that use RMSprop were written for.
    "rmsprop": Optimizer(
        "RMSprop", "torch.optim:RMSprop", frozenset({"step", "square_avg"}),
        momentum=True, fused=False, settings={"alpha": 0.9, "eps": 1e-7},
    ),
}  # fmt: skip


class Rates(Protocol):
    """The fields of a recipe that schedules need."""

    @property
    def learning_rate(self) -> float:
        """The highest one."""

    @property
    def decay_epochs(self) -> int:
        """Epochs between two falls."""

    @property
    def decay_factor(self) -> float:
        """Factor of each fall."""


@dataclass(frozen=True)
class Schedule:
    """A course of the learning rate over the steps of a run.

    Attributes:
        title: what the learning rate does, with `{}` in place of the highest one, and fields of the recipe by name.
        factory: a class of PyTorch's interface, as `module:name`; it gets an optimizer and the arguments.
        arguments: from the recipe, the number of steps and the steps in an epoch.
        uses: fields of the recipe that are for this schedule.
        warms_up: it has a rise of its own.
        fits_length: it is laid out over all epochs, so that their number is fixed once it began.
    """

    title: str
    factory: str
    arguments: Callable[[Rates, int, int], dict[str, object]]
    uses: frozenset[str] = frozenset()
    warms_up: bool = False
    fits_length: bool = False


def _one_cycle(recipe: Rates, steps: int, steps_per_epoch: int) -> dict[str, object]:
    # One step more, because the schedule is stepped once after the last one too. A rise of no step at all would be a
    # division by zero.
    rise = max(0.2, 2 / (steps + 1))
    return {"max_lr": recipe.learning_rate, "total_steps": steps + 1, "pct_start": rise, "cycle_momentum": False}


SCHEDULES = {
    "constant": Schedule(
        "a learning rate of {}", "torch.optim.lr_scheduler:LambdaLR",
        lambda recipe, steps, steps_per_epoch: {"lr_lambda": lambda step: 1.0},
    ),
    "cosine": Schedule(
        "a learning rate that falls from {} along a cosine", "torch.optim.lr_scheduler:CosineAnnealingLR",
        lambda recipe, steps, steps_per_epoch: {"T_max": steps},
        fits_length=True,
    ),
    "one-cycle": Schedule(
        "a learning rate that rises to {} and falls again (one cycle)", "torch.optim.lr_scheduler:OneCycleLR",
        _one_cycle, warms_up=True, fits_length=True,
    ),
    "step": Schedule(
        "a learning rate of {}, times {decay_factor:g} every {decay_epochs} epochs",
        "torch.optim.lr_scheduler:StepLR",
        lambda recipe, steps, steps_per_epoch: {
            "step_size": recipe.decay_epochs * steps_per_epoch, "gamma": recipe.decay_factor,
        },
        uses=frozenset({"decay_epochs", "decay_factor"}),
    ),
}  # fmt: skip


@cache
def optimizers() -> dict[str, Optimizer]:
    """Return every optimizer by name: cnnkit's own first, then those of installed packages."""
    return OPTIMIZERS | _installed("cnnkit.optimizers", Optimizer, OPTIMIZERS)


@cache
def schedules() -> dict[str, Schedule]:
    """Return every schedule by name: cnnkit's own first, then those of installed packages."""
    return SCHEDULES | _installed("cnnkit.schedules", Schedule, SCHEDULES)


def optimizer(name: str) -> Optimizer:
    """Return the optimizer of a recipe, or raise UnknownNameError."""
    # Looking for entry points takes time, and most recipes need none.
    if (found := OPTIMIZERS.get(name) or optimizers().get(name)) is None:
        raise UnknownNameError("optimizer", name, optimizers())
    return found


def schedule(name: str) -> Schedule:
    """Return the learning-rate schedule of a recipe, or raise UnknownNameError."""
    if (found := SCHEDULES.get(name) or schedules().get(name)) is None:
        raise UnknownNameError("schedule", name, schedules())
    return found


def import_named(factory: str) -> Callable[..., object]:
    """Return what a `factory` names."""
    import importlib

    module, _, name = factory.partition(":")
    made: Callable[..., object] = getattr(importlib.import_module(module), name)
    return made


def _installed(group: str, kind: type[T], own: Mapping[str, T]) -> dict[str, T]:
    expected = f"a cnnkit.optimizers.{kind.__name__}"
    names = (name for name in plugins.registered(group) if name not in own)
    return {name: plugins.load(group, name, lambda found: isinstance(found, kind), expected) for name in names}

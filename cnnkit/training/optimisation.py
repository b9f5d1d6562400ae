"""From recipe fields to PyTorch's optimizers, schedules and initialisers."""

from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler

from cnnkit.optimizers import import_named, optimizer, schedule
from cnnkit.recipe import Recipe


def initialise(network: nn.Module, how: str) -> None:
    """Initialise in place: `default` keeps PyTorch's own, `xavier` is Glorot and Bengio's uniform one (2010)."""
    if how == "xavier":
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(module.weight)


def make_optimizer(recipe: Recipe, network: nn.Module, *, captured: bool = False) -> torch.optim.Optimizer:
    """Return the recipe's optimizer for the parameters that are not frozen.

    The fused kernels do all parameters in one call. A `captured` step, replayed on the GPU, reads its learning rate
    from a tensor there.
    """
    parameters = [p for p in network.parameters() if p.requires_grad]
    rate: float | Tensor = recipe.learning_rate
    if captured:
        rate = torch.tensor(rate, device=parameters[0].device)
    kind = optimizer(recipe.optimizer)
    given: dict[str, object] = {"lr": rate, "weight_decay": recipe.weight_decay, **kind.settings}
    given |= {"fused": True} if kind.fused else {}
    given |= {"capturable": captured} if kind.capturable else {}
    given |= {"momentum": recipe.momentum} if kind.momentum else {}
    given |= {"nesterov": recipe.nesterov} if kind.nesterov else {}
    made = cast("torch.optim.Optimizer", import_named(kind.factory)(parameters, **given))
    if recipe.momentum and kind.late_momentum:
        # Its own first step makes them without values, and leaves them so where fp16 skips that step.
        for parameter in parameters:
            made.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return made


def learning_rates(recipe: Recipe, steps_per_epoch: int) -> Iterator[float]:
    """Yield the learning rate of every step of the run, from torch's own schedules.

    They drive a stand-in optimizer, so that a rate depends on its position only: a resumed run skips ahead, and
    nothing of the schedule has to be kept.
    """
    stand_in = torch.optim.SGD([nn.Parameter(torch.zeros(()))], lr=recipe.learning_rate)
    steps = steps_per_epoch * recipe.epochs
    warmup = min(round(recipe.warmup_epochs * steps_per_epoch), steps - 1)
    kind = schedule(recipe.schedule)
    arguments = kind.arguments(recipe, steps - warmup, steps_per_epoch)
    course = cast("lr_scheduler.LRScheduler", import_named(kind.factory)(stand_in, **arguments))
    if warmup:
        rise = lr_scheduler.LinearLR(stand_in, 1 / (warmup + 1), total_iters=warmup)
        course = lr_scheduler.SequentialLR(stand_in, [rise, course], [warmup])
    stand_in.step()  # schedules insist on coming after a step
    for _ in range(steps):
        yield stand_in.param_groups[0]["lr"]
        course.step()

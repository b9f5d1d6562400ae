"""From recipe fields to torch's own optimizers, schedules and initialisers."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler

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
    shared: dict[str, Any] = {"lr": rate, "weight_decay": recipe.weight_decay}
    match recipe.optimizer:
        case "sgd":
            optimizer = torch.optim.SGD(
                parameters, momentum=recipe.momentum, nesterov=recipe.nesterov, fused=True, **shared
            )
            if recipe.momentum:
                # Its own first step makes them without values, and leaves them so where fp16 skips that step.
                for parameter in parameters:
                    optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
            return optimizer
        case "adam":
            return torch.optim.Adam(parameters, fused=True, capturable=captured, **shared)
        case "adamw":
            return torch.optim.AdamW(parameters, fused=True, capturable=captured, **shared)
        case "rmsprop":
            # The decay and epsilon of Keras, which the recipes that use RMSprop were written for.
            return torch.optim.RMSprop(
                parameters, alpha=0.9, eps=1e-7, momentum=recipe.momentum, capturable=captured, **shared
            )


def learning_rates(recipe: Recipe, steps_per_epoch: int) -> Iterator[float]:
    """Yield the learning rate of every step of the run, from torch's own schedules.

    They drive a stand-in optimizer, so that a rate depends on its position only: a resumed run skips ahead, and
    nothing of the schedule has to be kept.
    """
    stand_in = torch.optim.SGD([nn.Parameter(torch.zeros(()))], lr=recipe.learning_rate)
    steps = steps_per_epoch * recipe.epochs
    warmup = min(round(recipe.warmup_epochs * steps_per_epoch), steps - 1)
    schedule = _schedule(recipe, stand_in, steps - warmup, steps_per_epoch)
    if warmup:
        rise = lr_scheduler.LinearLR(stand_in, 1 / (warmup + 1), total_iters=warmup)
        schedule = lr_scheduler.SequentialLR(stand_in, [rise, schedule], [warmup])
    stand_in.step()  # schedules insist on coming after a step
    for _ in range(steps):
        yield stand_in.param_groups[0]["lr"]
        schedule.step()


def _schedule(
    recipe: Recipe, optimizer: torch.optim.Optimizer, steps: int, steps_per_epoch: int
) -> lr_scheduler.LRScheduler:
    match recipe.schedule:
        case "constant":
            return lr_scheduler.LambdaLR(optimizer, lambda _: 1.0)
        case "cosine":
            return lr_scheduler.CosineAnnealingLR(optimizer, steps)
        case "step":
            return lr_scheduler.StepLR(optimizer, recipe.decay_epochs * steps_per_epoch, recipe.decay_factor)
        case "one-cycle":
            # One step more, because the schedule is stepped once after the last one too. A rise of no step at all
            # would be a division by zero.
            rise = max(0.2, 2 / (steps + 1))
            return lr_scheduler.OneCycleLR(
                optimizer, recipe.learning_rate, total_steps=steps + 1, pct_start=rise, cycle_momentum=False
            )

"""From recipe fields to torch's own optimizers, schedules and initialisers."""

from typing import Any

import torch
from torch import nn
from torch.optim import lr_scheduler

from cnnkit.recipe import Recipe


def initialise(network: nn.Module, how: str) -> None:
    """Initialise in place: `default` keeps PyTorch's own, `xavier` is Glorot and Bengio's uniform one (2010)."""
    if how == "xavier":
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(module.weight)


def make_optimizer(recipe: Recipe, network: nn.Module) -> torch.optim.Optimizer:
    """Return the recipe's optimizer; the fused kernels do all parameters in one call."""
    shared: dict[str, Any] = {"lr": recipe.learning_rate, "weight_decay": recipe.weight_decay}
    parameters = network.parameters()
    match recipe.optimizer:
        case "sgd":
            return torch.optim.SGD(parameters, momentum=recipe.momentum, fused=True, **shared)
        case "adam":
            return torch.optim.Adam(parameters, fused=True, **shared)
        case "adamw":
            return torch.optim.AdamW(parameters, fused=True, **shared)
        case "rmsprop":
            # The decay and epsilon of Keras, which the recipes that use RMSprop were written for.
            return torch.optim.RMSprop(parameters, alpha=0.9, eps=1e-7, momentum=recipe.momentum, **shared)


def make_schedule(recipe: Recipe, optimizer: torch.optim.Optimizer, steps: int) -> lr_scheduler.LRScheduler:
    """Return the recipe's schedule over that many steps; the recipe's learning rate is the highest one."""
    match recipe.schedule:
        case "constant":
            return lr_scheduler.LambdaLR(optimizer, lambda _: 1.0)
        case "cosine":
            return lr_scheduler.CosineAnnealingLR(optimizer, steps)
        case "one-cycle":
            # One step more, because the schedule is stepped once after the last one too. A rise of no step at all
            # would be a division by zero.
            rise = max(0.2, 2 / (steps + 1))
            return lr_scheduler.OneCycleLR(
                optimizer, recipe.learning_rate, total_steps=steps + 1, pct_start=rise, cycle_momentum=False
            )

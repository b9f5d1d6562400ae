"""Loss and accuracy on a held-back split, before the first epoch and between epochs."""

from collections.abc import Callable

import torch
from torch import nn

from cnnkit.data.loaded import Split
from cnnkit.models.normalisation import Normalise
from cnnkit.recipe import Recipe
from cnnkit.training.distributed import Group
from cnnkit.training.results import EpochRecord, StartRecord
from cnnkit.training.step import Totals, autocast
from cnnkit.training.task import Task

_PIXELS = 1000 * 28 * 28
"""Pixels that are evaluated together: a thousand digits, or sixteen images of 224×224."""

_FIRST, _FEWEST = 1000, 100
"""Images that are measured before the first epoch, at most, and of large ones at least."""


def first_images(split: Split) -> Split:
    """Return images of all classes to measure before the first epoch: 1,000, or fewer where they are large or few."""
    pixels = split.images.shape[1] * split.images.shape[2]
    return split.drawn(max(_FEWEST, min(_FIRST, _FIRST * 64 * 64 // pixels)))


def metrics_of(record: EpochRecord | StartRecord) -> dict[str, float]:
    """Return what a card says of the validation of an epoch, 0 for the start; nothing of a dry run."""
    epoch: dict[str, float] = {"epoch": record.epoch}
    if record.dry_run:
        return epoch  # what it measures is true of a few images only
    images = {"validation_images": record.images} if isinstance(record, StartRecord) else {}
    return epoch | {
        "validation_loss": record.validation_loss,
        "validation_accuracy": record.validation_accuracy,
        **images,
    }


@torch.inference_mode()
def measure(
    network: nn.Module,
    task: Task,
    normalise: Normalise,
    split: Split,
    recipe: Recipe,
    group: Group,
    *,
    stop: Callable[[], bool],
) -> tuple[float, float] | None:
    """Return mean loss and accuracy over all processes, each of which measures every so many-th batch.

    None where `stop` asked to stop first; several processes finish what they began together.
    """
    network.eval()
    totals = Totals(task, group.device)
    size = max(1, _PIXELS // (split.images.shape[1] * split.images.shape[2]))
    for number, (images, targets) in enumerate(split.batches(size)):
        if group.world == 1 and stop():
            return None
        if number % group.world == group.rank:
            there = targets.to(group.device)
            with autocast(recipe.precision, group.device):
                outputs = network(normalise(images.to(group.device))).float()
            totals.add(outputs, there, task.held_out_loss(outputs, there))
    loss, accuracy, _ = group.all_reduce(totals)
    return loss, accuracy

"""Training, from a recipe to a generator of events. It writes the run folder and prints nothing."""

from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path

import torch

from cnnkit.errors import CnnkitError, OutOfMemoryError
from cnnkit.models.memory import is_out_of_memory, keep_freed_memory
from cnnkit.recipe import Recipe
from cnnkit.training import randomness
from cnnkit.training.checkpoints import remove_if_empty, what_is_left
from cnnkit.training.distributed import Group, is_about_others, joined
from cnnkit.training.engine import Engine
from cnnkit.training.results import TrainingEvent
from cnnkit.training.runs import unmark_launch
from cnnkit.training.setup import Prepared, prepare


def train_events(
    recipe: Recipe,
    *,
    data_dir: Path | None = None,
    runs_dir: Path = Path("runs"),
    device: str = "auto",
    resume: Path | None = None,
    checkpoint_every: int = 0,
    stop: Callable[[], bool] = lambda: False,
    trust_code: bool = False,
) -> Generator[TrainingEvent]:
    """Train by a recipe; yields what happens as it happens. The options and errors are those of `cnnkit.train`.

    The run folder gets `run.toml`, `metrics.csv`, `best.safetensors`, the weights of the epoch with the highest
    validation accuracy, and after each epoch `state.safetensors`, from which the run can go on. Seeds PyTorch's global
    random state from the recipe. Under torchrun each process yields the same events, and the first one writes.
    """
    with joined(device, recipe.batch_size) as group:
        prepared = yield from prepare(
            recipe, group, data_dir=data_dir, runs_dir=runs_dir, resume=resume, trust_code=trust_code
        )
        keep_freed_memory()
        before, torch.backends.cudnn.deterministic = torch.backends.cudnn.deterministic, True
        why = f" ({'the GPU that PyTorch found' if group.device.type == 'cuda' else 'PyTorch finds no GPU'})"
        name = f"{group.device}{why if device == 'auto' else ''}"
        try:
            # Closed before the group is left: what is saved then needs it.
            with closing(Engine(prepared, group, name, checkpoint_every, stop).events()) as events:
                for event in events:
                    # Its receiver may draw random numbers; the network's dropout must not notice.
                    states = randomness.capture(group.device)
                    try:
                        yield event
                    finally:
                        randomness.restore(states, group.device)
        except Exception as error:
            if is_about_others(error):
                raise  # the processes that torchrun starts again go on with this run
            left = what_is_left(prepared.run)
            _give_up(prepared, group)
            if isinstance(error, CnnkitError) or not is_out_of_memory(error):
                raise
            raise OutOfMemoryError(
                f"{group.device} has too little memory for batches of {recipe.batch_size}. {left} A new run with a "
                "smaller --batch-size needs less."
            ) from error
        finally:
            torch.backends.cudnn.deterministic = before


def _give_up(prepared: Prepared, group: Group) -> None:
    """Leave no trace of a run that ends with an error before anything of it was saved."""
    unmark_launch(prepared.run)
    if prepared.is_new and group.is_first:
        remove_if_empty(prepared.run)

"""Everything before the first step: what can be wrong with a run is found here, before anything is written."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from cnnkit.errors import DataError, UsageError
from cnnkit.recipe import Recipe
from cnnkit.results import LoadNote, LoadProgress, Pretraining
from cnnkit.training import data as data_module
from cnnkit.training import finetuning, origins, resuming
from cnnkit.training.board import require_tensorboard
from cnnkit.training.catalogue import HELD_OUT
from cnnkit.training.damaged import damaged_list
from cnnkit.training.data import ImageData
from cnnkit.training.distributed import Group
from cnnkit.training.membership import LIST, write_list
from cnnkit.training.networks import create_model, input_shape
from cnnkit.training.optimisers import initialise
from cnnkit.training.runs import launch_mark, new_run_folder
from cnnkit.training.step import require_precision
from cnnkit.words import listed

if TYPE_CHECKING:
    from cnnkit.images import Preprocessing


@dataclass(frozen=True)
class Prepared:
    """What a run needs.

    Attributes:
        is_new: its folder was made for it.
        state: what an earlier part of it left, tensors and facts.
        given: the data and weights as they were first named, for the card.
        pretraining: what the weights were before; None for random ones.
    """

    recipe: Recipe
    network: nn.Module
    data: ImageData
    run: Path
    is_new: bool
    state: tuple[dict[str, Tensor], dict[str, Any]] | None
    given: dict[str, str]
    pretraining: Pretraining | None


def prepare(
    recipe: Recipe, group: Group, *, data_dir: Path | None, runs_dir: Path, resume: Path | None, trust_code: bool
) -> Generator[LoadProgress | LoadNote, None, Prepared]:
    """Load the data, build the network, and make or find the run folder; seeds PyTorch's global random state.

    Raises:
        UnknownNameError, DataError, DeviceError, OutputError, CheckpointError, UsageError: before anything is written.
    """
    require_precision(recipe.precision, group.device)
    if recipe.tensorboard:
        require_tensorboard()
    run, state = resuming.find(recipe, group, runs_dir=runs_dir, resume=resume)
    source = None
    form: Preprocessing | tuple[int, int, int] | None
    if state:
        form = resuming.form_from_facts(state[1])  # and what the weights began as no longer matters
    elif recipe.weights:
        source = finetuning.read_source(recipe.weights, trust_code=trust_code)
        form = source.form(recipe)
    else:
        form = recipe.input_shape or input_shape(recipe.model)
    if form is None:
        raise UsageError(
            f"{recipe.model} does not say its input; give channels × height × width, as in --input 3x32x32."
        )
    with group.first_goes_first():
        data = yield from data_module.load(recipe, form, data_dir=data_dir)
    yield from _warnings(data)
    pretraining, seen = None, None
    if state:
        pretraining = resuming.pretraining_from_facts(state[1])
    elif source is not None:
        pretraining, seen = yield from origins.examine(source, recipe, data, data_dir=data_dir)
    torch.manual_seed(recipe.seed)
    network = create_model(recipe.model, len(data.classes))
    initialise(network, recipe.initialisation)
    if source is not None:
        new_head = finetuning.start_from(network, source, data.classes)
        yield LoadNote(f"starting from {source.name}{', with a new head for other classes' if new_head else ''}")
    if recipe.freeze:
        finetuning.freeze_all_but_head(network)
    _check_fits(network, data, recipe)
    if state:
        resuming.check_same_data(data, state[1])
        yield from resuming.notes(state[1], group)
    files = {LIST: write_list(data.catalogue, seen)}
    if data.catalogue.facts.damaged:
        files["damaged.csv"] = damaged_list(data.catalogue.facts.damaged)
    folder = _run_folder(run, runs_dir, recipe, data, group, files)
    given = resuming.given_by(recipe, state)
    return Prepared(recipe, network, data, folder, run is None, state, given, pretraining)


def _warnings(data: ImageData) -> Iterator[LoadNote]:
    """Yield what a user should know of the images.

    Raises:
        DataError: there are none of a class, or none to validate on.
    """
    known = data.catalogue
    empty = known.missing("train")
    if empty and known.facts.damaged:
        raise DataError(
            f"{data.name} has no image of {listed(empty, 10)} that can be decoded, so that there is nothing to train "
            "on. Repair the files, or take the folders of these classes away."
        )
    if not len(data.validation):
        raise DataError(
            f"{data.name} has no class of two different images, so that none is left to validate on. Add images, or a "
            "folder val/ with some of each class."
        )
    for warning in data.warnings:
        yield LoadNote(warning, warning=True)
    for part in HELD_OUT:
        missing = known.missing(part)
        if missing and part not in known.record.given and len(known.parts[part]):
            few = f"there are too few different images of {listed(missing, 10)} for the {part} split to have any"
            yield LoadNote(few, warning=True)
    if not len(data.test):
        yield LoadNote(f"there is no test set in {data.name}; what is measured are validation figures", warning=True)


def _run_folder(
    run: Path | None, runs_dir: Path, recipe: Recipe, data: ImageData, group: Group, files: dict[str, bytes]
) -> Path:
    """Make a run folder, or take up the one that is there, in the first process; return it in all."""
    marks = group.collect(launch_mark())
    made = Path()
    if group.is_first:
        repeatable = resuming.repeatable(recipe)
        made = run or new_run_folder(runs_dir, recipe.model, data.name, repeatable, marks, files=files)
        if run is not None:
            resuming.take_up(run, recipe, marks)
    return group.share(made)


@torch.inference_mode()
def _check_fits(network: nn.Module, data: ImageData, recipe: Recipe) -> None:
    """Run two images of zeros through the network, so that a wrong shape fails before a run folder is made."""
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise UsageError(f"{recipe.model} has no weights, so there is nothing to train.")
    height, width, channels = data.preprocessing.shape
    shape, classes = (channels, height, width), len(data.classes)
    network.eval()
    try:
        logits = network(torch.zeros(2, *shape))
    except (RuntimeError, ValueError, TypeError) as error:
        size = "×".join(map(str, shape))
        raise UsageError(f"{recipe.model} cannot take images of {size}: {' '.join(str(error).split())}.") from error
    if not isinstance(logits, Tensor) or tuple(logits.shape) != (2, classes):
        came = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise UsageError(f"{recipe.model} gives {came} for two images; expected logits [2, {classes}].")

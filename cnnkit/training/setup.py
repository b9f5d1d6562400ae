"""Everything before the first step: what can be wrong with a run is found here, before anything is written."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from cnnkit.data import loaded as data_module
from cnnkit.data.catalogue import HELD_OUT
from cnnkit.data.damaged import damaged_list
from cnnkit.data.loaded import ImageData
from cnnkit.data.places import HERE, remembering
from cnnkit.data.results import Pretraining
from cnnkit.errors import DataError, UsageError
from cnnkit.files import write_atomic
from cnnkit.layered import asks
from cnnkit.models.heads import Head, head_of
from cnnkit.progress import LoadProgress, Notice
from cnnkit.recipe import Recipe
from cnnkit.runfile import is_whole
from cnnkit.sources import Shape, create_model
from cnnkit.training import finetuning, origins, resuming
from cnnkit.training.board import require_tensorboard
from cnnkit.training.classification import Classification
from cnnkit.training.distributed import Group
from cnnkit.training.inputs import InputChoice, input_for
from cnnkit.training.loader import batch_sizes
from cnnkit.training.membership import LIST, write_list
from cnnkit.training.optimisation import initialise
from cnnkit.training.runs import launch_mark, new_run_folder
from cnnkit.training.step import require_precision
from cnnkit.training.task import Task
from cnnkit.words import listed

if TYPE_CHECKING:
    from cnnkit.images import Preprocessing


@dataclass(frozen=True)
class Prepared:
    """What a run needs.

    Attributes:
        task: what it is trained for.
        trained: the head, where nothing else is trained; None for the whole network.
        is_new: its folder was made for it.
        state: what an earlier part of it left, tensors and facts.
        given: the data and weights as they were first named, for the card.
        pretraining: what the weights were before; None for random ones.
    """

    recipe: Recipe
    network: nn.Module
    task: Task
    trained: Head | None
    data: ImageData
    run: Path
    is_new: bool
    state: tuple[dict[str, Tensor], dict[str, Any]] | None
    given: dict[str, str]
    pretraining: Pretraining | None


def prepare(
    recipe: Recipe, group: Group, *, data_dir: Path | None, runs_dir: Path, resume: Path | None, trust_code: bool
) -> Generator[LoadProgress | Notice, None, Prepared]:
    """Load the data, build the network, and make or find the run folder; seeds PyTorch's global random state.

    Raises:
        UnknownNameError, DataError, DeviceError, OutputError, CheckpointError, UsageError: before anything is written.
    """
    require_precision(recipe.precision, group.device)
    if recipe.tensorboard:
        require_tensorboard()
    run, state = resuming.find(recipe, group, runs_dir=runs_dir, resume=resume)
    weights = None
    form: Preprocessing | Shape | InputChoice
    if state:
        form = resuming.form_from_facts(state[1])  # and what the weights began as no longer matters
    elif recipe.weights:
        weights = finetuning.read_weights(recipe.weights, trust_code=trust_code)
        form = weights.form(recipe)
    else:
        form = input_for(recipe)
    with group.first_goes_first():
        data = yield from data_module.load(recipe.data_options(data_dir), form)
    if not state:
        _require_effect(recipe, data)
    yield from _warnings(data)
    if isinstance(form, InputChoice) and form.note:
        yield Notice(form.note)
    pretraining, seen = None, None
    if state:
        pretraining = resuming.pretraining_from_facts(state[1])
    elif weights is not None:
        pretraining, seen = yield from origins.examine(weights, recipe, data, data_dir=data_dir)
    recipe = recipe.override({"input_shape": data.preprocessing.input_shape})
    task = Classification.of(recipe, len(data.classes), data.train.targets, group.device)
    network, trained = yield from _network(recipe, task, data, weights, group)
    if state:
        resuming.check_same_data(data, state[1])
        yield from resuming.notes(state[1], group)
    files = {LIST: write_list(data.catalogue, seen)}
    if data.catalogue.facts.damaged:
        files["damaged.csv"] = damaged_list(data.catalogue.facts.damaged)
    if data_dir is not None:
        files[HERE] = remembering(data_dir)
    folder = _run_folder(run, runs_dir, recipe, data, group, files)
    if run is not None and data_dir is not None and group.is_first:
        write_atomic(run / HERE, files[HERE])
    given = resuming.given_by(recipe, state)
    return Prepared(recipe, network, task, trained, data, folder, run is None, state, given, pretraining)


def _network(
    recipe: Recipe, task: Task, data: ImageData, weights: finetuning.StartingWeights | None, group: Group
) -> Generator[Notice, None, tuple[nn.Module, Head | None]]:
    """Build the network with its first weights, and try it; return it with its head, where only that is trained."""
    name, shape, classes = recipe.model, data.preprocessing.input_shape, len(data.classes)
    torch.manual_seed(recipe.seed)
    network = create_model(name, classes, shape)
    limit = task.require_output(network, name, shape)
    initialise(network, recipe.initialisation)
    new_head = weights is not None and weights.card.labels != data.classes
    head = head_of(network, shape) if recipe.freeze or new_head else None
    if weights is not None:
        finetuning.start_from(network, weights, head if new_head else None)
        layer = f", with a new head ({head.name or 'its own weights'}) for other classes" if head and new_head else ""
        yield Notice(f"starting from {weights.name}{layer}")
    trained = head if recipe.freeze else None
    if trained is not None:
        finetuning.freeze_all_but_head(network, trained)
    least = min(batch_sizes(len(data.train), recipe, group.world), default=2)
    if group.device.type == "cpu":  # on GPUs, batch normalisation sees the batch of all processes
        least //= group.world
    task.require_trainable(network, name, shape, batch=min(2, max(1, least)))
    if limit:
        yield Notice(f"{name} ends in {limit}, so its logits cannot have every value", warning=True)
    return network, trained


def _require_effect(recipe: Recipe, data: ImageData) -> None:
    """Make sure that what was said of the split has an effect on this data set.

    Raises:
        UsageError: the folder is divided already.
    """
    chosen = set() if is_whole(recipe.model_fields_set) else recipe.model_fields_set
    given = data.catalogue.record.given
    idle = ["validation_fraction", "split_seed", "split_by"] if "validation" in given else []
    idle += ["test_fraction"] if given else []
    for name in idle:
        if name in chosen and asks(getattr(recipe, name)):
            option = f"--{name.replace('_', '-')} {getattr(recipe, name)}"
            raise UsageError(f"{option} has no effect: {data.name} has {' and '.join(given)} images of its own.")


def _warnings(data: ImageData) -> Iterator[Notice]:
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
        yield Notice(warning, warning=True)
    for part in HELD_OUT:
        missing = known.missing(part)
        if missing and part not in known.record.given and len(known.parts[part]):
            few = f"there are too few different images of {listed(missing, 10)} for the {part} split to have any"
            yield Notice(few, warning=True)
    if not len(data.test):
        yield Notice(f"there is no test set in {data.name}; what is measured are validation figures", warning=True)


def _run_folder(
    run: Path | None, runs_dir: Path, recipe: Recipe, data: ImageData, group: Group, files: dict[str, bytes]
) -> Path:
    """Make a run folder, or take up the one that is there, in the first process; return it in all."""
    marks = group.all_gather(launch_mark())
    made = Path()
    if group.is_first:
        repeatable = resuming.repeatable(recipe)
        made = run or new_run_folder(runs_dir, recipe.model, data.name, repeatable, marks, files=files)
        if run is not None:
            resuming.take_up(run, recipe, marks)
    return group.broadcast(made)

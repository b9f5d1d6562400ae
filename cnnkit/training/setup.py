"""Everything before the first step: what can be wrong with a run is found here, before anything is written."""

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cnnkit import datasets
from cnnkit.errors import DataError, UsageError
from cnnkit.files import require_writable
from cnnkit.images import Preprocessing
from cnnkit.recipe import Recipe
from cnnkit.results import LoadNote, LoadProgress
from cnnkit.training import data as data_module
from cnnkit.training import finetuning
from cnnkit.training.board import require_tensorboard
from cnnkit.training.data import ImageData
from cnnkit.training.distributed import Group
from cnnkit.training.networks import create_model, input_shape
from cnnkit.training.optimisers import initialise
from cnnkit.training.runs import is_restart, mark_launch, new_run_folder, recipe_of, run_of_this_launch, versions
from cnnkit.training.state import read_state
from cnnkit.training.step import require_precision

CHANGEABLE = {"epochs", "max_seconds", "patience", "tensorboard"}
"""Recipe fields that a resumed run may have other values for: they say when it ends, not what a step does."""


@dataclass(frozen=True)
class Prepared:
    """What a run needs. `state` is what an earlier part of it left, tensors and facts."""

    recipe: Recipe
    network: nn.Module
    data: ImageData
    run: Path
    state: tuple[dict[str, Tensor], dict[str, Any]] | None


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
    if group.is_first:
        if is_restart():
            resume = run_of_this_launch(runs_dir, resume)
        require_writable(resume or runs_dir)
    resume = group.share(resume)
    state = read_state(resume) if resume and group.is_first else None
    state = group.share(state)
    if resume:
        _check_same_run(recipe, Recipe().override(state[1]["recipe"]) if state else recipe_of(resume))
    source = None
    form: Preprocessing | tuple[int, int, int] | None = recipe.input_shape or input_shape(recipe.model)
    if state:
        form = form_from_facts(state[1])  # and what the weights began as no longer matters
    elif recipe.weights:
        source = finetuning.read_source(recipe.weights, trust_code=trust_code)
        form = source.form(recipe.input_shape)
    if form is None:
        raise UsageError(
            f"{recipe.model} does not say its input; give channels × height × width, as in --input 3x32x32."
        )
    with group.first_goes_first():
        data = yield from data_module.load(recipe, form, data_dir=data_dir)
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
        _check_same_data(data, state[1])
        if (note := _differences(state[1], group)) and group.is_first:
            yield note
    run = resume
    if run is None and group.is_first:
        run = new_run_folder(runs_dir, recipe.model, data.name, _repeatable(recipe))
    elif run is not None and group.is_first:
        mark_launch(run)
        if recipe_of(run) != _repeatable(recipe):
            _repeatable(recipe).write(run / "run.toml")
    return Prepared(recipe, network, data, group.share(run), state)  # type: ignore[arg-type]


def _repeatable(recipe: Recipe) -> Recipe:
    """Return the recipe that repeats the run from any folder; the card, which travels, keeps what was given."""
    changes = {}
    if recipe.data not in datasets.DATASETS:
        changes["data"] = str(Path(recipe.data).expanduser().resolve())
    if recipe.weights and Path(recipe.weights).exists():
        changes["weights"] = str(Path(recipe.weights).resolve())
    return recipe.override(changes)


def facts_of(recipe: Recipe, data: ImageData, group: Group) -> dict[str, Any]:
    """Return what a resumed run has to share with its earlier parts, as JSON."""
    return {
        "recipe": recipe.model_dump(mode="json"),
        "fingerprint": data.fingerprint,
        "preprocessing": asdict(data.preprocessing),
        "classes": list(data.classes),
        "built_with": {**versions(), "device": group.device.type, "threads": torch.get_num_threads()},
        "processes": group.world,
    }


def form_from_facts(facts: dict[str, Any]) -> Preprocessing:
    """Return the form of the images that a run was begun with."""
    given = facts["preprocessing"]
    return Preprocessing(**{name: tuple(v) if isinstance(v, list) else v for name, v in given.items()})


def _check_same_run(recipe: Recipe, before: Recipe) -> None:
    changeable = set(CHANGEABLE)
    if before.schedule in {"cosine", "one-cycle"}:
        changeable.remove("epochs")  # these are laid out over all epochs
    changed = [
        f"{name} was {old!r} and is {new!r}"
        for (name, old), new in zip(_repeatable(before), dict(_repeatable(recipe)).values(), strict=True)
        if old != new and name not in changeable
    ]
    if changed:
        raise UsageError(
            f"a run can only go on as it began: {'; '.join(changed)}. Start a new run for that, from these weights "
            "with --weights if you like."
        )


def _check_same_data(data: ImageData, facts: dict[str, Any]) -> None:
    if data.fingerprint != facts["fingerprint"] or list(data.classes) != facts["classes"]:
        raise DataError(
            f"{data.name} is not what the run was begun with: files were added, removed or changed. Bring them back, "
            "or start a new run."
        )


def _differences(facts: dict[str, Any], group: Group) -> LoadNote | None:
    now = {**versions(), "device": group.device.type, "threads": torch.get_num_threads(), "processes": group.world}
    before = {**facts["built_with"], "processes": facts["processes"]}
    differing = [f"{name} {before.get(name)} → {value}" for name, value in now.items() if before.get(name) != value]
    if not differing:
        return None
    return LoadNote(
        f"the run was begun elsewhere ({', '.join(differing)}), so its weights will not be those of an uninterrupted "
        "run to the last bit"
    )


@torch.inference_mode()
def _check_fits(network: nn.Module, data: ImageData, recipe: Recipe) -> None:
    """Run two images of zeros through the network, so that a wrong shape fails before a run folder is made."""
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

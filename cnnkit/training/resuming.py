"""Going on with a run: finding where it stands, and making sure that it is the same run."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cnnkit.data import sets
from cnnkit.data.loaded import ImageData
from cnnkit.data.results import Pretraining
from cnnkit.errors import DataError, UsageError
from cnnkit.files import JsonObject, require_writable
from cnnkit.images import Preprocessing
from cnnkit.optimizers import schedule
from cnnkit.progress import Notice
from cnnkit.recipe import Recipe
from cnnkit.training.distributed import Group
from cnnkit.training.earlier import earlier_contents
from cnnkit.training.runs import mark_launch, recipe_of, run_of_this_launch, versions
from cnnkit.training.state import read_state

CHANGEABLE = {"epochs", "max_seconds", "patience", "tensorboard"}
"""Recipe fields that a resumed run may have other values for: they say when it ends, not what a step does."""

_STEPS = 2
"""The kind of steps that a state comes from. Before 2, which says so, weights of classes multiplied the classes of a
smoothed or mixed label instead of the whole loss of its image, and averages had their full decay from the start."""

State = tuple[dict[str, Tensor], dict[str, Any]]
"""What an earlier part of a run left: tensors by name, and facts as JSON."""


def find(recipe: Recipe, group: Group, *, runs_dir: Path, resume: Path | None) -> tuple[Path | None, State | None]:
    """Return the run folder to go on with and its state, in all processes; None each where there is none.

    Raises:
        UsageError: no run folder, or one of another recipe.
        CheckpointError: its states are damaged.
        OutputError: the folder cannot be written.
    """
    state = None
    if group.is_first:
        # A group that torchrun started again, for whatever reason, goes on with what it had begun.
        resume = run_of_this_launch(runs_dir, resume) or resume
        require_writable(resume or runs_dir)
        if resume:
            own = recipe_of(resume)
            state = read_state(resume)
            check_same_run(recipe, Recipe.recorded(state[1]["recipe"]) if state else own)
    return group.broadcast(resume), group.broadcast(state)


def take_up(run: Path, recipe: Recipe, marks: Sequence[str]) -> None:
    """Note in a run folder who goes on with it, and until when."""
    mark_launch(run, marks)
    if recipe_of(run) != repeatable(recipe):
        repeatable(recipe).write(run / "run.toml")


def repeatable(recipe: Recipe) -> Recipe:
    """Return the recipe that repeats the run from any folder."""
    changes = {"data": sets.from_anywhere(recipe.data)}
    if recipe.weights and Path(recipe.weights).exists():
        changes["weights"] = str(Path(recipe.weights).resolve())
    return recipe.override(changes)


def given_by(recipe: Recipe, state: State | None) -> dict[str, str]:
    """Return the data and weights as they were first named; the card, which travels, shall not name this machine."""
    given: dict[str, str] = state[1]["given"] if state else {"data": recipe.data, "weights": recipe.weights}
    return given


def facts_of(
    recipe: Recipe, data: ImageData, group: Group, given: dict[str, str], pretraining: Pretraining | None
) -> JsonObject:
    """Return what a resumed run has to share with its earlier parts, as JSON."""
    return {
        "recipe": repeatable(recipe).model_dump(mode="json"),
        "given": given,
        "pretraining": None if pretraining is None else asdict(pretraining),
        "content": data.content,
        "preprocessing": asdict(data.preprocessing),
        "classes": list(data.classes),
        "built_with": {**versions(), "device": group.device.type, "threads": torch.get_num_threads()},
        "processes": group.world,
        "steps": _STEPS,
    }


def form_from_facts(facts: JsonObject) -> Preprocessing:
    """Return the form of the images that a run was begun with."""
    given: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in facts["preprocessing"].items()}
    return Preprocessing(**given)


def pretraining_from_facts(facts: JsonObject) -> Pretraining | None:
    """Return what a run's weights were before it began."""
    if "pretraining" not in facts:  # a state of versions before 0.2
        weights = facts["given"]["weights"]
        return Pretraining(weights) if weights else None
    found = facts["pretraining"]
    return None if found is None else Pretraining(**found)


def check_same_run(recipe: Recipe, before: Recipe) -> None:
    """Make sure that a recipe goes on with what a run did.

    Raises:
        UsageError: a field differs that decides what a step does.
    """
    changeable = set(CHANGEABLE)
    if schedule(before.schedule).fits_length and before.epochs:
        changeable.remove("epochs")
    changed = [
        f"{name} was {old!r} and is {new!r}"
        for (name, old), new in zip(repeatable(before), dict(repeatable(recipe)).values(), strict=True)
        # A run notes the input that the images and the network gave it; without one, a recipe asks for no other.
        if old != new and name not in changeable and not (name == "input_shape" and new is None)
    ]
    if changed:
        raise UsageError(
            f"a run can only go on as it began: {'; '.join(changed)}. Start a new run for that, from these weights "
            "with --weights if you like; more epochs go with a constant or step schedule."
        )


def check_same_data(data: ImageData, facts: JsonObject) -> None:
    """Make sure that the data is that of the run.

    Raises:
        DataError: it is not.
    """
    # A state of versions before 0.2 has a hash of another kind.
    hashes = earlier_contents(data) if "pretraining" not in facts else {data.content}
    if facts["content"] not in hashes or list(data.classes) != facts["classes"]:
        raise DataError(
            f"{data.name} is not what the run was begun with: files were added, removed or changed. Bring them back, "
            "or start a new run."
        )


def notes(facts: JsonObject, group: Group) -> Iterator[Notice]:
    """Say what the user should know of a state: that it is not the newest, or was made by another build."""
    if not group.is_first:
        return
    if "damaged" in facts:
        yield Notice(f"{facts['damaged']} Going on from the state before that one")
    changed = list(_changed_since(facts))
    if changed:
        yield Notice(
            f"the run was begun by an earlier version of cnnkit, and goes on by the rules of this one: "
            f"{' and '.join(changed)}",
            warning=True,
        )
    now = {**versions(), "device": group.device.type, "threads": torch.get_num_threads(), "processes": group.world}
    before = {**facts["built_with"], "processes": facts["processes"]}
    # States of versions before 0.2 do not say all of them.
    differing = [f"{name} {before[name]} → {value}" for name, value in now.items() if before.get(name, value) != value]
    if differing:
        yield Notice(
            f"the run was begun elsewhere ({', '.join(differing)}), so its weights will not be those of an "
            "uninterrupted run to the last bit"
        )


def _changed_since(facts: dict[str, Any]) -> Iterator[str]:
    """Yield what a step does otherwise than those that led to a state."""
    recipe = Recipe.recorded(facts["recipe"])
    if facts.get("steps") == _STEPS:
        return
    if recipe.class_weights != "none" and (recipe.label_smoothing or recipe.mixup):
        yield "each image is weighted by its own class"
    if recipe.ema:
        yield "the decay of the averaged weights warms up"

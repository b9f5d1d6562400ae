"""The state of a run: all that decides how it goes on, in one safetensors file with its predecessor beside it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from cnnkit.card import safetensors_metadata
from cnnkit.errors import CheckpointError
from cnnkit.files import JsonObject, remove_temporaries, sha256, write_atomic
from cnnkit.models.memory import is_out_of_memory
from cnnkit.models.networks import load_weights, weights_hash
from cnnkit.optimizers import optimizer
from cnnkit.training.step import TrainingStep

STATE, PREVIOUS = "state.safetensors", "state.previous.safetensors"
_KEY = "cnnkit_state"
_VERSION = 1


def write_state(run: Path, tensors: dict[str, Tensor], facts: JsonObject) -> None:
    """Write tensors and JSON facts to the run's state file, atomically; the generation before it is kept.

    Raises:
        OutputError: it cannot be written; the states that were there are whole.
    """
    tensors = {name: t.detach().cpu().clone(memory_format=torch.contiguous_format) for name, t in tensors.items()}
    record = {"version": _VERSION, "facts": facts, "sha256": _digest(tensors, facts)}
    data = safetensors.torch.save(tensors, {_KEY: json.dumps(record)})
    path = run / STATE
    # Between the two renames only the previous generation is there, and whole: reading falls back to it.
    write_atomic(path, data, keep=run / PREVIOUS)


def read_state(run: Path) -> tuple[dict[str, Tensor], JsonObject] | None:
    """Return what the newest whole state of a run holds; None where none was written yet.

    Where the newest file is damaged, the fact `damaged` says so.

    Raises:
        CheckpointError: there are states, and each of them is damaged.
    """
    remove_temporaries(run)
    problems: list[str] = []
    for path in (run / STATE, run / PREVIOUS):
        if path.is_file():
            try:
                tensors, facts = _read(path)
                return tensors, facts | ({"damaged": " ".join(problems)} if problems else {})
            except CheckpointError as error:
                problems.append(str(error))
    if problems:
        raise CheckpointError(f"{run} cannot be resumed: {' '.join(problems)} Its best.safetensors may still be whole.")
    return None


def read_facts(run: Path) -> JsonObject | None:
    """Return the JSON facts of a run's newest state, without its tensors and unchecked; None where it has none.

    A training that goes on in the folder is not disturbed.
    """
    try:
        with safetensors.safe_open(run / STATE, "pt") as file:
            facts: dict[str, Any] = json.loads(file.metadata()[_KEY])["facts"]
            return facts
    except Exception:  # a parser fed with a damaged file may raise anything
        return None


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        data = path.read_bytes()
        tensors = safetensors.torch.load(data)
        record = json.loads(safetensors_metadata(data)[_KEY])
        version, facts, digest = record["version"], record["facts"], record["sha256"]
    except Exception as error:  # a parser fed with a damaged file may raise anything
        raise CheckpointError(f"{path} is not a whole state: {error}.") from error
    if version != _VERSION:
        raise CheckpointError(f"{path} is a state of version {version}; this cnnkit reads version {_VERSION}.")
    if _digest(tensors, facts) != digest:
        raise CheckpointError(f"{path} is damaged: it does not hold what was written.")
    return tensors, facts


def _digest(tensors: dict[str, Tensor], facts: dict[str, Any]) -> str:
    return sha256(f"{weights_hash(tensors)} {json.dumps(facts, sort_keys=True)}".encode())


def step_tensors(step: TrainingStep) -> dict[str, Tensor]:
    """Return what a training step holds and all processes share: weights, average, optimizer, loss scale."""
    tensors = {f"model.{name}": t for name, t in step.network.state_dict().items()}
    if step.average is not None:
        tensors |= {f"average.{name}": t for name, t in step.average.state_dict().items()}
        tensors["steps"] = torch.tensor(step.steps)
    for index, values in step.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{key}": t for key, t in values.items() if isinstance(t, Tensor)}
    scale = step.scaler.state_dict()
    if scale:
        tensors["scaler"] = torch.tensor([scale["scale"], scale["_growth_tracker"]], dtype=torch.float64)
    return tensors


def restore_step(step: TrainingStep, tensors: dict[str, Tensor]) -> None:
    """Put back what `step_tensors` returned, into the memory layout that the step has.

    Raises:
        CheckpointError: the tensors are those of another network or optimizer.
    """
    try:
        load_weights(step.network, _below(tensors, "model."))
        if step.average is not None:
            load_weights(step.average, _below(tensors, "average."))
            step.steps = int(tensors.get("steps", 0))  # of which states of earlier versions tell nothing
        form = step.optimizer.state_dict()
        parameters = [p for group in step.optimizer.param_groups for p in group["params"]]
        state: dict[int, dict[str, Any]] = {}
        for name, tensor in _below(tensors, "optimizer.").items():
            index, _, key = name.partition(".")
            like = parameters[int(index)]
            # The fused kernels walk parameter and state side by side in memory, so both need the same strides.
            value = torch.empty_like(like).copy_(tensor) if tensor.shape == like.shape else tensor
            state.setdefault(int(index), {})[key] = value
        kept = optimizer(step.recipe.optimizer).state | ({"momentum_buffer"} if step.recipe.momentum else set())
        if any(values.keys() != kept for values in state.values()):
            raise KeyError(f"{step.recipe.optimizer} keeps something else")
        step.optimizer.load_state_dict({**form, "state": state})
    except (RuntimeError, KeyError, IndexError) as error:
        if is_out_of_memory(error):
            raise
        detail = " ".join(str(error).split())
        raise CheckpointError(f"the state does not fit this recipe's network and optimizer: {detail}") from error
    if "scaler" in tensors:
        scale, growth = tensors["scaler"].tolist()
        step.scaler.load_state_dict({**step.scaler.state_dict(), "scale": scale, "_growth_tracker": int(growth)})


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return dict(_stripped(tensors, prefix))


def _stripped(tensors: dict[str, Tensor], prefix: str) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in tensors.items():
        if name.startswith(prefix):
            yield name.removeprefix(prefix), tensor

"""Layers, output shapes, parameters and multiply-adds of a network, found by running it once without data."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from cnnkit import registry
from cnnkit.errors import UsageError
from cnnkit.results import LayerRow, ModelSummary
from cnnkit.training import networks


def summarize(
    ref: str,
    *,
    batch: int = 1,
    shape: tuple[int, int, int] | None = None,
    depth: int | None = None,
    trust_code: bool = False,
) -> ModelSummary:
    """Summarise the network behind a model reference.

    Args:
        ref: an architecture, a zoo entry, a run or a checkpoint.
        batch: images in the batch that the multiply-adds are for.
        shape: channels, height and width of the input; None for the network's own.
        depth: how many levels of modules to list; None for all.
        trust_code: import the network that a checkpoint's card names as `module:factory`.

    Raises:
        UnknownNameError: no such network.
        UsageError: the network cannot take such an input, or does not say its own.
    """
    reference = registry.resolve(ref)
    if reference.kind == "onnx":
        raise UsageError(f"{ref} is an ONNX file; expected a PyTorch network: a name, a run or a checkpoint.")
    if reference.is_architecture:
        network = _build_without_weights(ref)
        own = networks.input_shape(ref)
    else:
        network, card = networks.load_network(ref, trust_code=trust_code)
        form = card.preprocessing
        own = (form.channels, form.height, form.width)
    shape = shape or own
    if shape is None:
        raise UsageError(f"{ref} does not say its input; give channels × height × width, as in --input 3x32x32.")
    return summarize_module(network, shape, name=ref, batch=batch, depth=depth)


def summarize_module(
    network: nn.Module,
    shape: tuple[int, ...],
    *,
    name: str = "",
    batch: int = 1,
    depth: int | None = None,
) -> ModelSummary:
    """Summarise a module by running it once on zeros [batch, *shape], on its own device (`meta` costs nothing).

    Multiply-adds are half of what `torch.utils.flop_counter` counts: those of convolutions and matrix products.
    The module is left as it was: no hooks, and the training mode that it had.

    Raises:
        UsageError: the module cannot take such an input.
    """
    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    modes = {module: module.training for module in network.modules()}
    counter = FlopCounterMode(display=False)
    try:
        network.eval()
        with _recorded(network) as rows, counter, torch.inference_mode():
            network(torch.zeros(batch, *shape, device=device))
    except (RuntimeError, ValueError, TypeError) as error:
        size = "×".join(map(str, shape))
        raise UsageError(
            f"{name or 'the network'} cannot take an input of {size}: {' '.join(str(error).split())}."
        ) from error
    finally:
        for module, training in modes.items():
            module.training = training
    counts = counter.get_flop_counts()
    root = type(network).__name__
    listed = tuple(
        replace(row, multiply_adds=sum(counts.get(f"{root}.{row.name}", {}).values()) // 2)
        for row in rows
        if depth is None or row.depth <= depth
    )
    parents = {row.name.rpartition(".")[0] for row in listed}
    listed = tuple(replace(row, is_leaf=row.name not in parents) for row in listed)
    parameters = list(network.parameters())
    tensors = [*parameters, *network.buffers()]
    return ModelSummary(
        model=name or root,
        input_shape=shape,
        batch=batch,
        layers=listed,
        parameters=sum(p.numel() for p in parameters),
        trainable_parameters=sum(p.numel() for p in parameters if p.requires_grad),
        multiply_adds=counter.get_total_flops() // 2,
        size_mb=sum(t.numel() * t.element_size() for t in tensors) / 1e6,
    )


def _build_without_weights(ref: str) -> nn.Module:
    try:
        with torch.device("meta"):
            return networks.create_model(ref)
    except (NotImplementedError, RuntimeError):
        # Some builders compute with tensors, which the meta device cannot.
        return networks.create_model(ref).to("meta")


@contextmanager
def _recorded(network: nn.Module) -> Iterator[list[LayerRow]]:
    """Collect one row for each module that runs, in the order in which they start."""
    names = {module: name for name, module in network.named_modules() if name}
    rows: list[LayerRow] = []
    places: dict[nn.Module, int] = {}

    def before(module: nn.Module, _: Any) -> None:
        if module not in places:
            places[module] = len(rows)
            rows.append(_row(names[module], module))

    def after(module: nn.Module, _: Any, output: Any) -> None:
        place = places[module]
        rows[place] = replace(rows[place], output_shape=_shape(output))

    hooks = [hook for m in names for hook in (m.register_forward_pre_hook(before), m.register_forward_hook(after))]
    try:
        yield rows
    finally:
        for hook in hooks:
            hook.remove()


def _row(name: str, module: nn.Module) -> LayerRow:
    return LayerRow(
        name=name,
        kind=type(module).__name__,
        depth=name.count(".") + 1,
        output_shape=(),
        parameters=sum(p.numel() for p in module.parameters()),
        multiply_adds=0,
        is_leaf=True,
    )


def _shape(output: Any) -> tuple[int, ...]:
    """Return the shape without the batch of the first tensor in an output."""
    if isinstance(output, Tensor):
        return tuple(output.shape[1:])
    if isinstance(output, dict):
        output = list(output.values())
    if isinstance(output, list | tuple) and output:
        return _shape(output[0])
    return ()

"""Networks on the meta device: their layers and the shapes of their weights, without memory for any of them."""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors
import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.nn.parameter import UninitializedParameter, is_lazy

from cnnkit import registry
from cnnkit.card import ModelCard
from cnnkit.errors import CheckpointError, CnnkitError, UsageError
from cnnkit.training import building as builders
from cnnkit.training import networks

Shape = tuple[int, ...]
META = torch.device("meta")


def build(
    ref: str, shapes: tuple[Shape, ...] | None = None, *, trust_code: bool = False
) -> tuple[nn.Module, tuple[Shape, ...] | None]:
    """Build the network behind a reference on the meta device.

    Args:
        ref: an architecture, a zoo entry, a run or a checkpoint; of a file only the header is read.
        shapes: of its inputs, for an architecture that is built for any; None for its own.
        trust_code: import the network that a checkpoint's card names as `module:factory`.

    Returns:
        The network, and the shapes of its inputs without the batch, None where nothing says them.

    Raises:
        UnknownNameError: no such network.
        CheckpointError: a file that is no checkpoint, or of another network than its card says.
        UsageError: it cannot be built.
    """
    reference = registry.resolve(ref)
    if reference.is_architecture:
        own = builders.input_shape(ref)
        network = without_weights(lambda: builders.construct(ref, input_shape=image_shape(shapes)))
        return network, None if own is None else shapes_of(own)
    if reference.kind == "checkpoint" and reference.path is not None:
        name = str(reference.path)
        stored, card = _header(reference.path, name)
        network = without_weights(lambda: networks.build_for(card, name, trust_code=trust_code, lazy=True))
        state = network.state_dict()
        built = {key: stored.get(key, ()) if is_lazy(tensor) else tuple(tensor.shape) for key, tensor in state.items()}
        different = sorted(key for key in built.keys() | stored.keys() if built.get(key) != stored.get(key))
        if different:
            raise CheckpointError(
                f"{name} does not fit the network {card.model!r} that its card names: {', '.join(different[:3])}"
                f"{' and others' if len(different) > 3 else ''}."
            )
    else:
        network, card = networks.load_network(ref, trust_code=trust_code)
        network.to(META)
    return network, (card.preprocessing.input_shape,)


def image_shape(shapes: tuple[Shape, ...] | None) -> builders.Shape | None:
    """Return the one shape of channels, height and width; None for anything else."""
    if shapes is None or len(shapes) != 1 or len(shapes[0]) != 3:
        return None
    channels, height, width = shapes[0]
    return channels, height, width


def build_with_weights(ref: str, shapes: tuple[Shape, ...] | None = None, *, trust_code: bool = False) -> nn.Module:
    """Build the network behind a reference on the CPU: trained where it is, else with random weights."""
    if registry.resolve(ref).is_architecture:
        return builders.construct(ref, input_shape=image_shape(shapes))
    return networks.load_network(ref, trust_code=trust_code)[0]


def shapes_of(given: object) -> tuple[Shape, ...]:
    """Return the shapes of all inputs, from one shape or a sequence of them.

    Raises:
        UsageError: neither.

    >>> shapes_of((1, 28, 28)), shapes_of([(1, 28, 28), (10,)])
    (((1, 28, 28),), ((1, 28, 28), (10,)))
    """
    listed = list(given) if isinstance(given, list | tuple) else [None]
    several = [list(shape) if isinstance(shape, list | tuple) else [None] for shape in listed]
    shapes = [listed] if listed and all(isinstance(size, int) for size in listed) else several
    if not all(isinstance(size, int) and size > 0 for shape in shapes for size in shape):
        raise UsageError(f"an input shape of {given!r}: expected (channels, height, width), or one shape an input.")
    return tuple(map(tuple, shapes))


def needs_values(error: BaseException | None) -> bool:
    """Whether an error came from asking the meta device for the values of a tensor, which it does not have."""
    while error is not None:
        if isinstance(error, RuntimeError | TypeError | ValueError) and "meta" in str(error).lower():
            return True
        error = error.__cause__ or error.__context__
    return False


def without_weights(make: Callable[[], nn.Module]) -> nn.Module:
    """Call a builder, and return its network on the meta device."""
    try:
        with _weightless(), warnings.catch_warnings():
            # A factory that loads its weights itself.
            warnings.filterwarnings("ignore", ".*copying from a non-meta parameter.*", UserWarning)
            return make().to(META)
    except (CnnkitError, RuntimeError, TypeError, ValueError) as error:
        if not needs_values(error):
            raise
        # It computes with the values of its own weights.
        return make().to(META)


@contextmanager
def _weightless() -> Iterator[None]:
    """Let every parameter be without memory from the moment at which a module takes it.

    All else that a builder computes is real, unlike under `torch.device("meta")`, where it could not ask for a number.
    """
    kept: dict[int, tuple[nn.Parameter, Any]] = {}

    def hook(module: nn.Module, name: str, parameter: nn.Parameter | None) -> Any:
        if parameter is None or parameter.is_meta:
            return None
        if id(parameter) not in kept:  # one that two modules share stays one
            made: Any
            if is_lazy(parameter):  # its module gives it a shape in the first run
                made = UninitializedParameter(parameter.requires_grad, META, parameter.dtype)
            else:
                made = nn.Parameter(torch.empty_like(parameter, device=META), parameter.requires_grad)
            kept[id(parameter)] = parameter, made
        return kept[id(parameter)][1]

    handle = register_module_parameter_registration_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def _header(path: Path, name: str) -> tuple[Mapping[str, Shape], ModelCard]:
    """Return the shapes in a checkpoint by name, and its card."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            shapes = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
    except Exception as error:  # a parser fed with hostile bytes may raise anything
        raise CheckpointError(f"{name} is not a whole safetensors file: {error}.") from error
    card = ModelCard.from_metadata(metadata, name)
    if card is None:
        raise CheckpointError(
            f"{name} has no model card, so nothing says which network it is. Was it written by cnnkit?"
        )
    return shapes, card

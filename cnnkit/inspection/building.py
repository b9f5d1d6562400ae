"""Networks on the meta device: their layers and the shapes of their weights, without memory for any of them."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.nn.parameter import UninitializedParameter, is_lazy

from cnnkit import sources
from cnnkit.errors import CnnkitError, UsageError
from cnnkit.sources import Source

Shape = tuple[int, ...]
META = torch.device("meta")


def build(
    source: Source, shapes: tuple[Shape, ...] | None = None, *, trust_code: bool = False
) -> tuple[nn.Module, tuple[Shape, ...] | None]:
    """Build the network of a source on the meta device.

    Args:
        source: a PyTorch network; of a file only the header is read.
        shapes: of its inputs, for an architecture that is built for any; None for its own.
        trust_code: import the network that a checkpoint's card names as `module:factory`.

    Returns:
        The network, and the shapes of its inputs without the batch, None where nothing says them.

    Raises:
        UnknownNameError: no such network.
        CheckpointError: a file that is no checkpoint, or of another network than its card says.
        UsageError: it cannot be built.
    """
    network = without_weights(lambda: source.skeleton(image_shape(shapes), trust_code=trust_code))
    own = source.input_shape()
    return network, None if own is None else shapes_of(own)


def image_shape(shapes: tuple[Shape, ...] | None) -> sources.Shape | None:
    """Return the one shape of channels, height and width; None for anything else."""
    if shapes is None or len(shapes) != 1 or len(shapes[0]) != 3:
        return None
    channels, height, width = shapes[0]
    return channels, height, width


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

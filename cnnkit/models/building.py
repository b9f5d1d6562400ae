"""Building networks with random weights for the images that they are to take, and what to say where one refuses."""

import copy
import inspect
import math
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from cnnkit.errors import UsageError

Shape = tuple[int, int, int]
"""Channels, height and width."""

_LARGEST = 2**40
"""Values of an image that anything can be built for."""

_USUAL_SIDES = (8, 16, 24, 28, 32, 48, 64, 96, 128, 160, 192, 224, 256, 299, 384, 448, 512)


def call(
    factory: Callable[..., object], name: str, num_classes: int | None = None, input_shape: Shape | None = None
) -> nn.Module:
    """Call a factory with the number of classes and the shape of the images, where it has parameters for them.

    Raises:
        UsageError: it breaks, or returns no module, or no tensor can be of that shape.
    """
    require_possible(input_shape)
    takes, given = parameters(factory), dict[str, object]()
    if num_classes is not None and ("num_classes" in takes or any(p.kind is p.VAR_KEYWORD for p in takes.values())):
        given["num_classes"] = num_classes
    if input_shape is not None and "input_shape" in takes:
        given["input_shape"] = input_shape
    try:
        network = factory(**given)
    except Exception as error:  # whatever the user's code raises
        raise UsageError(f"{name} cannot build its network: {type(error).__name__}: {error}.") from error
    if not isinstance(network, nn.Module):
        raise UsageError(f"{name} returned {type(network).__name__}; expected an nn.Module.")
    return network


def parameters(factory: Callable[..., object]) -> Mapping[str, inspect.Parameter]:
    """Return the parameters of a factory by name; none where it is not Python code."""
    try:
        return inspect.signature(factory).parameters
    except ValueError:
        return {}


def require_possible(input_shape: Shape | None) -> None:
    """Make sure that there can be a tensor of such a shape, or raise UsageError."""
    if input_shape is not None and math.prod(input_shape) > _LARGEST:
        raise UsageError(f"an image of {sizes(input_shape)} is larger than a tensor can be here; give less.")


def materialise(network: nn.Module, input_shape: Shape, name: str) -> None:
    """Give the lazy layers of a network the shapes that they need for images, and PyTorch's own first weights.

    Raises:
        UsageError: a layer refuses what it is given, or stays lazy because `forward` does not use it.
    """
    if not any(map(is_lazy, (*network.parameters(), *network.buffers()))):
        return
    training, fresh = network.training, copied(network)
    try:
        with torch.no_grad():
            network.eval()(torch.zeros(2, *input_shape))
    except Exception as error:  # whatever the user's code raises
        raise refusal(error, fresh, name, input_shape) from error
    network.train(training)
    unused = [path for path, tensor in (*network.named_parameters(), *network.named_buffers()) if is_lazy(tensor)]
    if unused:
        layer = unused[0].rpartition(".")[0]
        raise UsageError(
            f"the lazy layer {layer} of {name} is not used in evaluation mode, so it gets no shape. Give it its sizes, "
            "or remove it."
        )


def copied(network: nn.Module) -> nn.Module | None:
    """Return a copy of a network; None where it cannot be copied."""
    try:
        return copy.deepcopy(network)
    except Exception:  # whatever the user's objects raise
        return None


def refusal(error: Exception, network: nn.Module | None, name: str, refused: Shape) -> UsageError:
    """Return the error of a network that cannot take images of a shape, with the smallest that it takes.

    Args:
        error: that it raised.
        network: in any mode; lazy where it was. None where nothing else can be tried.
        name: what to call it.
        refused: channels, height and width.
    """
    fits = None if network is None else smallest_input(network, refused)
    instead = ""
    if fits is not None and fits != refused:
        instead = f" The smallest that it takes are {sizes(fits)}: --input {sizes(fits, 'x')}."
    return UsageError(f"{name} cannot take images of {sizes(refused)}: {in_one_line(error)}.{instead}")


def smallest_input(network: nn.Module, refused: Shape) -> Shape | None:
    """Return the smallest square images that go through a network; None where none of usual sizes do.

    Those of as many channels come first, then grey ones or ones in colour.

    Args:
        network: in any mode; its lazy layers are given shapes in copies of it.
        refused: channels, height and width of images that do not.
    """
    lazy = any(map(is_lazy, (*network.parameters(), *network.buffers())))
    shadow = copied(network)
    if shadow is None:
        return None
    shadow = (shadow if lazy else shadow.to("meta")).eval()
    place = "cpu" if lazy else "meta"

    def goes(channels: int, side: int) -> bool:
        tried = copied(shadow) if lazy else shadow
        try:
            with torch.no_grad():
                return tried is not None and isinstance(
                    tried(torch.zeros(2, channels, side, side, device=place)), Tensor
                )
        except Exception:  # whatever the user's code raises
            return False

    for channels in dict.fromkeys((refused[0], 1, 3)):
        tried = 0
        for side in _USUAL_SIDES:
            if goes(channels, side):
                smallest = bisect_left(range(side), True, lo=tried + 1, key=partial(goes, channels))
                return channels, smallest, smallest
            tried = side
    return None


def sizes(shape: Sequence[int], by: str = "×") -> str:
    """Write a shape as 3×28×28."""
    return by.join(map(str, shape))


def in_one_line(error: Exception) -> str:
    """Return the message of an error that a network raised, without its line breaks and full stop."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__

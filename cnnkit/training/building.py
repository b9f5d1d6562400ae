"""Building networks with random weights, by the names of architectures and for the images that they are to take."""

import copy
import inspect
import math
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
import torchvision
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from cnnkit import registry
from cnnkit.errors import UnknownNameError, UsageError

Shape = tuple[int, int, int]
"""Channels, height and width."""

_LARGEST = 2**40
"""Values of an image that anything can be built for."""

_USUAL_SIDES = (8, 16, 24, 28, 32, 48, 64, 96, 128, 160, 192, 224, 256, 299, 384, 448, 512)


def create_model(name: str, num_classes: int | None = None, input_shape: Shape | None = None) -> nn.Module:
    """Build a network with random weights.

    Args:
        name: a registered architecture, `torchvision/NAME` or `package.module:factory`.
        num_classes: outputs; None for the network's own number.
        input_shape: channels, height and width of the images, for a network whose factory takes that, as the registered
            ones do; None for the network's own. Lazy layers get their shapes from it; without it they stay lazy.

    Returns:
        An `nn.Module` from float32 [N, C, H, W] to logits [N, num_classes].

    Raises:
        UnknownNameError: no such network.
        UsageError: the factory cannot be imported, does not return a module, or refuses the shape.

    >>> from cnnkit import create_model
    >>> sum(p.numel() for p in create_model("lenet").parameters())
    61706
    >>> create_model("lenet", 3, input_shape=(3, 32, 32)).fc1.in_features
    576
    """
    network = construct(name, num_classes, input_shape)
    if input_shape is not None:
        materialise(network, input_shape, name)
    return network


def construct(name: str, num_classes: int | None = None, input_shape: Shape | None = None) -> nn.Module:
    """Build a network as `create_model` does, and leave its lazy layers lazy."""
    if input_shape is not None and math.prod(input_shape) > _LARGEST:
        raise UsageError(f"an image of {sizes(input_shape)} is larger than a tensor can be here; give less.")
    kind = registry.resolve(name).kind
    if kind == "architecture":
        spec = registry.model(name)
        if input_shape is not None and min(input_shape[1:]) < spec.smallest_side:
            least = spec.smallest_side
            raise UsageError(
                f"{name} cannot take images of {sizes(input_shape)}; the smallest that it can take are {least}×{least}."
            )
        return _call(spec.factory, num_classes or spec.num_classes, input_shape)
    if kind == "torchvision":
        return _torchvision(name.removeprefix("torchvision/"), num_classes)
    if kind == "factory":
        return _call(name, num_classes, input_shape)
    raise UsageError(f"{name} names trained weights, not a network to build; cnnkit.load({name!r}) opens it.")


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


def input_shape(name: str) -> Shape | None:
    """Return the channels, height and width that a network was made for; None where nothing says it."""
    kind = registry.resolve(name).kind
    if kind == "architecture":
        return registry.model(name).input_shape
    if kind == "torchvision":
        side = _crop_size(name.removeprefix("torchvision/"))
        return (3, side, side)
    shape = getattr(registry.import_factory(name), "input_shape", None)
    # Anything else, such as a property of what the factory makes, says nothing yet.
    return tuple(shape) if isinstance(shape, list | tuple) else None


def takes_shape(name: str) -> bool:
    """Return whether a network can be built for images of any size: its factory has a parameter `input_shape`."""
    kind = registry.resolve(name).kind
    if kind not in {"architecture", "factory"}:
        return False
    factory = registry.import_factory(registry.model(name).factory if kind == "architecture" else name)
    return "input_shape" in _parameters(factory)


def _parameters(factory: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(factory).parameters
    except ValueError:  # of code that is not Python
        return {}


def _require_torchvision(name: str) -> None:
    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        raise UnknownNameError("torchvision classification model", name, known)


def _crop_size(name: str) -> int:
    """Return the side of the images that torchvision's default weights of a network were made for."""
    _require_torchvision(name)
    return int(torchvision.models.get_model_weights(name).DEFAULT.transforms.keywords["crop_size"])


def _torchvision(name: str, num_classes: int | None) -> nn.Module:
    _require_torchvision(name)
    arguments: dict[str, Any] = {"weights": None}
    if name.startswith("vit_"):
        arguments["image_size"] = _crop_size(name)  # they learn where each patch lies, so that they take one size only
    if num_classes is not None:
        arguments["num_classes"] = num_classes
    if name in {"googlenet", "inception_v3"}:
        # Their auxiliary heads make the output a tuple in training mode, and play no part in inference.
        arguments |= {"aux_logits": False, "init_weights": True}
    network: nn.Module = torchvision.models.get_model(name, **arguments)
    return network


def _call(factory: str, num_classes: int | None, input_shape: Shape | None) -> nn.Module:
    function = registry.import_factory(factory)
    takes = _parameters(function)
    given: dict[str, Any] = {}
    if num_classes is not None and ("num_classes" in takes or any(p.kind is p.VAR_KEYWORD for p in takes.values())):
        given["num_classes"] = num_classes
    if input_shape is not None and "input_shape" in takes:
        given["input_shape"] = input_shape
    try:
        network = function(**given)
    except Exception as error:  # whatever the user's code raises
        raise UsageError(f"{factory} cannot build its network: {type(error).__name__}: {error}.") from error
    if not isinstance(network, nn.Module):
        raise UsageError(f"{factory} returned {type(network).__name__}; expected an nn.Module.")
    return network

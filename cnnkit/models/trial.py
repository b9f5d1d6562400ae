"""A network is tried before anything is written: what it does with a few images decides whether it can be trained."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cnnkit.errors import OutOfMemoryError, UsageError
from cnnkit.models.building import Shape, in_one_line, refusal, sizes
from cnnkit.models.heads import head_of
from cnnkit.models.memory import is_out_of_memory
from cnnkit.models.networks import load_weights
from cnnkit.words import counted

_PROBABILITIES = {"Softmax": "softmax", "Sigmoid": "sigmoid", "Hardsigmoid": "hardsigmoid"}
"""Operations whose results are probabilities, by the names of their gradients."""
_BOUNDED = {"Tanh": "tanh", "Relu": "ReLU", "Hardtanh": "hardtanh", "Elu": "ELU", "Gelu": "GELU", "Silu": "SiLU"}
"""Operations that take a part of the numbers away, which logits need."""
_SHAPING = {
    "Alias", "AsStrided", "Clone", "Expand", "Permute", "ReshapeAlias", "Select", "Slice", "Squeeze", "T", "ToCopy",
    "Transpose", "Unsqueeze", "UnsafeView", "View",
}  # fmt: skip
_LINEAR = {"Addmm", "Bmm", "Convolution", "LogSoftmax", "Mm"}
"""Operations that keep logits what they are."""
_LARGE = 1e3
_NORMALISING = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.InstanceNorm2d, nn.GroupNorm)


@dataclass(frozen=True)
class Output:
    """What a network gives.

    Attributes:
        classes: logits for each image.
        bounded_by: the activation at its end that keeps the logits from some numbers; None where there is none.
    """

    classes: int
    bounded_by: str | None


def require_classifier(network: nn.Module, name: str, input_shape: Shape, classes: int | None = None) -> Output:
    """Make sure that a network gives a logit for each class and image.

    Args:
        network: on the CPU; it is left as it is.
        name: what to call it in errors.
        input_shape: channels, height and width of its images.
        classes: that it has to have; None for any number.

    Raises:
        UsageError: it refuses such images, or its output is something else, such as probabilities.
        OutOfMemoryError: there is too little for two images.
    """
    with _tried(network) as tried:
        tried.eval()
        for count in (2, 1, 3):
            try:
                with torch.no_grad():
                    logits = tried(_images(count, input_shape))
            except Exception as error:  # whatever the user's code raises
                raise _refused(error, tried, name, input_shape) from error
            classes = _classes_of(logits, count, name, classes)
        assert classes is not None  # noqa: S101
        ending = _ending(tried, input_shape)
    if ending in _PROBABILITIES.values():
        raise UsageError(
            f"{name} ends in {'a ' if ending != 'softmax' else ''}{ending}, so its output is probabilities; expected "
            "logits. Leave that layer out: the loss and the exported file compute the probabilities themselves."
        )
    return Output(classes, ending)


def require_trainable(network: nn.Module, name: str, input_shape: Shape, classes: int, batch: int) -> None:
    """Take a step of training, and undo it.

    Args:
        network: on the CPU, whose frozen parameters have `requires_grad` off; it is left as it is.
        name: what to call it in errors.
        input_shape: channels, height and width of its images.
        classes: that it has.
        batch: images in the step: a layer may refuse a single one.

    Raises:
        UsageError: it cannot be trained so.
        OutOfMemoryError: there is too little for that batch.
    """
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise UsageError(f"{name} has no weights that can be trained.")
    with _tried(network) as tried, _entered(tried, _NORMALISING) as entered:
        tried.train()
        try:
            logits = tried(_images(batch, input_shape))
            _classes_of(logits, batch, f"{name}, in training mode,", classes)
            if not logits.requires_grad:
                raise UsageError(f"the logits of {name} depend on none of its weights, so nothing can be trained.")
            if _sums_to_one(logits):
                raise UsageError(f"{name}, in training mode, gives probabilities; the loss expects logits.")
            loss = F.cross_entropy(logits.float(), torch.zeros(batch, dtype=torch.int64))
            loss.backward()  # type: ignore[no-untyped-call]
        except UsageError:
            raise
        except Exception as error:  # whatever the user's code raises
            if not entered or "when training" not in str(error):
                raise _refused(error, tried, name, input_shape, training=True) from error
            path, layer = entered[-1]
            larger = "a larger --input"
            if not isinstance(layer, nn.InstanceNorm2d):
                larger = f"a larger --batch-size, of 2 or more for each process, or {larger}"
            raise UsageError(
                f"the layer {path} of {name} ({type(layer).__name__}) gets a single value to normalise from a batch of "
                f"{counted(batch, 'image')}, and one value has no variance. Give {larger}."
            ) from error


def _images(count: int, input_shape: Shape) -> Tensor:
    """Return noise: on images of one colour, layers may do other things than on pictures."""
    return torch.rand(count, *input_shape, generator=torch.Generator().manual_seed(0))


def _classes_of(logits: object, count: int, name: str, classes: int | None) -> int:
    wanted = "classes" if classes is None else str(classes)
    images = counted(count, "image")
    if not isinstance(logits, Tensor):
        raise UsageError(f"{name} gives {type(logits).__name__} for {images}; expected logits [{count}, {wanted}].")
    shape = tuple(logits.shape)
    if len(shape) != 2 or shape[0] != count or (classes is not None and shape[1] != classes):
        raise UsageError(f"{name} gives {list(shape)} for {images}; expected logits [{count}, {wanted}].")
    if not logits.is_floating_point():
        kind = str(logits.dtype).removeprefix("torch.")
        raise UsageError(f"{name} gives numbers of type {kind}; expected logits, which are floating-point numbers.")
    return shape[1]


def _refused(
    error: Exception, network: nn.Module, name: str, input_shape: Shape, *, training: bool = False
) -> UsageError | OutOfMemoryError:
    if is_out_of_memory(error):
        return OutOfMemoryError(f"{name} needs more memory than there is for a few images of {sizes(input_shape)}.")
    if training:
        return UsageError(f"{name} cannot be trained: {in_one_line(error)}.")
    return refusal(error, network, name, input_shape)


def _ending(network: nn.Module, input_shape: Shape) -> str | None:
    """Return the activation that the logits come from; None for another operation. The network's head is changed.

    The graph of the gradients tells it by name. One that is written in other operations shows in its results: whatever
    the weights of the head are, they are probabilities.
    """
    with torch.enable_grad():
        node = network(_images(2, input_shape).requires_grad_().clone()).grad_fn
    while node is not None:
        kind = node.name().rpartition("Backward")[0]
        if kind in _LINEAR:
            return None
        if kind not in _SHAPING:
            return (_PROBABILITIES | _BOUNDED).get(kind) or _written_out(network, input_shape)
        node = node.next_functions[0][0]
    return None


@torch.no_grad()
def _written_out(network: nn.Module, input_shape: Shape) -> str | None:
    if _sums_to_one(network(_images(8, input_shape))):
        return "softmax"
    try:
        head = head_of(network, input_shape)
    except UsageError:  # no weights lead to the logits
        return None
    source = torch.Generator().manual_seed(0)
    for name, parameter in network.named_parameters():
        if name in head.parameters:  # large weights of both signs
            parameter.copy_(_LARGE * torch.randn(parameter.shape, generator=source))
    logits = network(_images(8, input_shape))
    return "sigmoid" if bool((logits >= 0).all() and (logits <= 1).all() and (logits > 0).any()) else None


def _sums_to_one(logits: Tensor) -> bool:
    return logits.shape[1] > 1 and bool((logits >= 0).all() and ((logits.sum(1) - 1).abs() < 1e-4).all())


@contextmanager
def _entered(network: nn.Module, kinds: tuple[type[nn.Module], ...]) -> Iterator[list[tuple[str, nn.Module]]]:
    """Yield a list that the layers of some kinds are noted in when they are called."""
    found: list[tuple[str, nn.Module]] = []
    handles = [
        module.register_forward_pre_hook(lambda layer, _, path=path: found.append((path, layer)))
        for path, module in network.named_modules()
        if isinstance(module, kinds)
    ]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _tried(network: nn.Module) -> Iterator[nn.Module]:
    """Yield a copy that may be changed; one that cannot be copied is yielded itself, and put back afterwards."""
    with torch.random.fork_rng(devices=[]):
        try:
            copied = copy.deepcopy(network)
        except Exception:  # whatever the user's objects raise
            copied = None
        if copied is not None:
            yield copied
            return
        state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        modes = [(module, module.training) for module in network.modules()]
        try:
            yield network
        finally:
            load_weights(network, state)
            network.zero_grad(set_to_none=True)
            for module, training in modes:
                module.training = training

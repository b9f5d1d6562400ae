"""The head of a network: the layer that produces the logits, found by running the network on two images."""

from collections import deque
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from cnnkit.errors import UsageError
from cnnkit.models.building import Shape, in_one_line, sizes

_CONTRACTIONS = {"Addbmm", "Addmm", "Addmv", "Baddbmm", "Bmm", "Convolution", "Linear", "Mm", "Mv"}
"""Operations that multiply and add up, by the names of their gradients."""

_OWN = {"parametrizations"}
"""Children of a layer that are a part of it."""


@dataclass(frozen=True)
class Head:
    """The layer that produces the logits, with the scales and biases that follow it.

    Attributes:
        name: of the layer inside its network; empty where the network itself holds the weights.
        parameters: names of all that is trained with the head, as in `named_parameters`.
        tensors: names of all that is replaced with it, as in `state_dict`: its buffers, too.
        layers: names of the layers that hold these and nothing else.
    """

    name: str
    parameters: frozenset[str]
    tensors: frozenset[str]
    layers: tuple[str, ...]

    def initialise(self, network: nn.Module) -> None:
        """Give it PyTorch's own first weights, where its layers have such."""
        for name in self.layers:
            reset = getattr(network.get_submodule(name), "reset_parameters", None)
            if callable(reset):
                reset()


def head_of(network: nn.Module, input_shape: Shape) -> Head:
    """Find the head of a network by following its logits back to the first weights that are matrices or kernels.

    Args:
        network: in any mode, which it keeps; on the CPU or a GPU.
        input_shape: channels, height and width of its images.

    Raises:
        UsageError: it cannot be run, or no weights lead to its logits.
    """
    names: dict[int, list[str]] = {}
    for name, parameter in network.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    found = _last_weights(_logits(network, input_shape), {id(parameter) for parameter in network.parameters()})
    if not found:
        raise UsageError("the network has no weights that lead to its logits, so there is no head to train.")
    parameters = [name for identity in found for name in names[identity]]
    owners = {owner: network.get_submodule(owner) for owner in dict.fromkeys(map(_owner, parameters))}
    # A layer is replaced whole: batch statistics and spectral norms go with the weights.
    whole = {owner: module for owner, module in owners.items() if _is_all_of(module, owner, parameters)}
    tensors = {f"{owner}.{key}".removeprefix(".") for owner, module in whole.items() for key in module.state_dict()}
    # The weights that were found last are a matrix or kernel; those before them are the biases and scales after it.
    return Head(_owner(names[found[-1]][0]), frozenset(parameters), frozenset(tensors.union(parameters)), tuple(whole))


def _is_all_of(layer: nn.Module, name: str, parameters: list[str]) -> bool:
    """Return whether a layer holds these parameters and no others."""
    own = {f"{name}.{key}".removeprefix(".") for key, _ in layer.named_parameters(remove_duplicate=False)}
    return not set(dict(layer.named_children())) - _OWN and own <= set(parameters)


def _owner(parameter: str) -> str:
    """Return the name of the layer that a parameter belongs to, also where it is parametrised, as by weight norm."""
    layer, mark, _ = parameter.partition(".parametrizations.")
    return layer if mark else parameter.rpartition(".")[0]


def _logits(network: nn.Module, input_shape: Shape) -> Tensor:
    """Run two images through a network, as evaluation does, with a gradient for every parameter."""
    parameter = next(network.parameters(), None)
    if parameter is None:
        raise UsageError("the network has no weights, so there is no head to train.")
    modes = [(module, module.training) for module in network.modules()]
    frozen = [p for p in network.parameters() if not p.requires_grad]
    network.requires_grad_(True)
    network.eval()
    try:
        with torch.enable_grad(), torch.random.fork_rng(devices=[]):
            logits = network(torch.zeros(2, *input_shape, device=parameter.device, requires_grad=True).clone())
    except Exception as error:  # whatever the user's code raises
        raise UsageError(f"the network cannot take images of {sizes(input_shape)}: {in_one_line(error)}.") from error
    finally:
        for module, training in modes:
            module.training = training
        for p in frozen:
            p.requires_grad_(False)
    if not isinstance(logits, Tensor):
        raise UsageError(f"the network gives {type(logits).__name__}; expected logits [N, classes].")
    return logits


def _last_weights(logits: Tensor, parameters: set[int]) -> list[int]:
    """Return the parameters between the logits and the last matrix or kernel, by identity, that one last.

    The graph of the gradients is followed from the logits towards the image. An operation that takes a matrix or a
    kernel ends a path; biases and scales, of one dimension, are noted on the way.
    """
    leaves = _Leaves(parameters)
    small: list[int] = []
    large: list[int] = []
    seen: set[Any] = set()
    waiting = deque([logits.grad_fn])
    while waiting:
        node = waiting.popleft()
        if node is None or node in seen:
            continue
        seen.add(node)
        own: dict[int, Tensor] = {}
        others = []
        for child, _ in node.next_functions:
            held = leaves.below(child)
            if held is None:
                others.append(child)
            else:
                own |= held
        contracts = node.name().partition("Backward")[0] in _CONTRACTIONS
        matrices = [identity for identity, tensor in own.items() if _is_matrix(tensor, contracts=contracts)]
        small += [identity for identity in own if identity not in matrices]
        large += matrices
        if not matrices:
            waiting.extend(others)
    return list(dict.fromkeys(small + large)) if large else []


def _is_matrix(tensor: Tensor, *, contracts: bool) -> bool:
    """Return whether a tensor mixes its inputs: a bias of shape [1, N] or a scale of [C, 1, 1] does not."""
    return (contracts and tensor.dim() > 1) or sum(size > 1 for size in tensor.shape) > 1


class _Leaves:
    """What a part of a graph of gradients ends in."""

    def __init__(self, parameters: set[int]) -> None:
        self._parameters = parameters
        self._known: dict[Any, dict[int, Tensor] | None] = {}

    def below(self, node: Any) -> dict[int, Tensor] | None:
        """Return the parameters that a node is computed from, by identity; None where the image is among them."""
        # Without recursion: a graph is as deep as its network.
        waiting = [node]
        while waiting:
            current = waiting[-1]
            if current is None or current in self._known:
                waiting.pop()
                continue
            children = [child for child, _ in current.next_functions if child is not None]
            missing = [child for child in children if child not in self._known]
            if missing:
                waiting += missing
                continue
            waiting.pop()
            self._known[current] = self._joined(current, children)
        return {} if node is None else self._known[node]

    def _joined(self, node: Any, children: list[Any]) -> dict[int, Tensor] | None:
        variable = getattr(node, "variable", None)
        if isinstance(variable, Tensor):
            return {id(variable): variable} if id(variable) in self._parameters else None
        held: dict[int, Tensor] = {}
        for child in children:
            below = self._known[child]
            if below is None:
                return None
            held |= below
        return held

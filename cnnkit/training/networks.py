"""Building networks, and keeping their weights with their card in one safetensors file."""

import copy
import hashlib
import inspect
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
import torchvision
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from cnnkit import registry, zoo
from cnnkit.card import CARD_KEY, ModelCard, safetensors_metadata
from cnnkit.errors import CheckpointError, DeviceError, UnknownNameError, UsageError
from cnnkit.files import write_atomic
from cnnkit.models.normalisation import Normalise

Shape = tuple[int, int, int]
"""Channels, height and width."""

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
    training = network.training
    try:
        with torch.no_grad():
            network.eval()(torch.zeros(2, *input_shape))
    except Exception as error:  # whatever the user's code raises
        raise UsageError(f"{name} cannot take images of {sizes(input_shape)}: {in_one_line(error)}.") from error
    network.train(training)
    unused = [path for path, tensor in (*network.named_parameters(), *network.named_buffers()) if is_lazy(tensor)]
    if unused:
        layer = unused[0].rpartition(".")[0]
        raise UsageError(f"the layer {layer} of {name} is lazy and unused in forward, so it has no shape. Remove it.")


def smallest_input(network: nn.Module, refused: Shape) -> Shape | None:
    """Return the smallest square images that go through a network; None where none of usual sizes do.

    Args:
        network: in any mode.
        refused: channels, height and width of images that do not.
    """
    try:
        shadow = copy.deepcopy(network).to("meta").eval()
    except Exception:  # what cannot be copied cannot be tried
        return None

    def goes(side: int) -> bool:
        try:
            with torch.no_grad():
                return isinstance(shadow(torch.zeros(2, refused[0], side, side, device="meta")), Tensor)
        except Exception:  # whatever the user's code raises
            return False

    tried = 0
    for side in _USUAL_SIDES:
        if goes(side):
            smallest = bisect_left(range(side), True, lo=tried + 1, key=goes)
            return refused[0], smallest, smallest
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


def choose_device(wanted: str) -> torch.device:
    """Turn `auto`, `cpu`, `cuda` or `cuda:N` into a device that is there.

    Raises:
        DeviceError: CUDA was asked for and PyTorch cannot use it.
        UsageError: not one of these.
    """
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, index = wanted.partition(":")
    if kind not in {"cpu", "cuda"} or (index and not index.isdigit()):
        raise UsageError(f"there is no device {wanted!r}; expected auto, cpu, cuda or cuda:N.")
    if kind == "cuda" and not torch.cuda.is_available():
        built = torch.version.cuda
        reason = f"built for CUDA {built}, found no usable GPU or driver" if built else "built without CUDA"
        raise DeviceError(
            f"--device {wanted}: PyTorch {torch.__version__} is {reason}. Use --device cpu, or see that nvidia-smi "
            "works and run: pip install --force-reinstall torch torchvision"
        )
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise DeviceError(f"--device {wanted}: this machine has {torch.cuda.device_count()} CUDA devices.")
    return torch.device(wanted)


def weights_hash(state: dict[str, Tensor]) -> str:
    """Return the SHA-256 over names, types, shapes and bytes of the tensors, in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def save_checkpoint(path: Path, network: nn.Module, card: ModelCard) -> ModelCard:
    """Write weights and card to one safetensors file, atomically; return the card with the hash of the weights.

    Raises:
        OutputError: the file cannot be written; an older one is left as it was.
    """
    # Copies, because safetensors refuses tensors that share memory, as tied weights do.
    state = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in network.state_dict().items()
    }
    card = replace(card, weights_sha256=weights_hash(state))
    write_atomic(path, safetensors.torch.save(state, {CARD_KEY: card.to_json()}))
    return card


def load_checkpoint(source: Path | bytes, name: str, *, trust_code: bool = False) -> tuple[nn.Module, ModelCard]:
    """Read a checkpoint, check its hash, and build its network in evaluation mode on the CPU.

    Args:
        source: the file or its content.
        name: what to call it in errors.
        trust_code: import the network that the card names as `module:factory`; a card is data from outside, and what
            it names could be any code on this machine.

    Raises:
        CheckpointError: not a safetensors file, without a card, damaged, or of another network than its card says.
    """
    state, card = read_checkpoint(source, name)
    network = build_for(card, name, trust_code=trust_code)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        detail = " ".join(str(error).split())
        raise CheckpointError(
            f"{name} does not fit the network {card.model!r} that its card names: {detail}"
        ) from error
    return network.eval(), card


def build_for(card: ModelCard, name: str, *, trust_code: bool = False, lazy: bool = False) -> nn.Module:
    """Build the network that a checkpoint's card names, with random weights.

    Args:
        card: of the checkpoint.
        name: of the checkpoint, for errors.
        trust_code: as in `load_checkpoint`.
        lazy: leave lazy layers without shapes.

    Raises:
        CheckpointError: it cannot be built, or is code to import that is not trusted.
    """
    if ":" in card.model and not trust_code:
        raise CheckpointError(
            f"{name} names code to import as its network, {card.model!r}. If you trust it, say --trust-code "
            "(trust_code=True)."
        )
    form = card.preprocessing
    make = construct if lazy else create_model
    try:
        return make(card.model, len(card.labels), (form.channels, form.height, form.width))
    except (UnknownNameError, UsageError) as error:
        raise CheckpointError(f"{name} holds weights of {card.model!r}, which cannot be built here: {error}") from error


def read_checkpoint(source: Path | bytes, name: str) -> tuple[dict[str, Tensor], ModelCard]:
    """Read the tensors of a checkpoint by name, and its card, and check their hash; nothing is built.

    Raises:
        CheckpointError: not a safetensors file, without a card, or damaged.
    """
    try:
        data = source.read_bytes() if isinstance(source, Path) else source
        state = safetensors.torch.load(data)
        metadata = safetensors_metadata(data)
    except Exception as error:  # a parser fed with hostile bytes may raise anything
        raise CheckpointError(f"{name} is not a whole safetensors file: {error}.") from error
    card = ModelCard.from_metadata(metadata, name)
    if card is None:
        raise CheckpointError(f"{name} has no model card, so nothing says which network it is. Was cnnkit its writer?")
    if weights_hash(state) != card.weights_sha256:
        raise CheckpointError(f"{name} is damaged: its weights are not those that its card was written for.")
    return state, card


def load_network(text: str, *, trust_code: bool = False) -> tuple[nn.Module, ModelCard]:
    """Return the trained network behind a reference to a checkpoint, a run folder or the zoo.

    Raises:
        CheckpointError: an architecture without zoo entry, an ONNX file, or a damaged file.
    """
    reference = registry.resolve(text)
    if reference.kind == "checkpoint" and reference.path is not None:
        return load_checkpoint(reference.path, str(reference.path), trust_code=trust_code)
    if reference.kind in {"zoo", "architecture"}:
        try:
            entry = zoo.entry(text)
        except UnknownNameError as error:
            raise CheckpointError(
                f"{text} has no trained weights in the zoo. Train it first: cnnkit train {text}"
            ) from error
        return load_checkpoint(zoo.read(entry.name, "model.safetensors"), entry.name)
    raise CheckpointError(f"{text} has no PyTorch weights. Expected a run folder, a .safetensors file or a zoo entry.")


class TorchNetwork:
    """A PyTorch network behind the interface of `cnnkit.runtime`: pixels in, logits out.

    Attributes:
        module: the network alone, in evaluation mode on its device.
        device: where it runs.
    """

    def __init__(self, network: nn.Module, card: ModelCard, device: str = "auto") -> None:
        self.card = card
        self.module = network
        self.device = choose_device(device)
        self.engine = f"PyTorch {self.device.type.upper()}"
        normalise = Normalise(card.preprocessing.mean, card.preprocessing.std)
        self._network = nn.Sequential(normalise, network).eval().to(self.device)

    def logits(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return float32 logits [N, classes] for uint8 pixels [N, H, W, C]."""
        with torch.inference_mode():
            return np.asarray(self._network(torch.from_numpy(pixels).to(self.device)).float().cpu().numpy())

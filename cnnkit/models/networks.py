"""Networks that run on a device, and their weights, kept with their card in one safetensors file."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cnnkit.card import CARD_KEY, ModelCard, safetensors_metadata
from cnnkit.errors import CheckpointError, DeviceError, UsageError
from cnnkit.files import write_atomic
from cnnkit.models.normalisation import Normalise


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


def load_weights(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Copy tensors by their names, which are those of this network, into it.

    Raises:
        RuntimeError: names or shapes differ.
    """
    # A state also has the versions of its layers, which a file does not keep, and which MNASNet asks for.
    whole = network.state_dict()
    whole.clear()
    whole.update(state)
    network.load_state_dict(whole)


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
    card = _card_in(metadata, name)
    if weights_hash(state) != card.weights_sha256:
        raise CheckpointError(f"{name} is damaged: its weights are not those that its card was written for.")
    return state, card


def read_header(source: Path | bytes, name: str) -> tuple[dict[str, tuple[int, ...]], ModelCard]:
    """Read the shapes of the tensors of a checkpoint by name, and its card; a file's tensors are not read.

    Raises:
        CheckpointError: not a safetensors file, or without a card.
    """
    try:
        if isinstance(source, bytes):
            shapes = {key: tuple(tensor.shape) for key, tensor in safetensors.torch.load(source).items()}
            metadata = safetensors_metadata(source)
        else:
            with safetensors.safe_open(source, framework="pt") as file:
                metadata = file.metadata() or {}
                shapes = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
    except Exception as error:  # a parser fed with hostile bytes may raise anything
        raise CheckpointError(f"{name} is not a whole safetensors file: {error}.") from error
    return shapes, _card_in(metadata, name)


def _card_in(metadata: Mapping[str, str], name: str) -> ModelCard:
    card = ModelCard.from_metadata(dict(metadata), name)
    if card is None:
        raise CheckpointError(
            f"{name} has no model card, so nothing says which network it is. Was it written by cnnkit?"
        )
    return card


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

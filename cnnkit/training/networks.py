"""Building networks, and keeping their weights with their card in one safetensors file."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cnnkit import registry, zoo
from cnnkit.card import CARD_KEY, ModelCard, safetensors_metadata
from cnnkit.errors import CheckpointError, DeviceError, UnknownNameError, UsageError
from cnnkit.files import write_atomic
from cnnkit.models.normalisation import Normalise
from cnnkit.training.building import construct, create_model


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
        load_weights(network, state)
    except RuntimeError as error:
        detail = " ".join(str(error).split())
        raise CheckpointError(
            f"{name} does not fit the network {card.model!r} that its card names: {detail}"
        ) from error
    return network.eval(), card


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
    make = construct if lazy else create_model
    try:
        return make(card.model, len(card.labels), card.preprocessing.input_shape)
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
        raise CheckpointError(
            f"{name} has no model card, so nothing says which network it is. Was it written by cnnkit?"
        )
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
    first = f" Train it first: cnnkit train {text}" if reference.is_architecture else ""
    raise CheckpointError(
        f"{text} has no PyTorch weights of a run. Expected a run folder, a .safetensors file or a zoo entry.{first}"
    )


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

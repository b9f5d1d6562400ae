"""`runs/lenet-mnist-1`, `best.safetensors`: a run folder, or a file of weights with their card."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Self

from cnnkit.errors import CheckpointError, CnnkitError
from cnnkit.sources import find
from cnnkit.sources.files import BEST, named_file
from cnnkit.sources.source import Exported, Shape, Source

if TYPE_CHECKING:
    from torch import nn

    from cnnkit.card import ModelCard


_LARGEST_HEADER = 100_000_000
"""Bytes that the format allows."""


class Checkpoint(Source):
    """Trained weights in a safetensors file, whose card names the network."""

    rank = 30
    trained = True

    def __init__(self, text: str, path: Path | None, run: Path | None = None, name: str = "") -> None:
        super().__init__(text, name)
        self.path = path
        self.run = run

    @classmethod
    def find(cls, ref: object) -> Self | None:
        path = named_file(ref, ".safetensors")
        if path is not None or not isinstance(ref, str):
            return None if path is None else cls(str(ref), path)
        folder = Path(ref)
        if not ref or not folder.is_dir():
            return None
        if (folder / BEST).is_file():
            return cls(ref, folder / BEST, run=folder)
        found = sorted(each for each in folder.glob("*") if each.suffix.lower() == ".onnx")[:3]
        hint = f" Name the file in it: {', '.join(map(str, found))}." if found else ""
        raise CheckpointError(f"{ref} is a folder without a {BEST}: not a finished run.{hint}")

    @classmethod
    def offered(cls) -> Iterable[str]:
        return sorted(str(path.parent) for path in Path("runs").glob(f"*/{BEST}"))

    def stored(self) -> Path | bytes:
        assert self.path is not None  # noqa: S101 - those without a path override this
        return self.path

    @property
    def place(self) -> str:
        return str(self.path or self.name)

    def card(self) -> "ModelCard | None":
        from cnnkit.card import ModelCard, safetensors_metadata

        stored = self.stored()
        if isinstance(stored, Path):
            with stored.open("rb") as file:
                length = file.read(8)
                stored = length + file.read(min(int.from_bytes(length, "little"), _LARGEST_HEADER))
        return ModelCard.from_metadata(safetensors_metadata(stored), self.text)

    def skeleton(self, input_shape: Shape | None = None, *, trust_code: bool = False) -> "nn.Module":
        from torch.nn.parameter import is_lazy

        from cnnkit.models.networks import read_header

        shapes, card = read_header(self.stored(), self.place)
        network = _built(card, self.place, trust_code=trust_code, lazy=True)
        built = {
            key: shapes.get(key, ()) if is_lazy(tensor) else tuple(tensor.shape)
            for key, tensor in network.state_dict().items()
        }
        different = sorted(key for key in built.keys() | shapes.keys() if built.get(key) != shapes.get(key))
        if different:
            raise CheckpointError(
                f"{self.place} does not fit the network {card.model!r} that its card names: {', '.join(different[:3])}"
                f"{' and others' if len(different) > 3 else ''}."
            )
        return network

    def input_shape(self) -> Shape | None:
        card = self.card()
        return None if card is None else card.preprocessing.input_shape

    def network(self, input_shape: Shape | None = None, *, trust_code: bool = False) -> "nn.Module":
        return self.weights(trust_code=trust_code)[0]

    def require_exported(self) -> Exported:
        beside = self.path and self.path.parent / "model.onnx"
        if beside is not None and beside.is_file():
            raise CheckpointError(f"{self.text} is not an ONNX file, and its export is there: {beside}")
        return super().require_exported()

    def weights(self, input_shape: Shape | None = None, *, trust_code: bool = False) -> "tuple[nn.Module, ModelCard]":
        return load_checkpoint(self.stored(), self.place, trust_code=trust_code)


def load_checkpoint(source: Path | bytes, name: str, *, trust_code: bool = False) -> "tuple[nn.Module, ModelCard]":
    """Read a checkpoint, check its hash, and build its network in evaluation mode on the CPU.

    Args:
        source: the file or its content.
        name: what to call it in errors.
        trust_code: import the network that the card names as `module:factory`; a card is data from outside, and what
            it names could be any code on this machine.

    Raises:
        CheckpointError: not a safetensors file, without a card, damaged, or of another network than its card says.
    """
    from cnnkit.models.networks import load_weights, read_checkpoint

    state, card = read_checkpoint(source, name)
    network = _built(card, name, trust_code=trust_code)
    try:
        load_weights(network, state)
    except RuntimeError as error:
        detail = " ".join(str(error).split())
        raise CheckpointError(
            f"{name} does not fit the network {card.model!r} that its card names: {detail}"
        ) from error
    return network.eval(), card


def _built(card: "ModelCard", name: str, *, trust_code: bool, lazy: bool = False) -> "nn.Module":
    """Build the network that a card names, with random weights; `lazy` layers may stay without shapes.

    Raises:
        CheckpointError: it cannot be built, or is code to import that is not trusted.
    """
    try:
        source = find(card.model)
        make = source.build if lazy else source.create
        if trust_code or not source.runs_code:
            return make(len(card.labels), card.preprocessing.input_shape)
    except CnnkitError as error:
        raise CheckpointError(f"{name} holds weights of {card.model!r}, which cannot be built here: {error}") from error
    raise CheckpointError(
        f"{name} names code to import as its network, {card.model!r}. If you trust it, say --trust-code "
        "(trust_code=True)."
    )

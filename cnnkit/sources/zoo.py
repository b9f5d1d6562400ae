"""`lenet-mnist`: a trained network that comes with cnnkit."""

from collections.abc import Iterable
from typing import Self

from cnnkit import zoo
from cnnkit.sources.checkpoint import Checkpoint
from cnnkit.sources.source import Exported


class ZooEntry(Checkpoint):
    """An entry of the zoo: weights with their card, and the ONNX file that was made of them."""

    rank = 25

    def __init__(self, text: str, name: str) -> None:
        super().__init__(text, None, name=name)

    @classmethod
    def find(cls, ref: object) -> Self | None:
        return cls(ref, ref) if isinstance(ref, str) and ref in zoo.entries() else None

    @classmethod
    def offered(cls) -> Iterable[str]:
        return zoo.entries()

    def stored(self) -> bytes:
        return zoo.read(self.name, "model.safetensors")

    def exported(self) -> Exported:
        return Exported(zoo.read(self.name, "model.onnx"), self.name, verified=True)

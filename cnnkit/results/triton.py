"""What was written into a Triton model repository."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cnnkit.results.export import ParityCertificate

Outcome = Literal["new model", "new version", "unchanged"]


@dataclass(frozen=True)
class TritonModel:
    """A model in a Triton model repository.

    Attributes:
        repository: folder that the server is started on.
        name: of the model, and of its folder in the repository.
        version: number of the folder with the ONNX file.
        outcome: whether the model is new there, or this is a further version of it, or the file was there already.
        written: files, relative to the repository.
        trained: False where the weights are random.
        certificate: the proof that the file carries; none where it was made without one.
    """

    repository: Path
    name: str
    version: int
    outcome: Outcome
    written: tuple[str, ...]
    trained: bool
    certificate: ParityCertificate | None

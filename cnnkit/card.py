"""The model card: what a file of weights needs to say about itself to be used without anything else."""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cnnkit.errors import CheckpointError
from cnnkit.images import Preprocessing
from cnnkit.recipe import Recipe
from cnnkit.results import ParityCertificate

CARD_KEY = "cnnkit.card"
"""The key of the card in safetensors metadata and in ONNX `metadata_props`."""


class ModelCard(BaseModel):
    """Labels, preprocessing, origin and proof, stored as JSON beside the weights in one file."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    format: Literal[1] = 1
    model: str = Field(description="model reference that rebuilds the network")
    labels: tuple[str, ...] = Field(min_length=1)
    preprocessing: Preprocessing
    trained: bool = True
    dataset: str | None = Field(None, description="name of the data set, or of the image folder")
    fingerprint: str | None = Field(None, description="hash of the data set's files, to recognise its splits")
    recipe: Recipe | None = None
    metrics: dict[str, float] = {}
    versions: dict[str, str] = {}
    weights_sha256: str = ""
    raw_input: bool = Field(False, description="an ONNX file with float32 NCHW input in place of uint8 NHWC")
    parity: ParityCertificate | None = None

    @model_validator(mode="after")
    def _labels_are_distinct(self) -> Self:
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("labels must be distinct")
        return self

    def to_json(self) -> str:
        """Return the card as compact JSON."""
        return self.model_dump_json()

    @classmethod
    def from_metadata(cls, metadata: dict[str, Any] | None, source: str) -> Self | None:
        """Return the card found in a file's metadata, or None where there is none.

        Raises:
            CheckpointError: there is a card, and it is not valid.
        """
        text = (metadata or {}).get(CARD_KEY)
        if text is None:
            return None
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "card"
            raise CheckpointError(
                f"the model card in {source} is not valid ({where}: {first['msg']}). Was the file changed by hand, "
                "or made by a newer cnnkit?"
            ) from error

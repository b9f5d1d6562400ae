"""The model card: what a file of weights needs to say about itself to be used without anything else."""

import json
import re
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Literal, Self

from cnnkit.certificate import ParityCertificate
from cnnkit.data.results import Pretraining, SplitRecord
from cnnkit.errors import CheckpointError, UsageError
from cnnkit.images import Preprocessing

CARD_KEY = "cnnkit.card"
"""The key of the card in safetensors metadata and in ONNX `metadata_props`."""

SPLIT_SETTINGS = ("split_by", "split_seed", "validation_fraction", "test_fraction")
"""Recipe fields that a run takes over from the weights that it starts from."""

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
"""Characters that no label has."""
_LONGEST_LABEL = 1000
"""Characters: a table of longer ones would take seconds to draw."""


@dataclass(frozen=True)
class ModelCard:
    """Labels, preprocessing, origin and proof, stored as JSON beside the weights in one file.

    Attributes:
        model: model reference that rebuilds the network.
        labels: of the classes, in the order of the logits; distinct.
        preprocessing: what the network expects of its input.
        trained: False where the weights are random.
        dataset: name of the data set, or of the image folder.
        fingerprint: hash of the data set's files, to recognise its splits.
        recipe: fields of the `Recipe` that it was trained by.
        split: how the data set was divided; None in cards of versions before 0.2, whose recipe says it.
        pretraining: the weights that the training started from; None for random ones.
        metrics: of the checkpoint, by name; a dry run has measured none.
        versions: of the software that made it.
        weights_sha256: hash over the tensors (see `cnnkit.models.networks.weights_hash`).
        graph_sha256: of an exported file's graph (see `cnnkit.runtime.guard.graph_sha256`).
        raw_input: an ONNX file with float32 NCHW input in place of uint8 NHWC.
        parity: of an exported file with its PyTorch network.
        tuning: the fastest provider options by device and hardware (see `cnnkit.runtime.providers`).
        precision: of an exported file.
        synsets: WordNet's identifiers of the classes, where they are known.
        numbered_from: number of the label at the top of the list, so that folders with numbers find theirs.
        independent: each class has a probability by itself, the sigmoid of its logit, so that they need not sum to 1.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid"}

    model: str
    labels: tuple[str, ...]
    preprocessing: Preprocessing
    trained: bool = True
    dataset: str | None = None
    fingerprint: str | None = None
    recipe: dict[str, Any] | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    weights_sha256: str = ""
    graph_sha256: str = ""
    raw_input: bool = False
    parity: ParityCertificate | None = None
    tuning: dict[str, Any] | None = None
    precision: Literal["fp32", "fp16", "int8"] = "fp32"
    split: SplitRecord | None = None
    pretraining: Pretraining | None = None
    synsets: tuple[str, ...] = ()
    numbered_from: int = 0
    independent: bool = False
    format: Literal[1] = 1

    def __post_init__(self) -> None:
        if not self.labels or len(set(self.labels)) != len(self.labels):
            raise ValueError("labels must be distinct, and at least one")
        if any(CONTROL.search(label) for label in self.labels):
            raise ValueError("labels must not have control characters")
        if any(len(label) > _LONGEST_LABEL for label in self.labels):
            raise ValueError(f"labels must not have more than {_LONGEST_LABEL:,} characters")

    @property
    def known_pretraining(self) -> Literal["none", "known", "unknown"]:
        """Whether the images that the starting weights were trained on are known; `none` without such weights."""
        if self.pretraining is None:
            return "none"
        return "known" if self.pretraining.known else "unknown"

    @property
    def split_settings(self) -> dict[str, object]:
        """How the images of its training were divided, as fields of a recipe; none where that is not known."""
        if not self.recipe:
            return {}
        from cnnkit.recipe import Recipe

        recipe = Recipe.recorded(self.recipe)
        return {name: getattr(recipe, name) for name in SPLIT_SETTINGS}

    def to_json(self) -> str:
        """Return the card as compact JSON."""
        return json.dumps(asdict(self), ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_metadata(cls, metadata: dict[str, str], source: str, *, verified: bool = False) -> Self | None:
        """Return the card found in a file's metadata, or None where there is none.

        Args:
            metadata: of the file.
            source: what to call the file in errors.
            verified: the file is one of ours by its hash, so that its card need not be validated.

        Raises:
            CheckpointError: there is a card, and it is not valid.
        """
        text = metadata.get(CARD_KEY)
        if text is None:
            return None
        if verified:
            return cls._rebuild(json.loads(text))
        # Importing pydantic and building a validator takes longer than opening a small network.
        from pydantic import TypeAdapter, ValidationError

        from cnnkit.recipe import Recipe

        try:
            card = TypeAdapter(cls).validate_json(text)
            Recipe.recorded(card.recipe or {})
            return card
        except UsageError as error:
            raise CheckpointError(f"the model card in {source} is not valid: {error}") from error
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "card"
            raise CheckpointError(
                f"the model card in {source} is not valid ({where}: {first['msg']}). Was the file changed by hand, "
                "or made by a newer cnnkit?"
            ) from error

    @classmethod
    def _rebuild(cls, fields: dict[str, Any]) -> Self:
        form, parity = fields["preprocessing"], fields["parity"]
        form = {name: tuple(value) if isinstance(value, list) else value for name, value in form.items()}
        if parity is not None:
            parity = ParityCertificate(**{**parity, "batch_sizes": tuple(parity["batch_sizes"])})
        split, pretraining = fields.get("split"), fields.get("pretraining")
        rebuilt = {
            "labels": tuple(fields["labels"]),
            "synsets": tuple(fields.get("synsets", ())),
            "preprocessing": Preprocessing(**form),
            "parity": parity,
            "split": None if split is None else SplitRecord(**{**split, "given": tuple(split["given"])}),
            "pretraining": None if pretraining is None else Pretraining(**pretraining),
        }
        return cls(**{**fields, **rebuilt})


def safetensors_metadata(data: bytes) -> dict[str, str]:
    """Return the texts that a safetensors file carries beside its tensors.

    Raises:
        ValueError: it is no such file.
    """
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    return dict(header.get("__metadata__", {}))

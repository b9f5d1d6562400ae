"""All that is known of a run in one place."""

from dataclasses import dataclass, field
from typing import Any, Literal

from cnnkit.certificate import ParityCertificate
from cnnkit.data.results import Pretraining, SplitRecord
from cnnkit.evaluation.results import Evaluation, Mistakes
from cnnkit.inspection.results import GraphSummary, ModelSummary
from cnnkit.robustness.results import Robustness
from cnnkit.runtime.results import Benchmark
from cnnkit.training.results import EpochRecord

SectionName = Literal[
    "training", "curves", "evaluation", "mistakes", "corruptions", "attacks", "parity", "benchmark", "layers", "usage"
]


SECTIONS: tuple[SectionName, ...] = (
    "training", "curves", "evaluation", "mistakes", "corruptions", "attacks", "parity", "benchmark", "layers", "usage",
)  # fmt: skip


@dataclass(frozen=True)
class LeftOut:
    """A section that is not there, and why, as a sentence without its full stop."""

    section: SectionName
    reason: str


@dataclass(frozen=True)
class Origin:
    """What a network is and where it comes from, as far as its file and its run folder say it.

    Attributes:
        network: model reference that rebuilds it.
        input_shape: channels, height, width.
        trained: False where the weights are random.
        recipe: the resolved fields of the `Recipe` that it was trained by; empty where that is not known.
        splits: images of the data set in `train`, `validation` and `test`; empty where it is not at hand.
        metrics: of the checkpoint, by name, from the end of its training.
        versions: of the software that made it.
        size_mb: of its file.
        saved: date of its file, as 2026-01-31; empty where a date says nothing, as for the zoo's.
        hardware: what it was trained on, as in `cpu, 8 threads`; empty where nothing says it.
        preparation: what was done to the images, as in `28×28 grey, cover`; empty where nothing says it.
        split: how the data set was divided; None where the card does not say it.
        pretraining: the weights that the training started from; None for random ones.
    """

    network: str
    labels: tuple[str, ...]
    input_shape: tuple[int, ...]
    trained: bool
    dataset: str | None
    fingerprint: str | None
    recipe: dict[str, Any]
    splits: dict[str, int]
    metrics: dict[str, float]
    versions: dict[str, str]
    weights_sha256: str
    size_mb: float
    saved: str
    hardware: str
    preparation: str = ""
    split: SplitRecord | None = None
    pretraining: Pretraining | None = None


@dataclass(frozen=True)
class Report:
    """All that is known of a run, or of a network without one.

    Attributes:
        model: the reference that it was named by.
        is_run: whether that is a run folder.
        made: date of the report, as 2026-01-31.
        parameters: of the network; None where they could not be counted.
        records: its epochs; none without a run folder.
        corruptions, attacks: two parts of what `attack` finds, each on its own.
        certificate: of its ONNX file.
        onnx_mb: size of that file.
        onnx_made: whether the file was made for this report, and is not kept.
        left_out: the sections that were not asked for, or were unavailable; their fields are None or empty.
        samples: PNG files of one image under each corruption at severities 1 to 5, by the corruption's name.
        examples: pairs of PNG files, the image and what `pgd` made of it at the largest radius, with two labels.
        versions: of the software that made the report.
        has_layers: whether it is a PyTorch network, and no ONNX file.
        named: whether a command can name it; a module of Python has no such name.
    """

    model: str
    is_run: bool
    made: str
    origin: Origin
    parameters: int | None
    records: tuple[EpochRecord, ...]
    evaluation: Evaluation | None
    mistakes: Mistakes | None
    corruptions: Robustness | None
    attacks: Robustness | None
    certificate: ParityCertificate | None
    onnx_mb: float | None
    onnx_made: bool
    benchmark: Benchmark | None
    layers: ModelSummary | GraphSummary | None
    left_out: tuple[LeftOut, ...]
    versions: dict[str, str]
    seconds: float
    samples: dict[str, tuple[bytes, ...]] = field(repr=False, compare=False)
    examples: tuple[tuple[str, bytes, str, bytes], ...] = field(repr=False, compare=False)
    has_layers: bool = True
    named: bool = True

    def reason(self, section: SectionName) -> str | None:
        """Say why a section is not there; None where it is."""
        return next((out.reason for out in self.left_out if out.section == section), None)

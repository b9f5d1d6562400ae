"""What was exported, and what its verification found."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cnnkit.certificate import ParityCertificate


@dataclass(frozen=True)
class ExportResult:
    """An exported file and its proof.

    Attributes:
        weights: whose they are.
        precision: what a reduced precision costs and brings; None in float32.
    """

    path: Path
    size_mb: float
    opset: int
    trained: bool
    weights: str
    input_type: str
    certificate: ParityCertificate
    precision: "PrecisionReport | None" = None


Precision = Literal["fp32", "fp16", "int8"]


@dataclass(frozen=True)
class Measured:
    """A file in one precision; the accuracy in float32 is that of PyTorch, which the file was proven to equal.

    Attributes:
        accuracy: on the validation images, which decide whether the file is accepted.
        test_accuracy: on the test split, for the report only; None where the data set has no test split.
    """

    size_mb: float
    accuracy: float
    latency_p50_ms: float
    test_accuracy: float | None = None


@dataclass(frozen=True)
class LayerError:
    """What quantisation adds to the output of a layer, as signal-to-noise ratios against float32: 6 dB are one bit.

    Attributes:
        name: of the layer in the PyTorch network.
        operator: in the ONNX graph.
        alone_snr_db: where the layer gets the values of the float32 network: its own error.
        together_snr_db: where all layers before it are quantised too.
    """

    name: str
    operator: str
    alone_snr_db: float
    together_snr_db: float


@dataclass(frozen=True)
class OutOfRange:
    """Something that float16 cannot hold.

    Attributes:
        layer: the layer in the PyTorch network that has the weights, or the node in the ONNX graph.
        operator: in the ONNX graph.
        what: the operator's weights, or the values that it gives for some image.
        largest: magnitude. Beyond 65504 numbers become infinite; below 7.6e-6, weights vanish or keep few digits.
    """

    layer: str
    operator: str
    what: Literal["weights", "values"]
    largest: float


@dataclass(frozen=True)
class PrecisionReport:
    """A file in reduced precision against the same network in float32.

    Attributes:
        data: name of the data set.
        trained_on: whether the network was trained on this data set.
        split: that `accuracy`, `top1_agreement` and the objections are of.
        images: number of images in that split.
        test_images: number of images that `test_accuracy` is of; 0 where the data set has no test split.
        calibration: what the ranges of the values were taken from; empty where nothing is calibrated.
        engine: what ran both files.
        batch: images in each timed call.
        top1_agreement: fraction of the images with the same top-1 class as in PyTorch.
        in_range: whether all logits are finite numbers, and nothing is in `out_of_range`.
        accuracy_budget_points: percentage points that the accuracy may fall.
        speed_up: how many times as fast as float32 it is, in one interleaved run.
        speed_up_interval: 95% confidence interval of that.
        layers: with weights, those with the largest errors of their own first; none for fp16.
        objections: why it should not take the place of the float32 file; none where it may.
        warnings: what a user should know of the images.
        out_of_range: for fp16, the weights of all operators and their values for `images` images that it cannot hold,
            in the order of the graph.
        kept_fp32: for fp16, the operators that stay in float32, as "LayerNormalization norm1".
        rounded_accuracy: for fp16, with each operator's output rounded to float16, as on a GPU; None for int8.
        rounded_agreement: fraction of the images with the same top-1 class as in PyTorch, rounded likewise.
    """

    precision: Literal["fp16", "int8"]
    data: str
    trained_on: bool
    split: Literal["validation"]
    images: int
    test_images: int
    calibration: str
    engine: str
    batch: int
    fp32: Measured
    reduced: Measured
    top1_agreement: float
    in_range: bool
    accuracy_budget_points: float
    speed_up: float
    speed_up_interval: tuple[float, float]
    layers: tuple[LayerError, ...]
    objections: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    out_of_range: tuple[OutOfRange, ...] = ()
    kept_fp32: tuple[str, ...] = ()
    rounded_accuracy: float | None = None
    rounded_agreement: float | None = None


Cause = Literal[
    "tf32",
    "provider",
    "optimisation",
    "preprocessing",
    "operator",
    "attribute",
    "weight",
    "precision",
    "graph",
    "exporter",
]
"""Why an ONNX file differs from its network.

`tf32`: the GPU rounds to TF32; `provider`: another provider than the CPU's; `optimisation`: onnxruntime's own;
`preprocessing`: other mean, deviation or order of channels; `operator`, `attribute`, `weight`: one that the network
does not have; `precision`: 16 or 8 bits; `graph`: operations that belong to no layer; `exporter`: none of these.
"""


@dataclass(frozen=True)
class BatchParity:
    """What the images of one batch size showed; `top1_agreement` is a fraction."""

    batch_size: int
    images: int
    max_absolute_difference: float
    mean_absolute_difference: float
    top1_agreement: float


@dataclass(frozen=True)
class LayerParity:
    """A layer of the PyTorch network and the value of the ONNX graph that should be its output.

    Attributes:
        layer: name in the network; `normalise` is the card's preprocessing, `logits` what comes out in the end.
        kind: class of the layer.
        value: name in the graph; empty where the layer has no counterpart, as one that was folded into another.
        max_absolute_difference: None without a counterpart of the same shape.
        largest: absolute value that the layer gives.
        agrees: the values differ by no more than float32 rounds; None without a counterpart.
    """

    layer: str
    kind: str
    value: str
    max_absolute_difference: float | None
    largest: float
    agrees: bool | None


@dataclass(frozen=True)
class Divergence:
    """The first layer that differs, with all that goes into it the same.

    Attributes:
        layer: its name in the PyTorch network.
        kind: its class.
        folded: names of the layers that the exporter folded into it.
        node: of the ONNX graph, as `Conv node_conv2d`.
        max_absolute_difference: of its values; None where it gives another shape, or gives nothing.
        cause: the likely one.
        explanation: what is known of it, a sentence or two with both sides.
        layers: all that were compared, in the order of the network.
    """

    layer: str
    kind: str
    folded: tuple[str, ...]
    node: str
    max_absolute_difference: float | None
    cause: Cause
    explanation: str
    layers: tuple[LayerParity, ...]

    def __str__(self) -> str:
        """Name layer and cause in two sentences."""
        kind = f" ({self.kind})" if self.kind else ""
        folded = f" with {', '.join(self.folded)} folded in" if self.folded else ""
        where = f"First layer that differs: {self.layer}{kind}{folded}."
        return f"{where} Likely cause, {self.cause}: {self.explanation}"


@dataclass(frozen=True)
class Verification:
    """What PyTorch and onnxruntime make of the same images.

    Attributes:
        file: path of the ONNX file, or the zoo entry.
        reference: the PyTorch network.
        engines: what the two ran on, PyTorch first.
        batches: by the size of the batch.
        certificate: over all images, or those before the file failed to run.
        run_error: what onnxruntime said when it failed; empty where it did not.
        divergence: where the two part, None where they do not.
        graph_changed: the graph is not the one that was exported; None where the file does not say which that was.
        stored: the certificate is in the file's card now.
        not_stored_because: empty where it is.
        warnings: what a user should know of the images.
    """

    file: str
    reference: str
    data: str
    split: str
    engines: tuple[str, str]
    batches: tuple[BatchParity, ...]
    certificate: ParityCertificate
    run_error: str
    divergence: Divergence | None
    graph_changed: bool | None
    stored: bool
    not_stored_because: str
    seconds: float
    warnings: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the file is the network, as its certificate judges it."""
        return self.certificate.passed


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

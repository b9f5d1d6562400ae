"""Whether an ONNX file is the network that it is said to be, and where the two part."""

from dataclasses import dataclass
from typing import Literal

from cnnkit.results.export import ParityCertificate

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

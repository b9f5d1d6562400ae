"""What a reduced precision costs and brings."""

from dataclasses import dataclass
from typing import Literal

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

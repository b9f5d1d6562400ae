"""`cnnkit.export`: a network in one proven ONNX file."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Unpack, get_args

from cnnkit.arguments import DataDir, Device, Shape, SkipDamaged, TrustCode
from cnnkit.data.options import Choice
from cnnkit.errors import OutputError, UsageError
from cnnkit.exporting.results import Precision
from cnnkit.files import expanded, require_writable
from cnnkit.options import Option
from cnnkit.runtime.foreign.options import DescribedModule
from cnnkit.sources import Ref, Source, find

if TYPE_CHECKING:
    from cnnkit.exporting.results import ExportResult


def export(
    ref: Ref,
    output: str | Path | None = None,
    *,
    raw_input: Annotated[bool, Option("Take normalised float32 NCHW instead of uint8 NHWC.")] = False,
    shape: Shape = None,
    data_dir: DataDir = None,
    trust_code: TrustCode = False,
    precision: Annotated[
        Precision,
        Option("Precision to write: {choices}; the last two are measured against the first.", metavar="NAME"),
    ] = "fp32",
    accuracy_budget: Annotated[
        float, Option("Percentage points of accuracy that fp16 or int8 may cost.", metavar="POINTS", ge=0, le=100)
    ] = 0.5,
    force: Annotated[bool, Option("Write fp16 or int8 even where it costs more or is not faster.")] = False,
    device: Device = "auto",
    data: Annotated[
        str | None,
        Option(
            "Data set or image folder to measure fp16 and int8 on. Default: what it was trained on.", suggest="data"
        ),
    ] = None,
    skip_damaged: SkipDamaged = False,
    **foreign: Unpack[DescribedModule],
) -> "ExportResult":
    """Write a network to one ONNX file, once PyTorch and onnxruntime agree on batches of 1, 2 and 7 images.

    A file in reduced precision is written only where it keeps its accuracy and is faster than the one in float32.

    Args:
        ref: a model reference, or an `nn.Module`; an architecture without a zoo entry gets random weights.
        output: None for `model.onnx` in the run folder, or `<name>.onnx` in the current one; the precision is added to
            the name, as in `model-int8.onnx`.
        raw_input: take normalised float32 [N, C, H, W] in place of uint8 [N, H, W, C].
        shape: channels, height and width for a network that does not say its input.
        data_dir: where to look for the images of the comparison first.
        trust_code: import the network that a checkpoint's card names as `module:factory`.
        precision: of the weights and of the values between layers; see `cnnkit.exporting.precision`.
        accuracy_budget: percentage points of accuracy on the validation images that a reduced precision may cost.
        force: write it even where it costs more or is not faster.
        device: that a reduced precision is measured on.
        data: data set or image folder to calibrate and measure on; None for the one that it was trained on.
        skip_damaged: leave out files of that folder that cannot be decoded.
        foreign: of an `nn.Module`: `labels` and `preprocessing`, or `card`, as for `load`.

    Raises:
        ParityError: they disagree; nothing is written.
        PrecisionError: the reduced precision costs too much, or is not faster; nothing is written.
        DataError: there are no images to measure a reduced precision on.
        OnnxError: PyTorch cannot export this network.
        OutputError: the file cannot be written.
        UsageError: an ONNX file, a shape that is given or lacking wrongly, or no such precision.

    >>> import cnnkit, tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     result = cnnkit.export("lenet", pathlib.Path(folder) / "lenet.onnx")
    >>> result.certificate.top1_agreement
    1.0
    """
    _check_precision(precision, accuracy_budget)
    source = find(ref, **foreign)
    chosen = Choice.of(data, None, data_dir, skip_damaged=skip_damaged).near(source.home)
    text = source.text
    if not source.has_layers:
        raise UsageError(f"{text} is an ONNX file already.")
    path = expanded(output) or _default_output(source, precision)
    if path.is_dir():
        raise OutputError(f"{path} is a folder; name the file to write, as in -o {path / 'model.onnx'}.")
    require_writable(path.parent)
    from cnnkit.exporting.onnx import load_to_export, prove, write
    from cnnkit.exporting.precision import reduce_precision, refuse
    from cnnkit.exporting.samples import load_samples

    network, card = load_to_export(source, shape, trust_code=trust_code)
    samples = None
    if precision != "fp32":
        samples = load_samples(text, card, precision, chosen)
    proven = prove(text, network, card, raw_input=raw_input, data_dir=chosen.data_dir)
    model, certificate, report = proven.model, proven.certificate, None
    if samples is not None and precision != "fp32":
        model, certificate, report = reduce_precision(
            model,
            precision,
            samples,
            reference=proven.reference,
            to_input=proven.to_input,
            name=text,
            device=device,
            accuracy_budget=accuracy_budget,
        )
        refuse(report, text, force=force)
    certificate = replace(certificate, weights_sha256=card.weights_sha256)
    card = replace(card, raw_input=raw_input, parity=certificate, precision=precision)
    return replace(write(model, card, path), precision=report)


def _check_precision(precision: str, accuracy_budget: float) -> None:
    """Refuse an unknown precision, and a budget that is no number of percentage points.

    Raises:
        UsageError: one of them is.
    """
    if precision not in get_args(Precision):
        raise UsageError(f"there is no precision {precision!r}; expected {', '.join(get_args(Precision))}.")
    if not 0 <= accuracy_budget <= 100:
        raise UsageError(f"--accuracy-budget {accuracy_budget:g}: expected percentage points from 0 to 100.")


def _default_output(source: Source, precision: Precision) -> Path:
    suffix = ".onnx" if precision == "fp32" else f"-{precision}.onnx"
    if source.path is not None:
        return source.path.with_name(("model" if source.path.stem == "best" else source.path.stem) + suffix)
    return Path(source.stem + suffix)

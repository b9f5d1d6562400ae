"""Reduced precision, measured: what fp16 and int8 cost in accuracy, and whether they are faster at all."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Literal

import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cnnkit.certificate import ParityCertificate
from cnnkit.data.loaded import Split
from cnnkit.errors import OnnxError, PrecisionError
from cnnkit.exporting import parity
from cnnkit.exporting.half import to_half
from cnnkit.exporting.quantisation import quantise
from cnnkit.exporting.results import LayerError, Measured, OutOfRange, PrecisionReport
from cnnkit.exporting.rounding import Rounded
from cnnkit.exporting.samples import Samples
from cnnkit.runtime.session import device_of, logits_of, open_session
from cnnkit.runtime.timing import race, speed_up
from cnnkit.words import counted, part_of, percent, points

_VALUES_AT_ONCE = 1 << 19
"""Pixels of images whose values between all layers are in memory at once."""


def reduce_precision(
    model: onnx.ModelProto,
    precision: Literal["fp16", "int8"],
    samples: Samples,
    *,
    reference: nn.Module,
    to_input: Callable[[Tensor], Tensor],
    name: str,
    device: str,
    accuracy_budget: float,
) -> tuple[onnx.ModelProto, ParityCertificate, PrecisionReport]:
    """Convert a proven float32 file, and measure what that costs and brings.

    The objections come from validation images alone. The accuracy on the test split is only reported.

    Args:
        model: in float32, as `cnnkit.exporting.onnx` makes it.
        precision: to convert to.
        samples: to calibrate and measure on.
        reference: the PyTorch network, from the file's input to logits, in evaluation mode on the CPU.
        to_input: from uint8 [N, H, W, C] to the file's input.
        name: what to call the network in errors.
        device: that both files are timed on, and the reduced one measured.
        accuracy_budget: percentage points of accuracy that may be lost.

    Returns:
        The converted model, its comparison with PyTorch over all validation images, and what was measured.

    Raises:
        OnnxError: onnxruntime's converters cannot do it.
        DeviceError: the device cannot be used here.
    """
    try:
        reduced, layers = _convert(model, precision, samples, to_input)
        onnx.checker.check_model(reduced, full_check=True)
        rounded = Rounded(model, reduced) if precision == "fp16" else None
    except Exception as error:  # the converters raise whatever a graph that they do not know leads to
        reason = " ".join(str(error).split())[:400] or type(error).__name__
        raise OnnxError(
            f"onnxruntime {ort.__version__} cannot convert {name} to {precision}: {reason}. "
            "Leave out --precision for a file in fp32."
        ) from error
    plain, content = (m.SerializeToString(deterministic=True) for m in (model, reduced))
    sessions = {"fp32": open_session(plain, name, device=device), precision: open_session(content, name, device=device)}

    validation = samples.validation
    expected, found, sizes = _logits(reference, sessions[precision], validation, to_input)
    accuracy, kept = _accuracies(validation, expected, found)

    def certified(logits: NDArray[np.float64], device: str) -> ParityCertificate:
        return replace(
            parity.compare(expected, logits).certificate(
                images=f"{counted(len(validation), 'validation image')} of {samples.data}",
                batch_sizes=sizes,
                device=device,
            ),
            torch_accuracy=accuracy,
            onnx_accuracy=_accuracies(validation, logits)[0],
            precision=precision,
            accuracy_budget_points=accuracy_budget,
        )

    certificate, as_rounded = certified(found, device_of(sessions[precision])), None
    out_of_range: tuple[OutOfRange, ...] = ()
    if rounded is not None:
        # A CPU may compute in float32 what overflows or vanishes on a GPU.
        batches = validation.batches(_at_once(validation.images))
        logits = np.concatenate([rounded.logits(to_input(images).numpy()) for images, _ in batches])
        as_rounded, out_of_range = certified(logits, "CPU"), rounded.out_of_range

    image = to_input(next(validation.batches(1))[0]).numpy()
    timings = race({key: partial(logits_of, session, image) for key, session in sessions.items()})
    ratio, low, high = speed_up(timings["fp32"], timings[precision])
    latencies = {key: 1e3 * float(np.median(timing.calls)) for key, timing in timings.items()}
    report = PrecisionReport(
        precision=precision,
        data=samples.data,
        trained_on=samples.trained_on,
        split="validation",
        images=len(validation),
        test_images=0,
        calibration=part_of(len(samples.calibration), samples.training_images, "training image")
        if samples.calibration is not None
        else "",
        engine=f"onnxruntime {device_of(sessions[precision])}",
        batch=1,
        fp32=Measured(len(plain) / 1e6, accuracy, latencies["fp32"]),
        reduced=Measured(len(content) / 1e6, kept, latencies[precision]),
        top1_agreement=certificate.top1_agreement,
        in_range=not out_of_range and bool(np.isfinite(found).all()),
        accuracy_budget_points=accuracy_budget,
        speed_up=ratio,
        speed_up_interval=(low, high),
        layers=layers,
        objections=(),
        warnings=samples.warnings,
        out_of_range=out_of_range,
        kept_fp32=rounded.kept if rounded is not None else (),
        rounded_accuracy=as_rounded.onnx_accuracy if as_rounded else None,
        rounded_agreement=as_rounded.top1_agreement if as_rounded else None,
    )
    report = replace(report, objections=objections_to(report, certificate, as_rounded))
    # After the decision, so that the test images have no part in it.
    if samples.test is not None:
        expected, found, _ = _logits(reference, sessions[precision], samples.test, to_input)
        accuracy, kept = _accuracies(samples.test, expected, found)
        report = replace(
            report,
            test_images=len(samples.test),
            fp32=replace(report.fp32, test_accuracy=accuracy),
            reduced=replace(report.reduced, test_accuracy=kept),
        )
    return reduced, certificate, report


def _convert(
    model: onnx.ModelProto,
    precision: Literal["fp16", "int8"],
    samples: Samples,
    to_input: Callable[[Tensor], Tensor],
) -> tuple[onnx.ModelProto, tuple[LayerError, ...]]:
    if precision == "fp16" or samples.calibration is None:
        return to_half(model), ()
    images, size = samples.calibration, _at_once(samples.calibration)
    return quantise(model, [to_input(images[start : start + size]).numpy() for start in range(0, len(images), size)])


def _at_once(images: Tensor) -> int:
    """Return how many of such images fit into memory with all the values between the layers."""
    return max(1, min(32, _VALUES_AT_ONCE // images[0].numel()))


def refuse(report: PrecisionReport, ref: str, *, force: bool) -> None:
    """Raise where a file in reduced precision should not take the place of the float32 file.

    Raises:
        PrecisionError: there are objections; `force` overrules all but scores that are no numbers.
    """
    if not report.objections or (force and report.in_range):
        return
    plain, reduced = report.fp32, report.reduced
    raise PrecisionError(
        f"{ref} in {report.precision}: accuracy {percent(reduced.accuracy, of=report.images)} against "
        f"{percent(plain.accuracy, of=report.images)} on {report.images:,} {report.split} images of {report.data}, "
        f"{reduced.latency_p50_ms:.3g} ms an image against {plain.latency_p50_ms:.3g} ms on {report.engine}. "
        f"{' '.join(f'{objection}.' for objection in report.objections)} No file was written"
        f"{'; --force writes it all the same.' if report.in_range else '.'}",
        result=report,
    )


def objections_to(
    report: PrecisionReport, certificate: ParityCertificate, as_rounded: ParityCertificate | None = None
) -> tuple[str, ...]:
    """Return why a reduced file should not be written, a sentence each without its full stop."""
    found = []
    if not report.in_range:
        first = next(iter(report.out_of_range), None)
        what, where = (first.what, f", first in layer {first.layer}") if first else ("values", "")
        found.append(f"Its {what} leave the range of {report.precision}{where}")
    elif not certificate.passed:
        found.append(_failing(report, certificate))
    elif as_rounded is not None and not as_rounded.passed:
        found.append(f"On a GPU, which rounds all values to float16: {_failing(report, as_rounded)}")
    low, high = report.speed_up_interval
    if not low > 1:
        found.append(f"It is not faster: {report.speed_up:.2f} times as fast (95%: {low:.2f}–{high:.2f})")
    return tuple(found)


def _failing(report: PrecisionReport, certificate: ParityCertificate) -> str:
    lost, budget = certificate.accuracy_loss_points or 0.0, report.accuracy_budget_points
    if lost > budget:
        return f"It costs {points(lost, of=report.images)} points of accuracy, and the budget is {budget:g}"
    agreed = percent(certificate.top1_agreement, of=report.images)
    return f"Only {agreed} of the images have the top-1 class that they have in float32"


def _logits(
    reference: nn.Module, session: ort.InferenceSession, split: Split, to_input: Callable[[Tensor], Tensor]
) -> tuple[NDArray[np.float64], NDArray[np.float64], list[int]]:
    """Return the logits [N, classes] of PyTorch and of the file for a whole split, and the sizes of the batches."""
    expected, found, sizes = [], [], []
    with torch.inference_mode():
        for rows in parity.whole_set(len(split)):
            batch = to_input(split.take(torch.tensor(rows)))
            expected.append(reference(batch).double().numpy())
            found.append(logits_of(session, batch.numpy()).astype(np.float64))
            sizes.append(len(batch))
    # Of the whole batches in a row, one says it.
    return np.concatenate(expected), np.concatenate(found), list(dict.fromkeys(sizes))


def _accuracies(split: Split, *logits: NDArray[np.float64]) -> tuple[float, ...]:
    targets = split.targets.numpy()
    return tuple(float((found.argmax(1) == targets).mean()) for found in logits)

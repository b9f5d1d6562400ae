"""Trying the options of a provider: the fastest that still gives the same logits, in one interleaved run."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cnnkit.card import ModelCard
from cnnkit.certificate import TOLERANCE
from cnnkit.errors import OnnxError, UsageError
from cnnkit.runtime.hardware import find_driver, usable_cores
from cnnkit.runtime.libraries import PROVIDER_NAMES
from cnnkit.runtime.providers import ProviderOptions, hardware_key, parse_device
from cnnkit.runtime.results import TriedOptions, TuningResult
from cnnkit.runtime.session import Session, logits_of, open_session
from cnnkit.runtime.timing import Timing, check_seconds, race, speed_up

SECONDS = 1.0
ROUNDS = 20
_DEFAULT = ProviderOptions()


@dataclass(frozen=True)
class _Contender:
    options: ProviderOptions
    session: Session


def candidates(kind: str) -> list[ProviderOptions]:
    """Return the option sets that are tried on a kind of device, without the default."""
    if kind == "cpu":
        cores = usable_cores()
        found = [ProviderOptions(threads=n) for n in sorted({1, max(1, cores // 2), cores})]
        found += [ProviderOptions(threads=n, spinning=False) for n in sorted({max(2, cores // 2), cores}) if cores > 1]
        return [*found, ProviderOptions(arena=False), ProviderOptions(optimisation="extended")]
    graph = [ProviderOptions(graph=True)]
    if kind == "tensorrt":
        return graph
    searched = [
        ProviderOptions(search="EXHAUSTIVE", nhwc=nhwc, graph=g) for nhwc in (False, True) for g in (False, True)
    ]
    others = [ProviderOptions(nhwc=True), ProviderOptions(workspace=False)]
    with_tf32 = [ProviderOptions(tf32=True), ProviderOptions(tf32=True, search="EXHAUSTIVE", nhwc=True, graph=True)]
    return [*graph, *searched, *others, *with_tf32]


def race_options(
    model: Path | bytes,
    name: str,
    *,
    device: str = "auto",
    batch: int = 32,
    seconds: float = SECONDS,
    rounds: int = ROUNDS,
) -> tuple[TuningResult, ModelCard]:
    """Race the option sets of a device against the default, and return what was found with the card of the file.

    Only sets take part whose logits are those of the CPU provider with its default options, on batches of 1, 2 and
    `batch` random images. The best one must then win again, alone against the default: of many that are as fast as
    each other, one always looks faster.

    Args:
        model: an ONNX file with a model card, or its content.
        name: what to call it in errors.
        device: as in `open_session`.
        batch: images in each run.
        seconds: spent on each option set, after its warm-up.
        rounds: into how many turns they are cut.

    Raises:
        OnnxError: it has no model card, or the device gives other logits with its default options.
        UsageError: the batch or the time is not positive, or the file fixes another batch.
        DeviceError: the device cannot be used here.
    """
    if batch < 1:
        raise UsageError(f"the batch must be at least 1, got {batch}.")
    check_seconds(seconds)
    default = open_session(model, name, device=device, options=_DEFAULT)
    card = ModelCard.from_metadata(default.get_modelmeta().custom_metadata_map, name)
    if card is None:
        raise OnnxError(f"{name} has no model card that could hold the result; only files of cnnkit export have one.")
    kind = next(kind for kind, shown in PROVIDER_NAMES.items() if shown == default.placement.device)
    key = hardware_key(kind, parse_device(device)[1], None if kind == "cpu" else find_driver())
    inputs = _inputs(card, default, batch, name)
    tolerance = card.parity.tolerance if card.parity else TOLERANCE
    reference = default if kind == "cpu" else open_session(model, name, device="cpu", options=_DEFAULT)
    expected = [logits_of(reference, images) for images in inputs]
    if refusal := _refusal(default, inputs, expected, tolerance):
        raise OnnxError(f"{name} on {default.placement.device} with its default options: {refusal}.")
    running, rows = {str(_DEFAULT): _Contender(_DEFAULT, default)}, {}
    for options in candidates(kind):
        # `auto` must not fall back where one set of options does not run: the device is settled now.
        where = device if parse_device(device)[0] != "auto" else kind
        try:
            session = open_session(model, name, device=where, options=options)
            refusal = _refusal(session, inputs, expected, tolerance)
        except Exception as error:  # onnxruntime raises its own types
            rows[str(options)] = TriedOptions(str(options), "failed", reason=" ".join(str(error).split())[:200])
            continue
        if refusal:
            rows[str(options)] = TriedOptions(str(options), "refused", reason=refusal)
        else:
            running[str(options)] = _Contender(options, session)
    largest = inputs[-1]
    timings = _race(running, largest, seconds, rounds, seed=0)
    slow = timings[str(_DEFAULT)]
    rows |= {name: _row(name, slow, timing) for name, timing in timings.items()}
    best = max(rows.values(), key=lambda row: row.speed_up[0] if row.verdict == "faster" and row.speed_up else 0.0)
    winner, gained = None, None
    if best.verdict == "faster":
        finalists = {name: running[name] for name in (str(_DEFAULT), best.name)}
        again = _race(finalists, largest, 2 * seconds, rounds, seed=1)
        confirmed = speed_up(again[str(_DEFAULT)], again[best.name])
        if confirmed[1] > 1:
            winner, gained = running[best.name], confirmed
    order = [str(_DEFAULT), *map(str, candidates(kind))]
    result = TuningResult(
        model=name,
        device=default.placement.device,
        hardware=key,
        batch=batch,
        tolerance=tolerance,
        tried=tuple(rows[name] for name in order),
        winner=str(winner.options) if winner else None,
        options=winner.options.changes() if winner else {},
        speed_up=gained,
    )
    return result, card


def _inputs(card: ModelCard, session: Session, batch: int, name: str) -> list[NDArray[np.generic]]:
    """Draw random images for batches of 1, 2 and `batch`, in the form that the file takes."""
    fixed = session.get_inputs()[0].shape[0]
    if isinstance(fixed, int) and fixed != batch:
        raise UsageError(f"{name} takes batches of {fixed} and no others; got {batch}.")
    form = card.preprocessing
    sizes = [batch] if isinstance(fixed, int) else sorted({1, 2, batch} - ({2} if batch == 1 else set()))
    source = np.random.default_rng(0)
    if card.raw_input:
        shape = form.input_shape
        return [source.standard_normal((size, *shape)).astype(np.float32) for size in sizes]
    return [source.integers(0, 256, (size, *form.shape), np.uint8) for size in sizes]


def _refusal(
    session: Session, inputs: list[NDArray[np.generic]], expected: list[NDArray[np.float32]], tolerance: float
) -> str:
    """Return how the logits differ from what is tolerated; nothing where they do not."""
    for images, wanted in zip(inputs, expected, strict=True):
        found = logits_of(session, images)
        allowed = tolerance * np.maximum(1.0, np.abs(wanted).max(1, keepdims=True) / 10)
        # A NaN is within no tolerance.
        if not (np.abs(found - wanted) <= allowed).all():
            return f"logits differ by {np.abs(found - wanted).max():.2g} in a batch of {len(images)}"
    return ""


def _race(
    candidates: dict[str, _Contender], images: NDArray[np.generic], seconds: float, rounds: int, *, seed: int
) -> dict[str, Timing]:
    calls = {name: partial(logits_of, candidate.session, images) for name, candidate in candidates.items()}
    return race(calls, seconds=seconds, rounds=rounds, seed=seed)


def _row(name: str, slow: Timing, timing: Timing) -> TriedOptions:
    mean_ms = 1e3 * float(timing.rounds.mean())
    if timing is slow:
        return TriedOptions(name, "default", mean_ms)
    ratio = speed_up(slow, timing)
    if ratio[0] > 1:
        return TriedOptions(name, "faster" if ratio[1] > 1 else "no difference", mean_ms, ratio)
    return TriedOptions(name, "slower" if ratio[2] < 1 else "no difference", mean_ms, ratio)

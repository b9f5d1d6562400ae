"""How fast networks run: every candidate at a batch size is opened, run once, and then timed against the others."""

import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np
import onnxruntime as ort

from cnnkit.errors import CnnkitError, OnnxError, OutOfMemoryError, UsageError
from cnnkit.operation import relayed
from cnnkit.runtime.candidates import Calls, Candidate, Target
from cnnkit.runtime.hardware import processor_name
from cnnkit.runtime.memory import MemoryGrowth
from cnnkit.runtime.results import Benchmark, BenchmarkFailure, BenchmarkStep, Measurement
from cnnkit.runtime.timing import Timing, race_steps, speed_up

BATCHES = (1, 8, 32, 256)
MAX_BATCH = 65_536
_WHOLE = "whole"


@dataclass(frozen=True)
class _Opened:
    candidate: Candidate
    calls: Calls
    first_run_ms: float
    peak_memory_mb: float | None


def choose_batches(wanted: Sequence[int] | None, targets: Sequence[Target]) -> tuple[int, ...]:
    """Return the batch sizes to measure, ascending: those asked for, the one that a file fixes, or the usual ones.

    Raises:
        UsageError: one is no size of a batch, or a file takes no batch but its own.
    """
    fixed = {target.name: target.batch for target in targets if target.batch is not None}
    if wanted is None:
        wanted = tuple(fixed.values()) or BATCHES
    for batch in wanted:
        if not 1 <= batch <= MAX_BATCH:
            raise UsageError(f"--batch {batch}: expected from 1 to {MAX_BATCH} images.")
        for name, own in fixed.items():
            if batch != own:
                raise UsageError(f"{name} takes batches of {own} only; got {batch}. Say --batch {own}, or export anew.")
    return tuple(sorted(set(wanted)))


def benchmark_steps(
    targets: Sequence[Target],
    candidates: Sequence[Candidate],
    *,
    batches: Sequence[int],
    seconds: float,
    versions: dict[str, str],
    notes: Sequence[str] = (),
) -> Generator[BenchmarkStep, None, Benchmark]:
    """Measure candidates at each batch size; yield what is measured now.

    Args:
        targets: the files behind the candidates.
        candidates: the first is what the others of a batch size are compared with.
        batches: sizes, ascending.
        seconds: to spend on each candidate at each size, after its warm-up.
        versions: of further engines.
        notes: to be repeated in the result.

    Raises:
        CnnkitError: nothing could be measured.
    """
    measured: list[Measurement] = []
    errors: list[CnnkitError] = []
    left_out = list(notes)
    for done, batch in enumerate(batches):
        opened = []
        for candidate in candidates:
            yield BenchmarkStep(f"batch {batch}, first run of {candidate.engine}", done, len(batches))
            try:
                opened.append(_open(candidate, batch))
            except CnnkitError as error:
                if candidate.optional:
                    left_out.append(str(error).rstrip("."))
                else:
                    errors.append(error)
        if opened:
            measured += yield from _measure(opened, batch, seconds, done, len(batches))
    if not measured:
        raise errors[0]
    return Benchmark(
        models=tuple(target.described for target in targets),
        measurements=tuple(measured),
        failures=tuple(BenchmarkFailure(error.code, str(error)) for error in errors),
        notes=tuple(left_out),
        processor=processor_name(),
        versions={"onnxruntime": ort.__version__, **versions},
    )


def _open(candidate: Candidate, batch: int) -> _Opened:
    """Make a candidate ready and run it once.

    Raises:
        CnnkitError: it cannot run, or not with so many images.
    """
    try:
        with MemoryGrowth(candidate.gpu) as memory:
            calls = candidate.open(batch)
            started = time.perf_counter()
            (calls.first or calls.whole)()
            seconds = time.perf_counter() - started
    except CnnkitError:
        raise
    except Exception as error:  # onnxruntime and PyTorch raise types of their own
        reason = " ".join(str(error).split())[:300]
        full = isinstance(error, MemoryError) or any(sign in reason.lower() for sign in ("out of memory", "allocate"))
        kind = OutOfMemoryError if full else OnnxError if candidate.engine == "onnxruntime" else CnnkitError
        where = f"{candidate.model}, {candidate.engine} {candidate.device}"
        hint = "" if batch == 1 or full else " Its layers may be made for one image at a time: try --batch 1."
        raise kind(f"{where} cannot run a batch of {batch}: {reason}.{hint}") from error
    return _Opened(candidate, calls, seconds * 1e3, memory.peak_mb)


def _measure(
    opened: Sequence[_Opened], batch: int, seconds: float, done: int, total: int
) -> Generator[BenchmarkStep, None, list[Measurement]]:
    """Let the candidates of a batch size take turns; on a GPU, their parts too."""
    functions = {}
    for index, one in enumerate(opened):
        for part, call in {_WHOLE: one.calls.whole, **one.calls.parts}.items():
            functions[f"{index} {part}"] = call
    race = race_steps(functions, seconds=seconds)
    timings = yield from relayed(race, lambda share: BenchmarkStep(f"batch {batch}", done + share, total))
    baseline = timings[f"0 {_WHOLE}"]
    return [
        _measurement(
            one,
            batch,
            {part: timings[f"{index} {part}"] for part in (_WHOLE, *one.calls.parts)},
            baseline if index else None,
        )
        for index, one in enumerate(opened)
    ]


def _measurement(one: _Opened, batch: int, timings: dict[str, Timing], baseline: Timing | None) -> Measurement:
    whole = timings[_WHOLE]
    p50, p95, p99 = (float(value) * 1e3 for value in np.percentile(whole.calls, [50, 95, 99]))
    mean = float(whole.rounds.mean())
    low, high = whole.mean_interval
    parts = {part: float(timings[part].rounds.mean()) * 1e3 for part in one.calls.parts}
    ratio, ratio_low, ratio_high = (None, None, None) if baseline is None else speed_up(baseline, whole)
    return Measurement(
        model=one.candidate.model,
        engine=one.candidate.engine,
        device=one.candidate.device,
        threads=one.candidate.threads,
        batch=batch,
        calls=len(whole.calls),
        latency_p50_ms=p50,
        latency_p95_ms=p95,
        latency_p99_ms=p99,
        latency_mean_ms=mean * 1e3,
        latency_mean_low_ms=low * 1e3,
        latency_mean_high_ms=high * 1e3,
        images_per_second=batch / mean,
        first_run_ms=one.first_run_ms,
        peak_memory_mb=one.peak_memory_mb,
        copy_in_ms=parts.get("copy_in"),
        compute_ms=parts.get("compute"),
        copy_out_ms=parts.get("copy_out"),
        speed_up=ratio,
        speed_up_low=ratio_low,
        speed_up_high=ratio_high,
    )

"""What the runtime measures and finds; units are in the names."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True)
class NodeTime:
    """A node as onnxruntime ran it, after its own optimisation.

    Attributes:
        name: onnxruntime's own.
        kind: operator.
        provider: which part of onnxruntime ran it, without `ExecutionProvider`.
        time_ms: mean of the measured runs.
        share: of the time of all nodes.
        file_nodes: the nodes of the file that it was made from, as far as names tell.
    """

    name: str
    kind: str
    provider: str
    time_ms: float
    share: float
    file_nodes: tuple[str, ...]


@dataclass(frozen=True)
class GraphProfile:
    """Where the time of a batch goes: mean of `runs` runs; `run_ms` also has what lies between the nodes."""

    runs: int
    run_ms: float
    nodes: tuple[NodeTime, ...]


@dataclass(frozen=True)
class BenchmarkStep:
    """What is measured now, and how many of the batch sizes are done, in fractions of one."""

    what: str
    done: float
    total: int


@dataclass(frozen=True)
class BenchmarkedModel:
    """A network and what it takes, as in `uint8 [N, 28, 28, 1]`; `assumptions` also warns of a device."""

    name: str
    input_type: str
    assumptions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Measurement:
    """One candidate at one batch size; all times are of a whole batch.

    Attributes:
        model: the reference that it was named by.
        engine: `onnxruntime`, `PyTorch eager` or `PyTorch compiled`.
        device: `CPU`, `CUDA` …, what it really ran on.
        threads: inside an operator; None on a GPU.
        batch: images.
        calls: that were timed, after the warm-up.
        latency_p50_ms, latency_p95_ms, latency_p99_ms: percentiles over the calls.
        latency_mean_ms: over the calls, from memory of the host to memory of the host.
        latency_mean_low_ms, latency_mean_high_ms: the 95% confidence interval of the mean, over rounds of calls.
        images_per_second: by the mean.
        first_run_ms: the first call of all, with what is allocated, chosen or compiled in it.
        peak_memory_mb: what opening the network and its first run added at most: resident memory of this process on
            the CPU, used memory of the GPU on a GPU; None where it cannot be known.
        copy_in_ms, compute_ms, copy_out_ms: means of the parts on a GPU, each measured by itself.
        speed_up: how many times as fast as the first candidate of this batch size; None for that one.
        speed_up_low, speed_up_high: its 95% confidence interval.
    """

    model: str
    engine: str
    device: str
    threads: int | None
    batch: int
    calls: int
    latency_p50_ms: float
    latency_p95_ms: float
    latency_p99_ms: float
    latency_mean_ms: float
    latency_mean_low_ms: float
    latency_mean_high_ms: float
    images_per_second: float
    first_run_ms: float
    peak_memory_mb: float | None
    copy_in_ms: float | None
    compute_ms: float | None
    copy_out_ms: float | None
    speed_up: float | None
    speed_up_low: float | None
    speed_up_high: float | None

    @property
    def verdict(self) -> Literal["faster", "slower", "no difference"] | None:
        """How it compares with the first candidate of its batch size; inside the noise is no difference."""
        if self.speed_up_low is None or self.speed_up_high is None:
            return None
        return "faster" if self.speed_up_low > 1 else "slower" if self.speed_up_high < 1 else "no difference"


@dataclass(frozen=True)
class BenchmarkFailure:
    """A candidate that could not be measured at a batch size: the code of its error, and the message."""

    code: str
    message: str


@dataclass(frozen=True)
class Benchmark:
    """All candidates at all batch sizes, those of a batch size timed in turn.

    Attributes:
        models: in the order in which they were named.
        measurements: batch by batch, each in the order of the candidates.
        failures: of candidates that should have run.
        notes: what was left out, or done instead, as sentences without their full stop.
        processor: its name.
        versions: of the engines.
    """

    models: tuple[BenchmarkedModel, ...]
    measurements: tuple[Measurement, ...]
    failures: tuple[BenchmarkFailure, ...]
    notes: tuple[str, ...]
    processor: str
    versions: dict[str, str]


Verdict = Literal["ok", "note", "problem"]


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        what: it was.
        found: what is there.
        verdict: `note` where something is lacking that not every machine needs, `problem` where a command would fail.
        advice: what to do about it; empty where nothing is to be done.
        command: that does it; cnnkit itself never runs it.
    """

    what: str
    found: str
    verdict: Verdict = "ok"
    advice: str = ""
    command: str = ""

    def __str__(self) -> str:
        return " ".join(part for part in (f"{self.what}: {self.found}.", self.advice, self.command) if part)


@dataclass(frozen=True)
class Installation:
    """All that was looked at, in order."""

    checks: tuple[Check, ...]

    @property
    def problems(self) -> tuple[Check, ...]:
        """What would make a command fail."""
        return tuple(check for check in self.checks if check.verdict == "problem")


@dataclass(frozen=True)
class TriedOptions:
    """One set of options, against the default ones in the same run.

    Attributes:
        name: what differs from the default.
        verdict: `faster`, `slower` or `no difference`; `refused` where the logits differ too much, `failed` where the
            provider does not run it.
        mean_ms: of a batch; None where it was not timed.
        speed_up: how many times as fast as the default, with the two ends of its 95% interval.
        reason: why it was refused or failed.
    """

    name: str
    verdict: Literal["default", "faster", "slower", "no difference", "refused", "failed"]
    mean_ms: float | None = None
    speed_up: tuple[float, float, float] | None = None
    reason: str = ""


@dataclass(frozen=True)
class TuningResult:
    """The options that were tried on a device, and the winner.

    Attributes:
        model: that was run.
        device: CPU, CUDA or TensorRT.
        hardware: processor or GPU by name; the winner is used on no other.
        batch: images in each run.
        tolerance: of the logits, against the CPU provider with its default options.
        tried: the default options first.
        winner: the name of the best set; None where none is faster beyond the noise.
        options: of the winner, as they are stored.
        speed_up: of the winner in a second run against the default alone, with the ends of its 95% interval.
        stored_in: the file whose card holds the winner now.
        removed: whether the card held options for this hardware, which are taken out, for there is no winner.
    """

    model: str
    device: str
    hardware: str
    batch: int
    tolerance: float
    tried: tuple[TriedOptions, ...]
    winner: str | None
    options: dict[str, Any]
    speed_up: tuple[float, float, float] | None
    stored_in: Path | None = None
    removed: bool = False

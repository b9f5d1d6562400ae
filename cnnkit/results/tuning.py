"""What trying the options of a provider found."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal


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

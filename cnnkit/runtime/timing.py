"""Timing calls against each other: warmed up until stable, in turn, so that a noisy machine is noisy for all."""

import math
import random
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from statistics import NormalDist, median

import numpy as np
from numpy.typing import NDArray

from cnnkit.errors import UsageError
from cnnkit.operation import result_of

_SETTLE_SECONDS = 0.05
"""The threads of onnxruntime and of OpenMP go on spinning about so long for work that no longer comes, and take the
processor from the one that has the next turn."""
_LONG_SECONDS = 1.0
_MIN_ROUNDS = 5
_STABLE = 0.05
_WINDOW = 5
_WARM_UP_SECONDS = 2.0
_Z95 = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True)
class Timing:
    """What one candidate took.

    Attributes:
        first_seconds: the first call of all, with whatever is allocated or chosen in it.
        calls: seconds of each call after the warm-up [calls].
        rounds: mean seconds of a call in each round [rounds]; round i of all candidates was measured side by side.
    """

    first_seconds: float
    calls: NDArray[np.float64]
    rounds: NDArray[np.float64]

    @property
    def mean_interval(self) -> tuple[float, float]:
        """The 95% confidence interval of the mean, over rounds: calls that follow each other are not independent."""
        mean, half = float(self.rounds.mean()), _half_width(self.rounds)
        return mean - half, mean + half


def check_seconds(seconds: float) -> None:
    """Refuse what is no time.

    Raises:
        UsageError: not a positive finite number.
    """
    if not (math.isfinite(seconds) and seconds > 0):
        raise UsageError(f"--seconds {seconds:g}: expected a positive number.")


def race(
    candidates: Mapping[str, Callable[[], object]], *, seconds: float = 1.0, rounds: int = 20, seed: int = 0
) -> dict[str, Timing]:
    """Time candidates in turn, in an order drawn anew each round.

    Args:
        candidates: what to call, by name; each call must be finished when it returns.
        seconds: to spend on each, after its warm-up.
        rounds: into how many turns they are cut; fewer, but at least 5, where a turn would be shorter than a call.
        seed: of the orders.
    """
    return result_of(race_steps(candidates, seconds=seconds, rounds=rounds, seed=seed))


def race_steps(
    candidates: Mapping[str, Callable[[], object]], *, seconds: float = 1.0, rounds: int = 20, seed: int = 0
) -> Generator[float, None, dict[str, Timing]]:
    """Do what `race` does, and yield after each round which fraction of them is done."""
    first: dict[str, float] = {}
    usual: dict[str, float] = {}
    for name, call in candidates.items():
        first[name], usual[name] = _warm_up(call)
    turn = max(_SETTLE_SECONDS, *usual.values())
    rounds = max(_MIN_ROUNDS, min(rounds, round(seconds / turn)))
    size = {name: max(1, round(seconds / rounds / usual[name])) for name in candidates}
    calls: dict[str, list[float]] = {name: [] for name in candidates}
    means: dict[str, list[float]] = {name: [] for name in candidates}
    order = random.Random(seed)  # noqa: S311
    for done in range(rounds):
        for name in order.sample(list(candidates), len(candidates)):
            _settle(candidates[name], usual[name])
            block = [_time(candidates[name]) for _ in range(size[name])]
            calls[name] += block
            means[name].append(sum(block) / len(block))
        yield (done + 1) / rounds
    return {name: Timing(first[name], np.array(calls[name]), np.array(means[name])) for name in candidates}


def speed_up(slow: Timing, fast: Timing) -> tuple[float, float, float]:
    """Return how many times as fast `fast` is as `slow`, of the same race: geometric mean over rounds, 95% interval.

    Where the interval holds 1, there is no difference to speak of.
    """
    logs = np.log(slow.rounds / fast.rounds)
    middle, half = float(logs.mean()), _half_width(logs)
    return math.exp(middle), math.exp(middle - half), math.exp(middle + half)


def _half_width(values: NDArray[np.float64]) -> float:
    return _student95(len(values) - 1) * float(values.std(ddof=1)) / math.sqrt(len(values))


def _student95(degrees: int) -> float:
    """Return the 97.5% quantile of Student's t: Abramowitz and Stegun 26.7.5, within 0.3% from 4 degrees on."""
    z, n = _Z95, degrees
    return (
        z
        + (z**3 + z) / (4 * n)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * n**3)
    )


def _settle(call: Callable[[], object], usual: float) -> None:
    """Let go by what the one before left: threads that spin, and its own data in the caches."""
    if usual > _LONG_SECONDS:
        time.sleep(_SETTLE_SECONDS)
        return
    end = time.perf_counter() + _SETTLE_SECONDS
    while time.perf_counter() < end:
        call()


def _warm_up(call: Callable[[], object]) -> tuple[float, float]:
    """Call until the times of two windows agree; return the first and the usual time in seconds."""
    first = _time(call)
    times: list[float] = []
    end = time.perf_counter() + _WARM_UP_SECONDS
    while True:
        times.append(_time(call))
        before, last = times[-2 * _WINDOW : -_WINDOW], times[-_WINDOW:]
        usual = median(last)
        if len(before) == _WINDOW and abs(median(before) - usual) <= _STABLE * usual:
            return first, usual
        if time.perf_counter() >= end:
            return first, usual


def _time(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started

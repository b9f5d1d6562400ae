"""Timing in turn: what is slower is found to be, and what is not is not."""

import time

import numpy as np
import pytest

from cnnkit.operation import result_of
from cnnkit.runtime import timing
from cnnkit.runtime.timing import Timing, race, race_steps, speed_up


def made(rounds):
    return Timing(0.1, np.array(rounds), np.array(rounds))


def test_what_takes_three_times_as_long_is_three_times_as_slow(clock):
    found = race({"short": lambda: clock.sleep(0.004), "long": lambda: clock.sleep(0.012)}, seconds=0.15)
    assert speed_up(found["long"], found["short"]) == pytest.approx((3, 3, 3), rel=0.01)


def test_a_call_takes_no_less_than_it_sleeps():
    found = race({"short": lambda: time.sleep(0.004), "long": lambda: time.sleep(0.012)}, seconds=0.1)
    assert found["short"].calls.min() >= 0.004
    assert found["long"].calls.min() >= 0.012
    assert found["long"].first_seconds >= 0.012


def test_every_contender_has_its_rounds_and_calls(clock):
    found = race({"a": lambda: clock.sleep(0.002), "b": lambda: None}, seconds=0.3, rounds=6)
    assert {len(timing.rounds) for timing in found.values()} == {6}
    assert len(found["a"].calls) == pytest.approx(0.3 / 0.002, rel=0.02)
    assert len(found["b"].calls) == pytest.approx(0.3 / 1e-5, rel=0.02)


def test_there_are_fewer_rounds_of_slow_calls_but_at_least_five(clock):
    found = race({"slow": lambda: clock.sleep(0.06), "fast": lambda: None}, seconds=0.05)
    assert len(found["slow"].rounds) == len(found["slow"].calls) == 5


def test_the_first_call_is_none_of_those_that_count(clock):
    calls = []

    def first_is_slow():
        calls.append(None)
        clock.sleep(0.05 if len(calls) == 1 else 0.001)

    found = race({"a": first_is_slow}, seconds=0.05)["a"]
    assert found.first_seconds >= 0.05
    assert found.calls.max() < 0.05


def test_the_one_before_is_given_time_to_let_go():
    """What a candidate runs in turn is measured only after it has run for a while itself."""
    turns, switched = [], []

    def candidate(name):
        def call():
            if not turns or turns[-1] != name:
                switched.append(time.perf_counter())
            turns.append(name)
            time.sleep(0.001)

        return call

    started = time.perf_counter()
    found = race({"a": candidate("a"), "b": candidate("b")}, seconds=0.05, rounds=5)
    measured = sum(timing.calls.sum() for timing in found.values())
    assert time.perf_counter() - started > measured + 2 * 5 * timing._SETTLE_SECONDS


def test_progress_ends_at_one():
    steps = list(race_steps({"a": lambda: None}, seconds=0.02))
    assert steps == sorted(steps)
    assert steps[-1] == 1
    assert result_of(race_steps({"a": lambda: None}, seconds=0.02)).keys() == {"a"}


def test_a_difference_inside_the_noise_has_an_interval_around_one():
    _, low, high = speed_up(made([1.0, 1.2, 0.9, 1.1, 1.0]), made([1.1, 1.0, 1.0, 1.1, 0.95]))
    assert low < 1 < high


def test_noise_that_all_share_does_not_hide_a_difference():
    load = np.array([1.0, 5.0, 2.0, 1.5, 8.0])
    middle, low, high = speed_up(made(1.1 * load), made(load))
    assert (middle, low, high) == pytest.approx((1.1, 1.1, 1.1))


def test_the_interval_of_the_mean_is_that_of_students_t():
    low, high = made([1.0, 2.0, 3.0, 4.0, 5.0]).mean_interval
    assert (low, high) == pytest.approx((3 - 2.776 * 0.7071, 3 + 2.776 * 0.7071), rel=1e-2)


@pytest.mark.parametrize(("degrees", "quantile"), [(4, 2.7764), (9, 2.2622), (19, 2.0930), (100, 1.9840)])
def test_quantiles_are_those_of_the_tables(degrees, quantile):
    times = np.arange(degrees + 1.0)
    low, high = made(times).mean_interval
    half = quantile * times.std(ddof=1) / np.sqrt(len(times))
    assert (high - low) / 2 == pytest.approx(half, rel=3e-3)

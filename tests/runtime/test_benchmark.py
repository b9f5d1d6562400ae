"""A benchmark of ONNX files: figures that agree with each other, and failures that take nothing else with them."""

import dataclasses

import pytest

from cnnkit.errors import CnnkitError, OnnxError, OutOfMemoryError, UsageError
from cnnkit.operation import result_of
from cnnkit.runtime.benchmark import BATCHES, MAX_BATCH, benchmark_steps, choose_batches
from cnnkit.runtime.candidates import Calls, Candidate, examine, onnx_candidates
from cnnkit.runtime.results import BenchmarkStep
from cnnkit.runtime.timing import check_seconds
from tests.expecting import expect_error


def candidate(name, call, **options):
    """A candidate that does `call(batch)`."""
    settings = {"model": "net.onnx", "engine": name, "device": "CPU", "threads": 1, "gpu": None, **options}
    return Candidate(**settings, open=lambda batch: Calls(lambda: call(batch)))


@pytest.fixture
def sleeping(clock):
    """A call that takes so many milliseconds: `sleeping(6)`."""
    return lambda milliseconds: lambda batch: clock.sleep(milliseconds / 1e3)


@pytest.fixture
def target(make_onnx):
    return examine("net.onnx", make_onnx(), ["cpu"])


@pytest.fixture
def measure(target):
    def run(candidates, batches=(1,), seconds=0.05):
        return result_of(
            benchmark_steps([target], candidates, batches=batches, seconds=seconds, versions={"sleep": "1"})
        )

    return run


def test_a_real_session_is_measured(target, measure):
    found = measure(onnx_candidates(target, [1]), batches=(1, 16))
    assert [row.batch for row in found.measurements] == [1, 16]
    for row in found.measurements:
        assert 0 < row.latency_p50_ms <= row.latency_p95_ms <= row.latency_p99_ms
        assert row.latency_mean_low_ms <= row.latency_mean_ms <= row.latency_mean_high_ms
        assert row.images_per_second == pytest.approx(row.batch / row.latency_mean_ms * 1e3)
        assert row.first_run_ms > 0
        assert row.peak_memory_mb < 100
        assert row.speed_up is row.verdict is row.copy_in_ms is None
    assert found.models[0].input_type == "float32 [N, 3, 6, 5]"
    assert set(found.versions) == {"onnxruntime", "sleep"}
    assert found.processor


def test_each_is_compared_with_the_first_of_its_batch(measure, sleeping):
    found = measure(
        [candidate("a", sleeping(6)), candidate("b", sleeping(2)), candidate("c", sleeping(20))], batches=(1, 2)
    )
    assert [(row.batch, row.engine, row.verdict) for row in found.measurements] == [
        (1, "a", None), (1, "b", "faster"), (1, "c", "slower"),
        (2, "a", None), (2, "b", "faster"), (2, "c", "slower"),
    ]  # fmt: skip
    assert found.measurements[1].speed_up == pytest.approx(3, rel=0.01)
    assert found.measurements[0].latency_p50_ms == pytest.approx(6, rel=0.01)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(1.01, 1.4, "faster"), (0.6, 0.99, "slower"), (0.99, 1.4, "no difference"), (None, None, None)],
)
def test_what_differs_by_less_than_the_noise_is_no_difference(low, high, verdict, measure, sleeping):
    row = measure([candidate("a", sleeping(1))]).measurements[0]
    assert dataclasses.replace(row, speed_up=1.0, speed_up_low=low, speed_up_high=high).verdict == verdict


def test_the_first_run_is_told_apart(measure, clock):
    seen = set()

    def compiling(batch):
        clock.sleep(0.001 if batch in seen else 0.1)
        seen.add(batch)

    found = measure([candidate("a", compiling)], batches=(1, 2))
    assert [row.first_run_ms for row in found.measurements] == pytest.approx([100, 100], rel=0.01)
    assert [row.latency_p99_ms for row in found.measurements] == pytest.approx([1, 1], rel=0.02)


def test_parts_are_measured_each(measure, clock):
    parts = {"copy_in": lambda: clock.sleep(0.001), "compute": lambda: clock.sleep(0.004), "copy_out": lambda: None}
    calls = Calls(lambda: clock.sleep(0.005), parts)
    row = measure([Candidate("net.onnx", "onnxruntime", "CUDA", None, None, lambda batch: calls)]).measurements[0]
    found = [row.copy_out_ms, row.copy_in_ms, row.compute_ms, row.latency_mean_ms]
    assert found == pytest.approx([0.01, 1.01, 4.01, 5.01], abs=0.005)


def failing(batch):
    if batch > 1:
        raise RuntimeError("Failed to allocate memory for requested buffer of size 9")


def test_a_failure_takes_nothing_else_with_it(measure, sleeping):
    found = measure([candidate("onnxruntime", failing), candidate("b", sleeping(1))], batches=(1, 2))
    assert [(row.batch, row.engine) for row in found.measurements] == [(1, "onnxruntime"), (1, "b"), (2, "b")]
    assert found.measurements[2].speed_up is None
    (failure,) = found.failures
    assert failure.code == "out-of-memory"
    assert failure.message.startswith("net.onnx, onnxruntime CPU cannot run a batch of 2: Failed to allocate memory")


def test_what_is_optional_is_left_out_with_a_note(measure, sleeping):
    found = measure([candidate("a", sleeping(1)), candidate("b", failing, optional=True)], batches=(2,))
    assert (len(found.measurements), found.failures) == (1, ())
    assert found.notes[0].startswith("net.onnx, b CPU cannot run a batch of 2")


@pytest.mark.parametrize(
    ("engine", "error", "expected"),
    [
        ("onnxruntime", RuntimeError("no such node"), OnnxError),
        ("onnxruntime", MemoryError(), OutOfMemoryError),
        ("PyTorch eager", RuntimeError("CUDA out of memory"), OutOfMemoryError),
        ("PyTorch eager", RuntimeError("shapes differ"), CnnkitError),
    ],
)
def test_where_nothing_can_be_measured_it_is_an_error(engine, error, expected, measure):
    def fail(batch):
        raise error

    with expect_error(expected, "batch of 1"):
        measure([candidate(engine, fail)])


def test_progress_goes_from_batch_to_batch(target, sleeping):
    steps = list(benchmark_steps([target], [candidate("a", sleeping(1))], batches=(1, 2), seconds=0.05, versions={}))
    assert all(isinstance(step, BenchmarkStep) for step in steps)
    assert steps[0] == BenchmarkStep("batch 1, first run of a", 0, 2)
    assert [step.done for step in steps] == sorted(step.done for step in steps)
    assert steps[-1] == BenchmarkStep("batch 2", 2, 2)


def test_batches_are_those_asked_for_the_files_own_or_the_usual_ones(make_onnx):
    open_, fixed = (examine("net.onnx", make_onnx((batch, 3, 6, 5)), ["cpu"]) for batch in ("batch", 4))
    assert choose_batches([8, 1, 8], [open_]) == (1, 8)
    assert choose_batches(None, [open_]) == BATCHES
    assert choose_batches(None, [open_, fixed]) == choose_batches([4], [fixed]) == (4,)
    with expect_error(UsageError, "net.onnx", 8, "--batch 4"):
        choose_batches([4, 8], [fixed])
    for wrong in (0, -1, MAX_BATCH + 1):
        with expect_error(UsageError, f"--batch {wrong}"):
            choose_batches([wrong], [open_])


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_what_is_no_time_is_wrong_usage(seconds):
    with expect_error(UsageError):
        check_seconds(seconds)

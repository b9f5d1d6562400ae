"""What an attempt to record a step means: recorded, cannot be, or too little memory; and what the user hears of it."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import torch
from torch import nn

from cnnkit.models.memory import is_out_of_memory
from cnnkit.operation import result_of
from cnnkit.progress import Notice
from cnnkit.recipe import Recipe
from cnnkit.render import training as render
from cnnkit.training.distributed import Group
from cnnkit.training.engine import Engine
from cnnkit.training.recording import try_to_record
from cnnkit.training.results import TrainingStopped
from cnnkit.training.setup import prepare
from cnnkit.training.state import read_state
from tests.expecting import expect_error

CPU = torch.device("cpu")
CAPTURING = "CUDA error: operation not permitted when stream is capturing\nSearch for `cudaErrorStreamCapture…`"


class Moving(nn.Module):
    """Replaces a buffer in each step."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Module()
        self.inner.register_buffer("mean", torch.zeros(3))

    def move(self) -> None:
        self.inner.mean = self.inner.mean + 1


def broken_off(error: Exception) -> None:
    """Fail as PyTorch does: an error inside a recording breaks its end too."""
    try:
        raise error
    finally:
        raise RuntimeError("CUDA error: operation failed due to a previous error during capture")


@pytest.mark.parametrize("fail", ["alone", "with its end"])
def test_a_network_that_cannot_be_recorded_is_said_with_the_first_reason(fail: str) -> None:
    def record() -> None:
        error = RuntimeError(CAPTURING)
        if fail == "alone":
            raise error
        broken_off(error)

    said = try_to_record(record, nn.Linear(2, 2))
    assert "operation not permitted when stream is capturing)" in said
    assert "\n" not in said


OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."),
    RuntimeError("CUDA error: out of memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"),
]


@pytest.mark.parametrize("fail", ["alone", "with its end"])
@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=str)
def test_too_little_memory_is_not_mistaken_for_it(error: Exception, fail: str) -> None:
    def record() -> None:
        if fail == "alone":
            raise error
        broken_off(error)

    with pytest.raises(RuntimeError) as caught:
        try_to_record(record, nn.Linear(2, 2))
    assert is_out_of_memory(caught.value)


def test_other_errors_are_the_networks_own() -> None:
    def record() -> None:
        raise ValueError("what is this?")

    with expect_error(ValueError):
        try_to_record(record, nn.Linear(2, 2))


def test_a_chain_of_errors_is_about_memory_where_one_of_them_is() -> None:
    wrapped, inner = ValueError("wrapped"), MemoryError()
    wrapped.__cause__ = inner
    assert is_out_of_memory(wrapped)
    unrelated = ValueError("in spite of it")
    unrelated.__context__, unrelated.__suppress_context__ = inner, True
    assert not is_out_of_memory(unrelated)
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_out_of_memory(ValueError("out of memory"))


@pytest.mark.parametrize("fails", [False, True])
def test_a_buffer_that_is_replaced_is_put_back_and_no_recording_of_it_is_used(fails: bool) -> None:
    network = Moving()
    before = network.inner.mean

    def record() -> None:
        network.move()
        if fails:
            raise RuntimeError(CAPTURING)

    said = try_to_record(record, network)
    assert network.inner.mean is before
    assert ("capturing" if fails else "inner.mean") in said


def test_what_is_recorded_has_nothing_to_say() -> None:
    calls: list[int] = []
    network = nn.BatchNorm1d(3)
    assert try_to_record(lambda: calls.append(network(torch.randn(4, 3)).shape[0]), network) == ""
    assert calls == [4]


# What the user hears of it.


def engine(runs: Path, stop: Callable[[], bool] = lambda: False, resume: Path | None = None) -> Engine:
    recipe, group = Recipe(model="softmax-regression", data="shapes", batch_size=8, epochs=2), Group(0, 1, CPU)
    prepared = result_of(prepare(recipe, group, data_dir=None, runs_dir=runs, resume=resume, trust_code=False))
    return Engine(prepared, group, "cpu", 0, stop)


@pytest.mark.usefixtures("few_shapes")
def test_a_notice_of_the_step_reaches_terminal_result_and_state(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = iter(range(100))
    one = engine(tmp_path, lambda: next(calls) == 9)
    one.train_step.notices.append("the step is slow")
    with closing(one.events()) as events:
        *events_seen, stopped = events
    assert isinstance(stopped, TrainingStopped)
    notes = [event for event in events_seen if isinstance(event, Notice)]
    assert notes == [Notice("the step is slow", warning=True)]
    state = read_state(stopped.run)
    assert state is not None
    assert state[1]["notices"] == ["the step is slow"]
    # A later part may say it again; it is noted once.
    again = engine(tmp_path, resume=stopped.run)
    again.train_step.notices.append("the step is slow")
    render.show(again.events(), again.recipe, as_json=True)
    out, err = capsys.readouterr()
    assert err.count("the step is slow") == 1
    assert '"notices": ["the step is slow"]' in out
    assert '"warnings": ["the step is slow"' in out

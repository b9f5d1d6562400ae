"""SIGTERM and Ctrl-C while `cnnkit train` works: what is saved, what is said, and how soon it ends."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from cnnkit.cli.signals import StopRequest

Cli = Callable[..., Any]
HANGUP = getattr(signal, "SIGHUP", signal.SIGTERM)  # Windows has none, and skips these tests
NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM", HANGUP: "SIGHUP"}
RUN = "acting-Net-photos-1"
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, HANGUP: 129}

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="Windows ends a process that is sent a signal"),
    pytest.mark.usefixtures("python_handlers"),
]
both = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
each = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, HANGUP], ids=["ctrl-c", "sigterm", "sighup"])


@pytest.fixture
def python_handlers() -> Iterator[None]:
    """Start from Python's own handlers."""
    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler),
        signal.SIGTERM: signal.signal(signal.SIGTERM, signal.SIG_DFL),
        HANGUP: signal.signal(HANGUP, signal.SIG_DFL),
    }
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def send(number: int, times: int = 1) -> str:
    return f"import os; [os.kill(os.getpid(), {int(number)}) for _ in range({times})]"


@pytest.mark.parametrize(
    ("step", "at"),
    [
        (2, "step 2 of epoch 1."),
        (3, "step 3 of epoch 1."),
        (5, "step 2 of epoch 2. The best so far, epoch 1, is in {}."),
    ],
)
@each
def test_the_first_signal_saves_says_how_to_go_on_and_nothing_is_lost(
    number: signal.Signals, step: int, at: str, train: Cli, outcome: Callable[[Path], Any], tmp_path: Path
) -> None:
    assert train("whole").exit_code == 0
    result = train("parts", act=f"if step == {step}: {send(number)}")
    run = tmp_path / "parts" / RUN
    assert (result.exit_code, result.stdout) == (CODES[number], "")
    assert result.stderr.splitlines()[-1] == (
        f"stopped by {NAMES[number]} after {at.replace('{}', str(run))} "
        f"Go on with: cnnkit train acting:Net --resume {run}"
    )
    assert "Traceback" not in result.stderr
    assert (run / "best.safetensors").is_file()
    again = train("parts", "--resume", run)
    assert again.exit_code == 0
    assert f"going on after {at.partition('.')[0]}" in again.stderr
    assert outcome(run) == outcome(tmp_path / "whole" / RUN)


@both
def test_json_has_the_envelope_of_what_stopped_it_and_nothing_else(number: signal.Signals, train: Cli) -> None:
    result = train("runs", "--json", act=f"if step == 5: {send(number)}")
    assert result.exit_code == CODES[number]
    found = json.loads(result.stdout)
    assert (found["command"], found["status"]) == ("train", "error")
    assert [error["code"] for error in found["errors"]] == ["interrupted"]
    assert found["errors"][0]["message"].startswith(f"stopped by {NAMES[number]} after step 2 of epoch 2. ")
    run = found["data"].pop("run")
    assert found["data"] == {"epochs": 1, "steps": 2, "best_epoch": 1}
    assert found["errors"][0]["message"].endswith(f"Go on with: cnnkit train acting:Net --resume {run}")


@both
def test_the_second_signal_leaves_at_once_and_the_last_state_counts(
    number: signal.Signals, train: Cli, outcome: Callable[[Path], Any], tmp_path: Path
) -> None:
    assert train("whole").exit_code == 0
    result = train("parts", act=f"if step == 5: {send(number, 2)}; assert False, 'too late'")
    run = tmp_path / "parts" / RUN
    assert (result.exit_code, result.stdout) == (CODES[number], "")
    assert result.stderr.splitlines()[-1] == (
        f"stopped: the best so far, epoch 1 (100%), is in {run}; go on with: cnnkit train acting:Net --resume {run}"
    )
    again = train("parts", "--resume", run)
    assert "going on after epoch 1\n" in again.stderr
    assert outcome(run) == outcome(tmp_path / "whole" / RUN)


@both
def test_the_second_signal_is_an_envelope_too(number: signal.Signals, train: Cli) -> None:
    result = train("runs", "--json", act=f"if step == 5: {send(number, 2)}")
    assert result.exit_code == CODES[number]
    found = json.loads(result.stdout)
    assert found["errors"] == [{"code": "interrupted", "message": f"stopped by {NAMES[number]}"}]


@pytest.mark.parametrize("step", [0, 1], ids=["while loading", "in the first step"])
@both
def test_a_signal_before_the_first_step_is_done_leaves_nothing_behind(
    number: signal.Signals, step: int, train: Cli, tmp_path: Path
) -> None:
    result = train("runs", act=f"if step == {step}: {send(number)}")
    assert (result.exit_code, result.stdout) == (CODES[number], "")
    assert result.stderr.splitlines()[-1] == "stopped: training had not begun, and nothing is left behind"
    assert not list(tmp_path.glob("runs/*"))


@both
def test_a_run_that_goes_on_and_is_stopped_while_loading_stays_as_it_is(
    number: signal.Signals, train: Cli, tmp_path: Path
) -> None:
    train("runs", act=f"if step == 5: {send(number)}")
    run = tmp_path / "runs" / RUN
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    assert train("runs", "--resume", run, act=f"if step == 0: {send(number)}").exit_code == CODES[number]
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before


def test_sigterm_to_a_whole_session_reaches_readers_of_images_too_and_all_is_saved(
    photos: Path, tmp_path: Path, program: str, acting: str
) -> None:
    """As a service manager and the launcher of several processes send it, with images that do not fit into memory."""
    arguments = ("train", acting, "--data", photos, "--epochs", 4, "--batch-size", 1, "--device", "cpu", "--json")
    early = """
from cnnkit.training import loader
from cnnkit.data import cache
cache.fits_in_memory, loader._CHUNK_VALUES = (lambda _: False), 1
"""
    act = """
import os, subprocess, time
if step == 2:
    subprocess.run(["kill", "-TERM", "--", f"-{os.getpgrp()}"], start_new_session=True)
    time.sleep(0.5)
"""
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    found = subprocess.run(
        [program, *map(str, arguments), "--runs-dir", tmp_path],
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONPATH": path, "ACT_EARLY": early, "ACT": act},
        start_new_session=True,
        timeout=300,
        check=False,
    )
    assert (found.returncode, json.loads(found.stdout)["data"]["steps"]) == (143, 2), found.stderr
    assert "Traceback" not in found.stderr


@pytest.fixture
def stop() -> Iterator[StopRequest]:
    with StopRequest() as request:
        yield request


@each
def test_until_somebody_asks_a_signal_stops_at_once(number: signal.Signals, stop: StopRequest) -> None:
    with pytest.raises(KeyboardInterrupt if number == signal.SIGINT else SystemExit) as caught:
        os.kill(os.getpid(), number)
    if number != signal.SIGINT:
        assert caught.value.code == CODES[number]
    assert not stop.wanted()


@each
def test_once_somebody_asked_the_first_signal_is_remembered_and_the_second_stops(
    number: signal.Signals, stop: StopRequest
) -> None:
    assert not stop.wanted()
    os.kill(os.getpid(), number)
    assert stop.wanted()
    assert stop.signal == number
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        os.kill(os.getpid(), number)


def test_the_handlers_that_were_there_come_back() -> None:
    with suppress(LookupError), StopRequest():
        assert signal.getsignal(signal.SIGTERM) != signal.SIG_DFL
        raise LookupError
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_signal_that_is_ignored_stays_so() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with StopRequest() as request:
        request.wanted()
        os.kill(os.getpid(), signal.SIGINT)
        assert not request.wanted()
        os.kill(os.getpid(), signal.SIGTERM)
        assert request.wanted()


def test_a_thread_that_trains_leaves_the_handlers_alone() -> None:
    found = []

    def work() -> None:
        with StopRequest() as request:
            found.append((signal.getsignal(signal.SIGINT), request.wanted()))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [(signal.default_int_handler, False)]

"""The trial: a file that crashes, hangs or eats memory does it in another process, which never outlives its parent."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from onnx import helper, numpy_helper

from cnnkit.errors import OnnxError
from cnnkit.runtime import guard
from cnnkit.runtime.guard import known, trial
from tests.runtime.guard.test_checking import crafted

SIZES = {"x": (1, 3, 4, 4)}
linux = pytest.mark.skipif(sys.platform != "linux", reason="limits and /proc are those of Linux")


def run(content):
    return trial.run(content, None, {"shape": None, "sides": None, "run": True, "batch": 0})


def pooling():
    """Return a file that would run for hours."""
    nodes = [
        helper.make_node("Resize", ["x", "", "", "s"], ["big"]),
        helper.make_node("AveragePool", ["big"], ["p"], kernel_shape=[4000, 4000]),
    ]
    return crafted.adding(*nodes, last="p", shape=(1, 3, 4, 4), constants=[("s", np.array([1, 3, 8000, 8000]))])


def crashing():
    """Return a file that ends onnxruntime's process; nothing but a trial may open it."""
    constants = [("least", np.array([-(2**63)])), ("minus", np.array([-1]))]
    divided = helper.make_node("Div", ["least", "minus"], ["q"])
    return crafted.adding(divided, last="q", constants=constants).SerializeToString()


def test_a_file_that_runs_gives_no_reason_and_is_known_afterwards(monkeypatch):
    content = crafted.network().SerializeToString()
    assert not guard.check(content, "net").failure
    monkeypatch.setattr(trial, "run", None)  # it would be called
    assert not guard.check(content, "net").failure


def test_a_crash_is_an_error_that_says_so():
    with pytest.raises(OnnxError, match="it ends onnxruntime by SIGFPE"):
        run(crashing())


@linux
def test_too_much_time_is_an_error_that_says_so():
    started = time.monotonic()
    with pytest.raises(OnnxError, match=r"net was not opened: it takes more than [\d.]+ s"):
        guard.check(pooling().SerializeToString(), "net")
    assert time.monotonic() - started < 15


@linux
def test_too_much_memory_is_an_error_that_says_so():
    shape = numpy_helper.from_array(np.array([30_000, 30_000]), "s")
    node = helper.make_node("ConstantOfShape", ["s"], ["c"], value=numpy_helper.from_array(np.ones(1), ""))
    model = crafted.adding(node, last="c")
    model.graph.initializer.append(shape)
    with pytest.raises(OnnxError, match=crafted.TOO_MUCH):
        guard.check(model.SerializeToString(), "net")


def test_what_onnxruntime_refuses_can_be_looked_at_and_not_opened():
    node = helper.make_node("MaxPool", ["x"], ["x2"], kernel_shape=[9, 9])
    checked = guard.check(crafted.after(node).SerializeToString(), "net")
    assert checked.failure
    with pytest.raises(OnnxError, match="net is not an ONNX file that onnxruntime"):
        checked.source  # noqa: B018


def test_other_sizes_are_tried_by_themselves():
    content = crafted.network().SerializeToString()
    known.remember(content, SIZES)
    assert known.passed(content, SIZES)
    assert not known.passed(content, {"x": (1, 3, 8, 8)})
    assert not known.passed(content, None)
    assert not known.passed(content + b"x", SIZES)


@pytest.mark.parametrize("damage", ["", "[]", '{"files": 3}', "[" * 100_000])
def test_a_damaged_list_of_known_files_is_an_empty_one(damage, user_cache):
    content = crafted.network().SerializeToString()
    known.remember(content, SIZES)
    (user_cache / "tried.json").write_text(damage)
    assert not known.passed(content, SIZES)
    known.remember(content, SIZES)
    assert known.passed(content, SIZES)


@pytest.mark.skipif(os.name == "nt", reason="modes are those of POSIX")
def test_a_list_that_others_could_have_written_does_not_count(user_cache):
    content = crafted.network().SerializeToString()
    known.remember(content, SIZES)
    path = user_cache / "tried.json"
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o666)
    assert not known.passed(content, SIZES)
    path.chmod(0o600)
    noted = json.loads(path.read_text())
    path.write_text(json.dumps({**noted, "onnxruntime": "1.0"}))
    assert not known.passed(content, SIZES)


def test_a_list_that_cannot_be_written_is_no_error(user_cache):
    user_cache.parent.mkdir(parents=True, exist_ok=True)
    user_cache.write_text("a file where the folder should be")
    content = crafted.network().SerializeToString()
    assert not guard.check(content, "net").failure
    assert not known.passed(content, SIZES)


def test_the_list_is_bounded(monkeypatch):
    monkeypatch.setattr(known, "_MOST", 3)
    for number in range(5):
        known.remember(bytes([number]), SIZES)
    assert [bool(known.passed(bytes([number]), SIZES)) for number in range(5)] == [False, False, True, True, True]


def trials():
    return [p for p in psutil.Process().children() if any("child.py" in part for part in p.cmdline())]


def test_a_trial_ends_at_once_when_the_program_ends():
    found = []

    def wait():
        with pytest.raises(OnnxError, match="the program is ending") as raised:
            run(pooling().SerializeToString())
        found.append(raised)

    thread = threading.Thread(target=wait)
    thread.start()
    deadline = time.monotonic() + 20
    while not trials() and time.monotonic() < deadline:
        time.sleep(0.01)
    try:
        guard.end_all()
        thread.join(2)
        assert found
        with pytest.raises(OnnxError, match="the program is ending"):  # nor does another one begin
            run(crafted.network().SerializeToString())
    finally:
        guard.allow()
    assert run(crafted.network().SerializeToString()).failure == ""


@linux
def test_a_trial_does_not_outlive_the_program(tmp_path):
    (tmp_path / "net.onnx").write_bytes(pooling().SerializeToString())
    code = "from pathlib import Path; from cnnkit.runtime import guard; guard.check(Path('net.onnx'), 'net')"
    program = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path)
    deadline, children = time.monotonic() + 20, []
    while not children and time.monotonic() < deadline:
        time.sleep(0.02)
        children = psutil.Process(program.pid).children()
    time.sleep(0.5)
    program.send_signal(signal.SIGKILL)
    program.wait()
    assert children
    assert not psutil.wait_procs(children, timeout=5)[1]


def test_a_trial_works_in_threads_and_beside_an_event_loop():
    async def both():
        content = [crafted.network(side=side).SerializeToString() for side in (4, 4)]
        return await asyncio.gather(*(asyncio.to_thread(run, each) for each in content))

    assert [each.failure for each in asyncio.run(both())] == ["", ""]


def test_a_trial_imports_nothing_of_the_working_directory(tmp_path, monkeypatch):
    for name in ("onnxruntime", "numpy", "json"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported')")
    monkeypatch.chdir(tmp_path)
    assert run(crafted.network().SerializeToString()).failure == ""


def test_a_program_of_another_name_finds_its_python(monkeypatch):
    monkeypatch.setattr(sys, "executable", str(Path("/usr/bin/some-program")))
    assert run(crafted.network().SerializeToString()).failure == ""

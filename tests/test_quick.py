"""The quick tier leaves out what starts a process, and nothing else."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
TESTS = """
import multiprocessing, os, subprocess, sys, threading
import pytest, torch

def run():
    subprocess.run([sys.executable, "--version"])

def test_plain(): pass
def test_fails(): assert False
def test_process(): run()
def test_process_that_nobody_hears_of():
    with pytest.raises(BaseException):
        run()
def test_worker(): multiprocessing.get_context("spawn").Process(target=print).start()
def test_signal(): os.kill(os.getpid(), 0)
def test_export(): torch.onnx.export(torch.nn.Linear(2, 2), (torch.zeros(1, 2),))
@pytest.mark.slow
def test_slow(): pass
@pytest.fixture(scope="module")
def started(): run()
def test_fixture(started): pass
def test_fixture_again(started): pass
"""


def test_what_starts_a_process_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "test_these.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = slow gpu\n")
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.quick", "-p", "no:cacheprovider", "-rA", str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert "1 failed, 1 passed, 7 skipped, 1 deselected" in ended.stdout, ended.stdout + ended.stderr
    assert "FAILED test_these.py::test_fails" in ended.stdout

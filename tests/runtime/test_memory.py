"""Memory that something takes: seen while it is there, and of a GPU as its driver says."""

import sys
import time

import numpy as np
import pytest

from cnnkit.runtime.memory import MemoryGrowth

needs_scripts = pytest.mark.skipif(sys.platform == "win32", reason="a script that is found by name")


def test_what_is_held_is_counted():
    with MemoryGrowth() as memory:
        held = np.ones(64_000_000, np.uint8)
    assert 60 <= memory.peak_mb <= 100
    assert held.nbytes == 64_000_000


def test_what_was_given_back_before_the_end_is_counted_too():
    with MemoryGrowth() as memory:
        held = np.ones(64_000_000, np.uint8)
        time.sleep(0.5)  # it looks every 2 ms
        del held
    assert memory.peak_mb >= 60


def test_nothing_is_next_to_nothing():
    with MemoryGrowth() as memory:
        pass
    assert memory.peak_mb < 8


def test_an_error_inside_is_not_swallowed():
    with pytest.raises(ZeroDivisionError), MemoryGrowth():
        _ = 1 / 0


@pytest.fixture
def driver(tmp_path, monkeypatch):
    """A tool of the driver that says 100 MiB, then 350; what it is asked stands in the returned file."""
    asked = tmp_path / "asked"
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f'#!/bin/sh\nif [ -e {asked} ]; then echo 350; else echo 100; fi\necho "$@" >> {asked}\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return asked


@needs_scripts
def test_growth_on_a_gpu_is_that_of_the_device(driver):
    with MemoryGrowth(1) as memory:
        pass
    assert memory.peak_mb == pytest.approx(250 * 1.048576)
    assert driver.read_text().splitlines() == ["--id=1 --query-gpu=memory.used --format=csv,noheader,nounits"] * 2


@needs_scripts
def test_the_gpu_is_the_one_that_this_process_sees(driver, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-aa, GPU-bb")
    with MemoryGrowth(1):
        pass
    assert driver.read_text().startswith("--id=GPU-bb ")


@pytest.mark.parametrize("index", [0, 7])
def test_without_the_driver_it_is_not_known(index, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with MemoryGrowth(index) as memory:
        pass
    assert memory.peak_mb is None

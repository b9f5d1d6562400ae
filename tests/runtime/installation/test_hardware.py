import ast

import pytest

from cnnkit.runtime import hardware

ASK = (
    "from cnnkit.runtime import hardware as h; d = h.find_driver(); "
    "print((h.has_driver(), d and (d.version, d.cuda, d.gpus, d.error)))"
)


@pytest.fixture
def ask(elsewhere):
    return lambda **machine: ast.literal_eval(elsewhere("-c", ASK, **machine).stdout.decode())


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, ("580.65.06", (13, 0), ("Test GPU",), "")),
        ({"DRIVER_GPUS": 2, "DRIVER_CUDA": 12040}, ("580.65.06", (12, 4), ("Test GPU", "Test GPU"), "")),
        ({"DRIVER_INIT": 100}, ("580.65.06", (13, 0), (), "no CUDA-capable device is detected")),
        ({"DRIVER_GPUS": 0}, ("580.65.06", (13, 0), (), "it shows no GPU")),
    ],
)
def test_the_driver_is_asked(ask, driver, variables, expected):
    assert ask(driver=driver, **variables) == (True, expected)


def test_a_driver_without_its_management_library_has_no_version(ask, driver, tmp_path):
    (tmp_path / "libcuda.so.1").symlink_to(driver / "libcuda.so.1")
    if hardware.has_driver():
        pytest.skip("this machine has a driver of its own")
    assert ask(driver=tmp_path) == (True, ("", (13, 0), ("Test GPU",), ""))


def test_a_machine_without_a_driver_has_none():
    if hardware.has_driver():
        pytest.skip("this machine has a driver")
    assert hardware.find_driver() is None


def test_the_cores_are_those_that_this_process_may_use():
    cores = hardware.usable_cores()
    assert cores >= 1
    assert hardware.processor().endswith(f", {cores} core{'s' if cores > 1 else ''}")


@pytest.mark.parametrize(
    ("quota", "cores"), [("150000 100000", 2), ("50000 100000", 1), ("max 100000", 8), ("9900000 100000", 8), ("", 8)]
)
def test_cores_are_those_of_the_container(monkeypatch, tmp_path, quota, cores):
    path = tmp_path / "cpu.max"
    path.write_text(quota)
    monkeypatch.setattr(hardware, "_QUOTA", path)
    monkeypatch.setattr(hardware.os, "sched_getaffinity", lambda _: range(8), raising=False)
    assert hardware.usable_cores() == cores

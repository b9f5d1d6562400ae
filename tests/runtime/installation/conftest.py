"""Machines that this one is not: with a GPU's driver that is made for the test, or without some packages."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from importlib.util import find_spec
from pathlib import Path

import pytest

import cnnkit

# As much of the CUDA driver API and of NVML as cnnkit asks; environment variables say what it answers.
DRIVER = r"""
#include <stdlib.h>
#include <string.h>
static int number(const char *name, int otherwise) { char *v = getenv(name); return v ? atoi(v) : otherwise; }
int cuInit(unsigned flags) { return number("DRIVER_INIT", 0); }
int cuDriverGetVersion(int *version) { *version = number("DRIVER_CUDA", 13000); return 0; }
int cuDeviceGetCount(int *count) { *count = number("DRIVER_GPUS", 1); return 0; }
int cuDeviceGet(int *device, int index) { *device = index; return 0; }
int cuDeviceGetName(char *name, int length, int device) { strncpy(name, "Test GPU", length); return 0; }
int cuGetErrorString(int code, const char **text) { *text = "no CUDA-capable device is detected"; return 0; }
int nvmlInit_v2(void) { return 0; }
int nvmlShutdown(void) { return 0; }
int nvmlSystemGetDriverVersion(char *version, unsigned length) { strncpy(version, "580.65.06", length); return 0; }
"""


@pytest.fixture(scope="session")
def compiler():
    """A C compiler on Linux, whose libraries cnnkit can read."""
    found = shutil.which("cc") or shutil.which("gcc")
    if found is None or sys.platform != "linux":
        pytest.skip("needs Linux and a C compiler")
    return found


@pytest.fixture(scope="session")
def driver(compiler, tmp_path_factory):
    """A folder for LD_LIBRARY_PATH with a driver made for the test."""
    folder = tmp_path_factory.mktemp("driver")
    (folder / "driver.c").write_text(DRIVER)
    made = folder / "libcuda.so.1"
    subprocess.run([compiler, "-shared", "-fPIC", "-w", "-o", made, folder / "driver.c"], check=True)
    shutil.copy(made, folder / "libnvidia-ml.so.1")
    return folder


@pytest.fixture(scope="session")
def packages_without(tmp_path_factory):
    """Link all installed packages but those whose names begin so into an environment; return its site-packages."""

    def make(*names):
        root = tmp_path_factory.mktemp("environment")
        venv.create(root, symlinks=True)
        folder = Path(sysconfig.get_path("purelib", vars={"base": str(root)}))
        for package in ("numpy", "onnxruntime", "rich"):
            for entry in Path(find_spec(package).origin).parent.parent.iterdir():
                name = entry.name.lower().replace("-", "_")
                if not name.startswith((*names, "cnnkit", "__")) and not (folder / entry.name).is_symlink():
                    (folder / entry.name).symlink_to(entry)
        return folder

    return make


@pytest.fixture(scope="session")
def without_nvidia(packages_without):
    """All packages but those with the libraries of CUDA, cuDNN and TensorRT."""
    return packages_without("nvidia", "tensorrt")


@pytest.fixture(scope="session")
def elsewhere():
    """Run Python with those packages and that driver alone; return the finished process."""

    def run(*arguments, packages=None, driver=None, stdin=None, **variables):
        root = Path(cnnkit.__file__).parent.parent
        environment = {**os.environ, "COLUMNS": "200", **{name: str(value) for name, value in variables.items()}}
        environment |= {"PYTHONPATH": str(root), "LD_LIBRARY_PATH": str(driver or "")}
        python = packages.parents[2] / "bin" / "python" if packages else sys.executable
        command = [python, *map(str, arguments)]
        return subprocess.run(command, input=stdin, env=environment, capture_output=True, check=False)

    return run

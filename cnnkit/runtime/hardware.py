"""What this machine computes on: its processor, and NVIDIA's driver asked directly, without any CUDA library."""

import ctypes
import os
import platform
import sys
from ctypes import byref, c_char_p, c_int, create_string_buffer
from dataclasses import dataclass
from pathlib import Path

from cnnkit.words import counted

# The driver brings these itself; under WSL, Windows' driver shows as the same file.
_CUDA = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
_MANAGEMENT = "nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1"
# Linux's control groups, version 2, as a container sees its own: microseconds of processor time in each period.
_QUOTA = Path("/sys/fs/cgroup/cpu.max")


@dataclass(frozen=True)
class Driver:
    """NVIDIA's driver.

    Attributes:
        version: such as 580.65.06, empty where it does not say.
        cuda: major and minor of the newest CUDA that it runs; None where it does not say.
        gpus: names of the GPUs that this process may use.
        error: why there are none, in the driver's words.
    """

    version: str
    cuda: tuple[int, int] | None
    gpus: tuple[str, ...]
    error: str = ""


def has_driver() -> bool:
    """Whether NVIDIA's driver is installed, with or without a GPU."""
    return _load(_CUDA) is not None


def find_driver() -> Driver | None:
    """Ask the driver for its versions and GPUs; None where there is no driver.

    Source: the CUDA driver API and NVML, in which 0 is success.
    """
    cuda = _load(_CUDA)
    if cuda is None:
        return None
    number = c_int()
    known = cuda.cuDriverGetVersion(byref(number)) == 0
    version = divmod(number.value // 10, 100) if known else None
    code = cuda.cuInit(0) or cuda.cuDeviceGetCount(byref(number))
    if code:
        return Driver(_driver_version(), version, (), _error_text(cuda, code))
    names = []
    for index in range(number.value):
        device, name = c_int(), create_string_buffer(256)
        if cuda.cuDeviceGet(byref(device), index) == 0:
            cuda.cuDeviceGetName(name, len(name), device)
        names.append(name.value.decode(errors="replace") or f"GPU {index}")
    return Driver(_driver_version(), version, tuple(names), "" if names else "it shows no GPU")


def processor() -> str:
    """Return the processor's name and how many cores this process may use.

    >>> processor()
    '... core...'
    """
    cores = usable_cores()
    return f"{processor_name()}, {counted(cores, 'core')}"


def usable_cores() -> int:
    """Return how many logical cores this process may use, by its affinity and by the quota of its container."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = _QUOTA.read_text("ascii").split()
        return max(1, min(cores, -(-int(quota) // int(period))))
    except (OSError, ValueError):  # no control group of version 2, or no limit: `max`
        return cores


def processor_name() -> str:
    """Return the processor's name, or that of its architecture where the system does not say."""
    try:
        for line in Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:  # other systems say it in other ways
        pass
    return platform.processor() or platform.machine()


def _load(name: str) -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(name)
    except OSError:
        return None


def _error_text(cuda: ctypes.CDLL, code: int) -> str:
    text = c_char_p()
    said = cuda.cuGetErrorString(code, byref(text)) == 0 and text.value
    return said.decode(errors="replace") if said else f"CUDA error {code}"


def _driver_version() -> str:
    management = _load(_MANAGEMENT)
    if management is None or management.nvmlInit_v2():
        return ""
    version = create_string_buffer(80)
    management.nvmlSystemGetDriverVersion(version, len(version))
    management.nvmlShutdown()
    return version.value.decode(errors="replace")

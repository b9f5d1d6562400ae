"""How much memory something takes: resident memory of this process, or memory of a GPU."""

import ctypes
import os
import subprocess
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

import psutil  # type: ignore[import-untyped]

_EVERY_SECONDS = 0.002
_MEBIBYTE = 1 << 20


class MemoryGrowth:
    """Watches the memory while its block runs; afterwards `peak_mb` is by how much it grew at most.

    On a GPU it is the used memory of the device, everybody's: there, measure alone. onnxruntime and PyTorch give
    nothing back meanwhile, so that what is used in the end is the peak. None where it cannot be known.
    """

    peak_mb: float | None = None

    def __init__(self, gpu: int | None = None) -> None:
        self._gpu = gpu
        self._process = psutil.Process()
        self._before: float | None = None
        self._peak = 0.0
        self._done = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        if self._gpu is not None:
            self._before = _gpu_used(self._gpu)
            return self
        _give_back()
        self._before = self._resident()
        self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._gpu is not None:
            after = _gpu_used(self._gpu)
        else:
            self._done.set()
            self._watcher.join()
            after = max(self._peak, self._resident())
        if self._before is not None and after is not None:
            self.peak_mb = max(0.0, after - self._before) / 1e6

    def _watch(self) -> None:
        while not self._done.wait(_EVERY_SECONDS):
            self._peak = max(self._peak, self._resident())

    def _resident(self) -> float:
        return float(self._process.memory_info().rss)


def _give_back() -> None:
    """Let glibc give back what is free: growth into it would not show."""
    with suppress(AttributeError, OSError, TypeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def _gpu_used(index: int) -> float | None:
    """Return the bytes in use of the GPU that this process knows as `index`, as the driver's own tool tells it."""
    visible = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    which = visible[index] if index < len(visible) else str(index)
    command = ["nvidia-smi", f"--id={which}", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout  # noqa: S603
        return float(said) * _MEBIBYTE
    except (OSError, ValueError, subprocess.SubprocessError):
        return None

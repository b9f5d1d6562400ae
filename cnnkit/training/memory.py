"""How this process gets its memory, and how it is told that there is too little."""

import ctypes
import sys
from contextlib import suppress

import torch

# Names and values of mallopt(3), glibc's. Larger mapping thresholds are refused.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_TRIM_BYTES, _MMAP_BYTES = 1 << 30, 32 << 20


def keep_freed_memory() -> None:
    """Let the process keep up to a gigabyte that it freed, where its C library is glibc.

    Each step frees what it allocated. glibc gives some of that back to the system, depending on what happens to lie at
    the end of its heap, and the next step gets it again page by page, which a small step feels.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            libc = ctypes.CDLL(None)
            libc.mallopt(_TRIM_THRESHOLD, _TRIM_BYTES)
            libc.mallopt(_MMAP_THRESHOLD, _MMAP_BYTES)


def is_about_memory(error: BaseException) -> bool:
    """Return whether an error says that there is too little memory."""
    # On the CPU, PyTorch says it in words: the first ones on Linux and macOS, the others on Windows.
    words = ("allocate memory", "not enough memory", "ALLOC_FAILED")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(part in str(error) for part in words)

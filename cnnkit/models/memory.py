"""How this process gets its memory, and what says that there is too little."""

import ctypes
import sys
from collections.abc import Iterator
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


_WORDS = ("out of memory", "allocate memory", "not enough memory", "ALLOC_FAILED")
"""In errors without a type of their own: of CUDA, the CPU on Linux and macOS, on Windows, and of CUDA libraries."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error, or one that led to it, says that there is too little memory."""
    return any(
        isinstance(found, MemoryError | torch.OutOfMemoryError)
        or (isinstance(found, RuntimeError) and any(words in str(found) for words in _WORDS))
        for found in causes(error)
    )


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and those that led to it, back to the first."""
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__ or (None if found.__suppress_context__ else found.__context__)

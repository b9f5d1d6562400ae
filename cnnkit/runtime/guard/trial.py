"""Trying a file in a process of its own, with limits on memory and time, before this process parses or opens it."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from cnnkit.decoding.python import find_python
from cnnkit.errors import OnnxError, UsageError
from cnnkit.runtime.foreign.signature import OpenSizeError

if TYPE_CHECKING:
    from cnnkit.runtime.guard.preparing import Wanted

SECONDS = 3
"""Of a processor that a small file may take; a large one has one second more for each `BYTES_A_SECOND`."""
BYTES_A_SECOND = 16_000_000
MOST_SECONDS = 120
_SPARE = 1.5
"""Seconds by the clock on top, for whatever else runs on the machine."""
_ERRORS = {each.__name__: each for each in (OnnxError, OpenSizeError, UsageError)}
"""What the other process finds wrong, by name."""

_running: dict["subprocess.Popen[bytes]", str] = {}
"""Why each trial was ended; empty for one that goes on."""
_ending = threading.Event()


def end_all() -> None:
    """End the trials that run, and let none begin: those who wait for them get an error at once."""
    _ending.set()
    for process in list(_running):
        _end(process, "the program is ending")


def allow() -> None:
    """Let trials begin again."""
    _ending.clear()


class Tried(NamedTuple):
    """The result of a trial.

    Attributes:
        sha256: of what ran.
        failure: why onnxruntime cannot run the file, in its own words; empty where it can.
        most: images that ran at a time.
    """

    sha256: str
    failure: str
    most: int


def seconds_for(size: int) -> int:
    """Return how long a file with its data may take, in seconds of a processor."""
    return min(MOST_SECONDS, SECONDS + size // BYTES_A_SECOND)


def run(content: bytes, file: Path | None, wanted: "Wanted") -> Tried:
    """Check a file in another process, open it there and run it on typical and extreme images.

    Args:
        content: of the file.
        file: its path; None where there is none.
        wanted: how it will be used.

    Raises:
        OnnxError: it is refused, crashes, takes too much memory or too long.
        UsageError: it does not take images of this shape.
    """
    path = [os.path.abspath(place) for place in sys.path if place]  # noqa: PTH100
    place = None if file is None else str(file.absolute())
    request = {"path": path, "bytes": len(content), "file": place, "wanted": wanted}
    status, found, ended = _ask(json.dumps(request).encode() + b"\n", content)
    if ended:
        why = ended
    elif status == -getattr(signal, "SIGXCPU", 0) != 0:
        why = f"it takes more than {found['seconds']} s of a processor"
    elif status == -9 or found.get("memory"):
        why = "it takes more memory than a file of its size may, or than there is"
    elif status < 0 or status >= 2**31:
        names = {-each: each.name for each in signal.Signals}
        why = f"it ends onnxruntime by {names.get(status, hex(status))}"
    elif "refused" in found:
        raise _ERRORS[found["refused"]](found["because"])
    elif "sha256" not in found:
        raise OnnxError(f"it cannot be tried: {_python()} does not run onnxruntime. Run cnnkit where that works.")
    else:
        return Tried(found["sha256"], found["failed"], found["most"])
    raise OnnxError(f"{why}, as a trial in another process shows.")


def _ask(header: bytes, content: bytes) -> tuple[int, dict[str, Any], str]:
    """Start a child, send it a request; return its exit status, what it says, and why it was ended, if it was."""
    command = [_python(), "-I", "-S", str(Path(__file__).with_name("child.py"))]
    flags = getattr(subprocess, "CREATE_NO_WINDOW", 0)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    found: dict[str, Any] = {"seconds": seconds_for(len(content))}
    with subprocess.Popen(command, creationflags=flags, **pipes) as process:  # type: ignore[call-overload] # noqa: S603
        _running[process] = ""
        started, timer = time.monotonic(), _timer(process, found["seconds"])
        try:
            if _ending.is_set():
                _end(process, "the program is ending")
            with suppress(OSError):  # a pipe that broke: the status tells why
                process.stdin.write(header)
                process.stdin.write(content)
                process.stdin.flush()
            for line in process.stdout:  # data beside the file gives it more time
                with suppress(ValueError):
                    found |= json.loads(line)
                timer.cancel()
                timer = _timer(process, found["seconds"], time.monotonic() - started)
            return process.wait(), found, _running[process]
        finally:
            timer.cancel()
            process.kill()
            with suppress(OSError):  # what was not read is flushed here, and again where the block ends
                process.stdin.close()
            del _running[process]


def _timer(process: "subprocess.Popen[bytes]", seconds: int, gone: float = 0) -> threading.Timer:
    most = min(seconds, MOST_SECONDS) + _SPARE
    timer = threading.Timer(most - gone, _end, [process, f"it takes more than {most:g} s"])
    timer.daemon = True
    timer.start()
    return timer


def _end(process: "subprocess.Popen[bytes]", because: str) -> None:
    if process in _running:
        _running[process] = because
    process.kill()


def _python() -> str:
    if python := find_python():
        return python
    raise OnnxError("it cannot be tried: there is no Python interpreter beside this program to try it with.")

"""Trying a file in a process of its own, with limits on memory and time, before this process opens it."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from cnnkit.decoding.python import find_python
from cnnkit.errors import OnnxError

MEMORY_BYTES = 2**32
"""That a file may take while it runs, beside four times its own size."""
SECONDS = 3
"""Of a processor that a small file may take; a large one has one second more for each `BYTES_A_SECOND`."""
BYTES_A_SECOND = 16_000_000
MOST_SECONDS = 120
_SPARE = 1.5
"""Seconds by the clock on top, for whatever else runs on the machine."""

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
        failure: why onnxruntime cannot run the file, in its own words; empty where it can.
        most: images that ran at a time.
    """

    failure: str
    most: int


def run(content: bytes, sizes: Mapping[str, tuple[int, ...]], batched: str) -> Tried:
    """Open a file in another process and run it on typical and extreme images.

    Args:
        content: what will be opened.
        sizes: of its inputs by name.
        batched: input whose batch is open: it is run with several images too; empty where there is none.

    Raises:
        OnnxError: it crashes, takes too much memory or too long.
    """
    seconds = min(MOST_SECONDS, SECONDS + len(content) // BYTES_A_SECOND)
    memory = MEMORY_BYTES + 4 * len(content)
    request = {
        "path": [os.path.abspath(place) for place in sys.path if place],  # noqa: PTH100
        "bytes": len(content),
        "memory": memory,
        "seconds": seconds,
        "sizes": sizes,
        "batched": batched,
    }
    status, said, ended = _ask(json.dumps(request).encode() + b"\n", content, seconds + _SPARE)
    found = {}
    with suppress(ValueError):
        found = json.loads(said)
    if ended:
        why = ended
    elif status == -getattr(signal, "SIGXCPU", 0) != 0:
        why = f"it takes more than {seconds} s of a processor"
    elif status == -9 or found.get("memory"):
        why = f"it takes more than {memory / 1e9:.1f} GB of memory, or than there is"
    elif status < 0 or status >= 2**31:
        names = {-each: each.name for each in signal.Signals}
        why = f"it ends onnxruntime by {names.get(status, hex(status))}"
    elif not found:
        raise OnnxError(f"it cannot be tried: {_python()} does not run onnxruntime. Run cnnkit where that works.")
    else:
        return Tried(str(found["failed"]), int(found["most"]))
    raise OnnxError(f"{why}, as a trial in another process shows.")


def _ask(header: bytes, content: bytes, seconds: float) -> tuple[int, bytes, str]:
    """Start a child, send it a request; return its exit status, its answer, and why it was ended, if it was."""
    command = [_python(), "-I", "-S", str(Path(__file__).with_name("child.py"))]
    flags = getattr(subprocess, "CREATE_NO_WINDOW", 0)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, creationflags=flags, **pipes) as process:  # type: ignore[call-overload] # noqa: S603
        timer = threading.Timer(seconds, _end, [process, f"it takes more than {seconds:g} s"])
        timer.daemon = True
        timer.start()
        _running[process] = ""
        try:
            if _ending.is_set():
                _end(process, "the program is ending")
            with suppress(OSError):  # a pipe that broke: the status tells why
                process.stdin.write(header)
                process.stdin.write(content)
                process.stdin.flush()
            said = process.stdout.read()
            return process.wait(), said, _running[process]
        finally:
            timer.cancel()
            process.kill()
            del _running[process]


def _end(process: "subprocess.Popen[bytes]", because: str) -> None:
    if process in _running:
        _running[process] = because
    process.kill()


def _python() -> str:
    if python := find_python():
        return python
    raise OnnxError("it cannot be tried: there is no Python interpreter beside this program to try it with.")

"""Trying a file in a process of its own, with limits on memory and time, before this process opens it."""

import json
import math
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from cnnkit.errors import OnnxError

MEMORY_BYTES = 2**32
"""That a file may take while it runs, beside four times its own size."""
SECONDS = 2
"""Of a processor that a small file may take; a large one has one second more for each `BYTES_A_SECOND`."""
BYTES_A_SECOND = 16_000_000
MOST_SECONDS = 120
_STARTING = 2.0
"""Seconds by the clock for whatever else runs on the machine."""

_running: set["_Child"] = set()


class _Child:
    """A process that tries a file; it ends when its time is over, and when this process ends."""

    def __init__(self, seconds: float) -> None:
        self.ended = ""
        command = [_python(), "-I", "-S", str(Path(__file__).with_name("child.py"))]
        self._process = subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        self._timer = threading.Timer(seconds, self.end, ["it takes longer than it may"])
        self._timer.daemon = True
        self._timer.start()
        _running.add(self)

    def ask(self, header: bytes, content: bytes) -> tuple[int, bytes]:
        """Send a request; return the exit status and the answer."""
        with self._process as process:
            try:
                assert process.stdin is not None and process.stdout is not None
                with suppress(BrokenPipeError, OSError):  # what became of it shows below
                    process.stdin.write(header)
                    process.stdin.write(content)
                    process.stdin.flush()
                said = process.stdout.read()
                return process.wait(), said
            finally:
                self._timer.cancel()
                _running.discard(self)
                process.kill()

    def end(self, because: str) -> None:
        """Kill the process."""
        self.ended = self.ended or because
        self._process.kill()


def end_all() -> None:
    """End the trials that run: those who wait for them get an error at once."""
    for child in list(_running):
        child.end("the program is ending")


def run(content: bytes, sizes: Mapping[str, tuple[int, ...]], *, batched: str = "") -> str:
    """Open a file in another process and run it on typical and extreme images.

    Args:
        content: what will be opened.
        sizes: of its inputs by name.
        batched: input whose batch is open; it is run with two images at a time too.

    Returns:
        why onnxruntime cannot run it, in its own words; empty where it can.

    Raises:
        OnnxError: it crashes, takes too much memory or too long.
    """
    seconds = min(MOST_SECONDS, SECONDS + math.ceil(len(content) / BYTES_A_SECOND) - 1)
    every = [dict(sizes), *([{**sizes, batched: (2, *sizes[batched][1:])}] if batched else [])]
    header = {
        "path": [os.path.abspath(place) for place in sys.path if place],  # noqa: PTH100
        "bytes": len(content),
        "memory": MEMORY_BYTES + 4 * len(content),
        "seconds": seconds,
        "sizes": every,
    }
    child = _Child(seconds + _STARTING)
    status, said = child.ask(json.dumps(header).encode() + b"\n", content)
    tried = "in a process of its own, where it was tried first"
    if child.ended:
        raise OnnxError(f"{child.ended} ({seconds} s of a processor) {tried}.")
    if status == -getattr(signal, "SIGXCPU", 0) != 0:
        raise OnnxError(f"it takes longer than it may ({seconds} s of a processor) {tried}.")
    if status == -9:
        raise OnnxError(f"it takes more memory than there is {tried}.")
    if status < 0 or status >= 2**31:
        with suppress(ValueError):
            raise OnnxError(f"it ends onnxruntime by {signal.Signals(-status).name} {tried}.")
        raise OnnxError(f"it ends onnxruntime by status {status:#x} {tried}.")
    try:
        found = json.loads(said)
    except ValueError:
        raise OnnxError(
            f"it could not be tried: {sys.executable} did not run onnxruntime. Run it in the environment that has it."
        ) from None
    if found.get("memory"):
        raise OnnxError(f"it takes more memory than it may ({header['memory'] / 1e9:.1f} GB) {tried}.")
    return str(found.get("failed", ""))


def _python() -> str:
    """Return a Python interpreter with this one's libraries: a program may have its own name as `sys.executable`."""
    names = ("python.exe",) if os.name == "nt" else (f"bin/python3.{sys.version_info.minor}", "bin/python3")
    places = [Path(sys.executable or "-"), *(Path(sys.exec_prefix) / name for name in names)]
    for place in places:
        if place.stem.lower().startswith(("python", "pypy")) and place.is_file():
            return str(place)
    raise OnnxError("it could not be tried: there is no Python interpreter beside this program to try it with.")

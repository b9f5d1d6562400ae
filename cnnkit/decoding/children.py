"""Processes that decode image files with limits on time and memory, and that may be killed.

The parent writes a request and the content of a file to the standard input of a child, and reads an answer and pixels
from its standard output; headers are JSON, and nothing is unpickled. A child is started when it is first needed, kept
for the next file, and killed where it overstays its time. A thread waits for it, so that others of the parent run on.
"""

import atexit
import json
import os
import signal
import struct
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, cast

from cnnkit.decoding.python import find_python
from cnnkit.files import JsonObject

if TYPE_CHECKING:
    from io import BufferedReader, BufferedWriter

SECONDS, SECONDS_A_PIXEL = 1.0, 2e-7
"""Processor time for opening a file, and again for decoding it with as many pixels as it has."""
WALL_SECONDS = 30.0
"""After which a child is killed, whatever it did: it has a low priority, and may wait long for a processor."""
MEMORY = 2 * 2**30
"""Bytes of address space: an image of 50 million pixels takes up to 25 bytes a pixel."""

_NICE = 10
"""Low, and high enough that a photo is decoded in time while the server has all it can do."""
LENGTHS = struct.Struct("<II")
"""Before each message: the bytes of its JSON header, and of what follows the header."""
_MOST_HEADER = 1 << 20


def count() -> int:
    """Return how many files are decoded by children at the same time."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return 1 if cores < 4 else 2


_OUT_OF_TIME = {-signal.SIGPROF, -signal.SIGXCPU} if sys.platform != "win32" else set()


class DecoderError(Exception):
    """A child that did not answer; the message goes on after the name of the image."""


class _GoneError(Exception):
    """A child had ended before it was asked."""


def _python() -> str:
    if python := find_python():
        return python
    raise DecoderError("cannot be decoded: there is no Python interpreter beside this program to decode it with")


class _Child:
    def __init__(self) -> None:
        # The same modules as here, and nothing of the folder that the program was started in.
        paths = [str(Path(__file__).parents[2]), *(path for path in sys.path if path)]
        # What it does, its own start included, may wait for all that the process here has to do.
        give_way = f"hasattr(os, 'nice') and os.nice({_NICE})"
        imports = "sys.path[:] = sys.argv[1:]; from cnnkit.decoding.child import main"
        code = f"import os, sys; {give_way}; {imports}; main()"
        self._process = subprocess.Popen(  # noqa: S603 # this Python, and our own module
            [_python(), "-I", "-S", "-c", code, *paths],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # One thread of linear algebra takes little of the address space.
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        )
        self._requests = cast("BufferedWriter", self._process.stdin)
        self._answers = cast("BufferedReader", self._process.stdout)

    @property
    def lives(self) -> bool:
        return self._process.poll() is None

    def ask(self, request: JsonObject, data: bytes, most: int) -> tuple[JsonObject, bytearray]:
        header = json.dumps(request).encode()
        late = threading.Event()

        def overstayed() -> None:
            late.set()
            self._process.kill()

        timer = threading.Timer(WALL_SECONDS, overstayed)
        timer.daemon = True
        timer.start()
        try:
            try:
                for content in (LENGTHS.pack(len(header), len(data)), header, data):
                    self._requests.write(content)
                self._requests.flush()
            except OSError:  # it ended before it had the file, so that it was not the file
                self.end()
                raise _GoneError from None
            length, size = LENGTHS.unpack(self._read(LENGTHS.size))
            if length > _MOST_HEADER or size > most:
                raise EOFError
            return json.loads(self._read(length)), self._read(size)
        except (OSError, EOFError, ValueError) as error:
            self.end()
            raise DecoderError(self._reason(late.is_set())) from error
        except BaseException:  # Ctrl-C: what is still to be read would be taken for the answer about the next file
            self.end()
            raise
        finally:
            timer.cancel()

    def _read(self, size: int) -> bytearray:
        content = bytearray(size)
        if self._answers.readinto(content) != size:
            raise EOFError
        return content

    def _reason(self, late: bool) -> str:
        code = self._process.returncode
        if late or code in _OUT_OF_TIME:
            return (
                f"takes too long to decode: more than {SECONDS:g} s, and {SECONDS_A_PIXEL * 1e6:g} s for each million "
                "pixels. Save it again as an ordinary PNG or JPEG"
            )
        ended = f"signal {-code}" if code < 0 else f"exit code {code}"
        return f"cannot be decoded: the process that decoded it ended with {ended}"

    def kill(self) -> None:
        """Kill it; a thread that waits for its answer is told, and ends it."""
        self._process.kill()

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._requests, self._answers):
            with suppress(OSError):
                pipe.close()

    def disown(self) -> None:
        """In a process that was forked: close what leads to the child, which is not its own."""
        self._process.returncode = 0
        for pipe in (self._requests, self._answers):
            with suppress(OSError):
                pipe.raw.close()  # and not what is buffered, which belongs to a request of the other process


class _Pool:
    def __init__(self) -> None:
        self._places = threading.BoundedSemaphore(count())
        self._lock = threading.Lock()
        self._idle: list[_Child] = []
        self._busy: set[_Child] = set()

    def ask(self, request: JsonObject, data: bytes, most: int) -> tuple[JsonObject, bytearray]:
        with self._places:
            for _ in range(2):
                child = self._borrowed()
                try:
                    return child.ask(request, data, most)
                except _GoneError:
                    continue
                finally:
                    with self._lock:
                        self._busy.discard(child)
                        if child.lives:
                            self._idle.append(child)
            raise DecoderError("cannot be decoded: the process that should decode it ended at once")

    def _borrowed(self) -> _Child:
        with self._lock:
            while self._idle and not self._idle[-1].lives:
                self._idle.pop().end()
            try:
                child = self._idle.pop() if self._idle else _Child()
            except OSError as error:
                raise DecoderError(f"cannot be decoded: no process can be started for it, {error}") from error
            self._busy.add(child)
            return child

    def close(self) -> None:
        with self._lock:
            while self._idle:
                self._idle.pop().end()
            for child in self._busy:
                child.kill()

    def disown(self) -> None:
        for child in (*self._idle, *self._busy):
            child.disown()


_current = [_Pool()]
"""One; a list, since a process that was forked gets another."""


def ask(request: JsonObject, data: bytes, most: int) -> tuple[JsonObject, bytearray]:
    """Let a child decode a file; wait for a free one, and then for its answer.

    Args:
        request: as `cnnkit.decoding.apart` makes it.
        data: the content of the file.
        most: bytes of pixels that an answer may have.

    Raises:
        DecoderError: it took too long or too much memory, or crashed.
    """
    return _current[0].ask(request, data, most)


def close() -> None:
    """Kill all children; those who wait for an answer get a `DecoderError`. The next file starts another child."""
    _current[0].close()


def _after_fork() -> None:
    _current.pop().disown()
    _current.append(_Pool())


atexit.register(close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

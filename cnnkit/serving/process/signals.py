"""The signals that ask a server to stop."""

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType

_STOPPING = ("SIGINT", "SIGTERM", "SIGBREAK" if sys.platform == "win32" else "SIGHUP")


@contextlib.contextmanager
def handling(stop: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Call `stop` for the signals that ask for it, but for those that the process was told to ignore, as by nohup."""
    before = {}
    for name in _STOPPING:
        number = getattr(signal, name)
        if signal.getsignal(number) != signal.SIG_IGN:
            before[number] = signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""SIGTERM, Ctrl-C and a terminal that goes away as requests that a long command grants between two steps."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Self

_SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP") if hasattr(signal, name)]


def name_of(number: int) -> str:
    """Return what users call a signal."""
    return "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name


class Terminated(SystemExit):
    """A signal other than Ctrl-C where it stops at once."""


class StopRequest:
    """Remembers the first signal after somebody first asked; before that, and from the second on, they stop at once.

    A context manager: the handlers that were there come back at its end. A signal that is ignored, as under nohup and
    in the background of a script, stays so.
    """

    def __init__(self) -> None:
        self.signal = 0
        self._asked = False
        self._before: dict[int, object] = {}

    def wanted(self) -> bool:
        """Return whether a signal asked to stop."""
        self._asked = True
        return self.signal != 0

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {
                number: signal.signal(number, self._take)
                for number in _SIGNALS
                if signal.getsignal(number) != signal.SIG_IGN
            }
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _take(self, number: int, frame: FrameType | None) -> None:
        if self._asked and not self.signal:
            self.signal = number
        elif number == signal.SIGINT:
            raise KeyboardInterrupt
        else:
            raise Terminated(128 + number)

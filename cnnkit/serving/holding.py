"""Requests that come while their model takes no more: held for a moment, and let in or refused together.

A client that asks again as soon as it is refused would otherwise take the time that those inside need; and to wake up
for each of many refusals costs more than the refusals themselves.
"""

import asyncio
from collections import deque
from collections.abc import Callable

HOLD_SECONDS = 0.03
_TICK_SECONDS = 0.005


class Holding:
    """Holds requests of all connections of an event loop."""

    def __init__(self) -> None:
        self._held: deque[tuple[float, Callable[[], object]]] = deque()

    def hold(self, start: Callable[[], object]) -> None:
        """Let a request start in `HOLD_SECONDS`, or a tick later."""
        loop = asyncio.get_running_loop()
        if not self._held:
            loop.call_later(HOLD_SECONDS, self._release)
        self._held.append((loop.time() + HOLD_SECONDS, start))

    def _release(self) -> None:
        loop = asyncio.get_running_loop()
        while self._held and self._held[0][0] <= loop.time():
            # Not at once: it may fail, or hold what its client sent next, while the timer is not set again yet.
            loop.call_soon(self._held.popleft()[1])
        if self._held:
            loop.call_later(_TICK_SECONDS, self._release)

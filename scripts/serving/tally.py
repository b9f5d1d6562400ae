"""What became of requests: how many were answered, refused and lost, and how long they took."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field

import numpy as np


@dataclass
class Tally:
    """What became of the requests.

    Attributes:
        sent: requests handed to a connection.
        latencies: of the complete answers, in seconds, by status.
        ended: when each answer with status 200 was complete, in seconds from the start.
        lost: requests without a complete answer, by what happened.
        unconnected: connections that could not be made; they carry no request.
        problems: answers that are not what they should be.
        lateness: open loop: by how much a request was sent later than it was due, in seconds.
        cpu_seconds: processor time of this process meanwhile.
    """

    sent: int = 0
    latencies: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    ended: list[float] = field(default_factory=list)
    lost: Counter[str] = field(default_factory=Counter)
    unconnected: Counter[str] = field(default_factory=Counter)
    problems: Counter[str] = field(default_factory=Counter)
    lateness: list[float] = field(default_factory=list)
    cpu_seconds: float = 0.0

    @property
    def answered(self) -> int:
        """Requests that were done."""
        return len(self.latencies.get(200, ()))

    @property
    def refused(self) -> int:
        """Requests that the server had no room for."""
        return len(self.latencies.get(503, ()))

    @property
    def adds_up(self) -> bool:
        """Whether each request was answered or refused."""
        return self.sent == self.answered + self.refused

    def rate(self, first: float, last: float) -> float:
        """Return the answers per second with status 200 between two moments, in seconds from the start."""
        return sum(first <= moment < last for moment in self.ended) / (last - first)

    def percentile_ms(self, percent: float, status: int = 200) -> float:
        """Return a percentile of the latencies in milliseconds; 0 where there are none."""
        found = self.latencies.get(status)
        return float(np.percentile(found, percent)) * 1e3 if found else 0.0

    def cost(self) -> dict[str, float]:
        """Return what the generator took of the processor, and how late it was."""
        late = float(np.percentile(self.lateness, 99)) * 1e3 if self.lateness else 0.0
        return {"generator_us": self.cpu_seconds / max(1, self.sent) * 1e6, "late_p99_ms": late}

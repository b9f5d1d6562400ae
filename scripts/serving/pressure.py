"""Ten times what the server can do, for a minute: a closed loop on LeNet, and an open loop on AlexNet.

LeNet is answered faster than one Python process can ask ten times over; so there it is ten times the connections. Each
asks again at once; half of them wait for a second where they were refused, as `Retry-After` says. AlexNet takes so long
that ten times its peak rate is no effort to send.
"""

import http.client
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

import cnnkit
from serving.contest import CONNECTIONS
from serving.figures import Figure, Part
from serving.servers import LENET, Server, cnnkit_command, digit, label_of, post, running
from serving.tally import Tally
from serving.traffic import closed_loop, open_loop

TIMES = 10
REFUSAL_BAR_MS, GOODPUT_BAR = 50.0, 0.9
MOST_CONNECTIONS = 850
STEP_SECONDS = 0.002
"""Between bursts of the open loop: what the generator takes of the processor, the server cannot have."""
RAMP = 1.0
"""Seconds at the start that are no part of a rate."""


class Probes:
    """Asks for health and metrics ten times a second, as whoever runs the server does."""

    def __init__(self, server: Server) -> None:
        self.statuses: Counter[str] = Counter()
        self.seconds: list[float] = []
        self._server, self._over = server, threading.Event()

    @contextmanager
    def beside(self) -> Iterator["Probes"]:
        """Probe while the block runs."""
        thread = threading.Thread(target=self._probe)
        thread.start()
        try:
            yield self
        finally:
            self._over.set()
            thread.join()

    def _probe(self) -> None:
        while not self._over.wait(0.1):
            for path in ("/v2/health/ready", "/metrics"):
                began = time.perf_counter()
                try:
                    self.statuses[str(self._server.get(path)[0])] += 1
                except (OSError, http.client.HTTPException) as error:
                    self.statuses[type(error).__name__] += 1
                self.seconds.append(time.perf_counter() - began)


def heavy_model(folder: Path) -> Path:
    """Export AlexNet, with random weights: they cost as much as trained ones."""
    return cnnkit.export("alexnet", folder / "alexnet.onnx").path


def peak_rate(port: int, request: bytes, wrong: Callable[[bytes], str], seconds: float) -> float:
    """Return the answers a second to as many clients as the contest has, for ten seconds at most."""
    closed_loop(port, request, wrong, CONNECTIONS, min(2.0, seconds))
    return closed_loop(port, request, wrong, CONNECTIONS, min(10.0, seconds)).rate(0, min(10.0, seconds))


def overload(folder: Path, seconds: float, *, heavy: Path | None) -> Part:
    """Overload both, and return what became of each request."""
    png = digit()
    figures, details, problems = [], {}, []
    for name, model in (("lenet", LENET), ("alexnet", heavy or heavy_model(folder))):
        with running("cnnkit", cnnkit_command(f"{name}={model}", "--workers", "1"), folder) as server:
            path = f"/predict/{name}"
            request, label = post(path, png, "image/png"), label_of(server.ask("POST", path, png)[1])

            def wrong(body: bytes, label: str = label) -> str:
                return "" if label_of(body) == label else "another label"

            load = server.port, request, wrong
            before = peak_rate(*load, seconds)
            with Probes(server).beside() as probes:
                if name == "lenet":
                    tally = closed_loop(*load, TIMES * CONNECTIONS, seconds, polite=True)
                    how = f"{TIMES * CONNECTIONS} connections, half of them polite"
                else:
                    tally = open_loop(*load, TIMES * before, seconds, CONNECTIONS, MOST_CONNECTIONS, STEP_SECONDS)
                    how = f"{TIMES * before:,.0f}/s"
            after = peak_rate(*load, seconds)
            peak = (before + after) / 2  # the machine is not the same from one minute to the next
            figures += rows(f"{name}, {how}, {seconds:.0f} s", tally, peak, probes, seconds)
            details[name] = {
                "peak_before": before, "peak_after": after,
                "sent": tally.sent, "answered": tally.answered, "refused": tally.refused,
                "lost": dict(tally.lost), "unconnected": dict(tally.unconnected), "problems": dict(tally.problems),
                "refusal_p50_ms": tally.percentile_ms(50, 503), "refusal_p99_ms": tally.percentile_ms(99, 503),
                "answer_p50_ms": tally.percentile_ms(50), "answer_p99_ms": tally.percentile_ms(99),
                "probes": dict(probes.statuses), **tally.cost(),
            }  # fmt: skip
            found = tally.problems + tally.lost + tally.unconnected
            problems += [f"{name}: {count} × {what}" for what, count in found.items()]
    return Part("overload", figures, details, problems)


def rows(title: str, tally: Tally, peak: float, probes: Probes, seconds: float) -> list[Figure]:
    """Return the rows of one overload."""
    p99, goodput = tally.percentile_ms(99, 503), tally.rate(min(RAMP, seconds / 2), seconds) / peak
    healthy = set(probes.statuses) <= {"200"}
    counted = f"{tally.sent:,} = {tally.answered:,} + {tally.refused:,}" + ("" if tally.adds_up else " + some lost")
    probe = float(np.percentile(probes.seconds, 99)) * 1e3 if probes.seconds else 0.0
    return [
        Figure(
            f"{title}: refusals, p99", f"{p99:.1f} ms" if tally.refused else "none", f"≤ {REFUSAL_BAR_MS:.0f} ms",
            p99 <= REFUSAL_BAR_MS,
        ),
        Figure("… goodput / peak", f"{goodput:.2f} of {peak:,.0f}/s", f"≥ {GOODPUT_BAR}", goodput >= GOODPUT_BAR),
        Figure("… sent = answered + refused", counted, "exactly", tally.adds_up),
        Figure("… health and metrics meanwhile", f"{dict(probes.statuses)}, p99 {probe:.0f} ms", "all 200", healthy),
    ]  # fmt: skip

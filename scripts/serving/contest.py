"""Requests a second of cnnkit, LitServe and a bare ASGI function, measured by wrk in interleaved rounds."""

import base64
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from serving.figures import Figure, Part
from serving.servers import (
    LENET,
    READY,
    Server,
    cnnkit_command,
    contender_command,
    digit,
    label_of,
    launch,
    post,
)  # fmt: skip
from serving.traffic import closed_loop, open_loop

CONNECTIONS = 32
BARS = {"litserve": 4.0, "bare": 1.5}
"""Requests a second of cnnkit divided by those of the candidate: at least this."""
TAIL_BAR = 1.5
"""p99 of cnnkit at half of its peak rate, divided by the bare function's at the same rate: at most this."""
LITSERVE_SETTINGS = (
    (), ("--fast-queue",), ("--max-batch", "8"), ("--max-batch", "32"), ("--max-batch", "32", "--fast-queue"),
    ("--max-batch", "8", "--batch-timeout", "0.002"), ("--max-batch", "32", "--batch-timeout", "0.005"),
)  # fmt: skip
TRIES = 2
"""The best of so many counts."""


@dataclass
class Candidate:
    """A server, and how it is asked."""

    name: str
    command: Sequence[str]
    ready: str
    path: str
    body: bytes
    kind: str
    label: str
    server: Server = field(init=False)

    def start(self, folder: Path) -> None:
        """Start it, and make sure that it gives the label."""
        self.server = launch(self.name, self.command, folder, self.ready)
        status, answer = self.server.ask("POST", self.path, self.body, self.kind)
        if status != 200 or self.wrong(answer):
            self.stop()
            sys.exit(f"{self.name} answers {status} {answer[:300]!r} in place of the label {self.label!r}")

    def stop(self) -> None:
        """Stop it; LitServe does not always end by itself."""
        self.server.stop(patience=30 if self.name == "cnnkit" else 3)

    def wrong(self, answer: bytes) -> str:
        """Return what is wrong with an answer, nothing where it has the label."""
        return "" if label_of(answer) == self.label else "another label"

    def request(self) -> bytes:
        """Return the bytes of a request."""
        return post(self.path, self.body, self.kind)

    def wrk(self, folder: Path, seconds: float) -> dict[str, float]:
        """Return requests a second, and what else wrk says."""
        body = folder / "body"
        body.write_bytes(self.body)
        ended = subprocess.run(
            ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds:.0f}s", "--latency",  # noqa: S607
             "-s", str(Path(__file__).with_name("wrk.lua")), f"http://127.0.0.1:{self.server.port}{self.path}",
             "--", str(body), self.kind],
            check=True, capture_output=True, encoding="utf-8",
        )  # fmt: skip
        found: dict[str, float] = json.loads(ended.stdout.splitlines()[-1])
        if found["refused"] or found["lost"]:
            sys.exit(f"{self.name}: {found['refused']:.0f} requests refused, {found['lost']:.0f} lost:\n{ended.stdout}")
        return {**found, "rate": found["requests"] / found["seconds"]}


def candidates(png: bytes, label: str, litserve: Sequence[str]) -> list[Candidate]:
    """Return the three, with these settings of LitServe."""
    coded = json.dumps({"image": base64.b64encode(png).decode()}).encode()
    ours = cnnkit_command(f"lenet={LENET}", "--workers", "1")
    peer = contender_command("litserve_peer", LENET, *litserve)
    return [
        Candidate("cnnkit", ours, READY, "/predict/lenet", png, "image/png", label),
        Candidate("litserve", peer, "/health", "/predict", coded, "application/json", label),
        Candidate("bare", contender_command("bare", LENET), "/", "/predict/lenet", png, "image/png", label),
    ]


def require_wrk() -> None:
    """Leave with a clear line where wrk is not installed."""
    if shutil.which("wrk") is None:
        sys.exit("wrk is not installed: apt-get install wrk (Debian and Ubuntu), brew install wrk (macOS).")


def tune_litserve(png: bytes, label: str, folder: Path, seconds: float) -> tuple[Sequence[str], dict[str, float]]:
    """Return LitServe's best settings, and what it did by each."""
    rates: dict[Sequence[str], float] = {}
    for settings in LITSERVE_SETTINGS * TRIES:
        candidate = candidates(png, label, settings)[1]
        candidate.start(folder)
        candidate.wrk(folder, 1)
        rate = candidate.wrk(folder, seconds)["rate"]
        candidate.stop()
        rates[settings] = max(rate, rates.get(settings, 0.0))
        print(f"LitServe {' '.join(settings) or 'as it comes'}: {rate:,.0f}/s", file=sys.stderr)
    best = max(rates, key=lambda settings: rates[settings])
    return best, {" ".join(settings): rate for settings, rate in rates.items()}


def contest(folder: Path, rounds: int, seconds: float) -> Part:
    """Measure the three in turn, each in new processes each round."""
    require_wrk()
    png = digit()
    best, tried = tune_litserve(png, "7", folder, seconds)
    rates: dict[str, list[float]] = {}
    for turn in range(rounds):
        for candidate in candidates(png, "7", best):
            candidate.start(folder)
            candidate.wrk(folder, 1)
            rates.setdefault(candidate.name, []).append(candidate.wrk(folder, seconds)["rate"])
            candidate.stop()
            print(f"round {turn + 1}: {candidate.name} {rates[candidate.name][-1]:,.0f}/s", file=sys.stderr)
    figures = [Figure(f"requests/s, {name}", f"{median(found):,.0f}") for name, found in rates.items()]
    for name, bar in BARS.items():
        ratios = [ours / theirs for ours, theirs in zip(rates["cnnkit"], rates[name], strict=True)]
        spread = f"{median(ratios):.2f} × ({min(ratios):.2f}–{max(ratios):.2f})"
        figures.append(Figure(f"cnnkit / {name}", spread, f"≥ {bar:g} ×", median(ratios) >= bar))
    details = {"rates": rates, "litserve settings": list(best), "litserve tried": tried, "rounds": rounds}
    return Part("requests a second", figures, details)


def half_load(folder: Path, rounds: int, seconds: float) -> Part:
    """Measure latencies of both at half of cnnkit's peak rate: at a constant rate, and from when each was due."""
    png = digit()
    rows: list[dict[str, Any]] = []
    peak = 0.0
    for _ in range(rounds):
        with ExitStack() as running:
            for candidate in candidates(png, "7", ())[::2]:
                candidate.start(folder)
                running.callback(candidate.stop)
                args = candidate.server.port, candidate.request(), candidate.wrong
                closed_loop(*args, CONNECTIONS, 1)
                if candidate.name == "cnnkit":
                    peak = candidate.wrk(folder, seconds)["rate"]
                tally = open_loop(*args, peak / 2, seconds, CONNECTIONS, 4 * CONNECTIONS)
                if not tally.adds_up or tally.problems:
                    sys.exit(f"{candidate.name}: {tally.lost} lost, {dict(tally.problems)}")
                p50, p99 = tally.percentile_ms(50), tally.percentile_ms(99)
                rows.append({"name": candidate.name, "peak": peak, "p50_ms": p50, "p99_ms": p99, **tally.cost()})
    ours, bare = ([row for row in rows if row["name"] == name] for name in ("cnnkit", "bare"))
    figures = []
    for name, found in (("cnnkit", ours), ("bare, at the same rate", bare)):
        p50, p99 = (median(row[key] for row in found) for key in ("p50_ms", "p99_ms"))
        figures.append(Figure(f"at half of cnnkit's peak rate, {name}", f"p50 {p50:.2f} ms, p99 {p99:.2f} ms"))
    ratio = median(one["p99_ms"] / other["p99_ms"] for one, other in zip(ours, bare, strict=True))
    figures.append(Figure("… p99, cnnkit / bare", f"{ratio:.2f} ×", f"≤ {TAIL_BAR:g} ×", ratio <= TAIL_BAR))
    generator = ours
    figures.append(Figure(
        "the generator itself", f"{median(r['generator_us'] for r in generator):.0f} µs of CPU a request, "
        f"p99 {median(r['late_p99_ms'] for r in generator):.2f} ms late",
    ))  # fmt: skip
    return Part("latency", figures, {"rounds": rows})

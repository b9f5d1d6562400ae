"""SIGTERM at a random moment under load, again and again: no accepted request may be lost, and the exit code is 0.

A request counts as lost when it was sent on a connection that had been answered on before, while that was open at the
server's side, or on a new one, and no complete answer came. Not lost, and counted apart: a request that met a close
already under way ("crossed": HTTP has no way around it, and a client sends it again).
"""

import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from serving.clients import Client, LostError
from serving.figures import Figure, Part
from serving.servers import LENET, cnnkit_command, digit, label_of, launch, post

VARIANTS = ((), ("--workers", "2"), ("--max-delay-ms", "20"), ("--queue-size", "8"))
"""How the server runs, in turn: as it comes, in several processes, with batches that wait, with refusals."""
CLIENTS, LONGEST_PAUSE, LONGEST_LOAD = 24, 0.004, 0.6
LONGEST_STOP = 20.0


@dataclass
class Fate:
    """What became of the requests of one round."""

    statuses: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    answered_after: int = 0


class Round:
    """One server, its clients, and the moment of its SIGTERM."""

    def __init__(self, port: int, request: bytes, label: str, dice: random.Random) -> None:
        self.port, self.request, self.label = port, request, label
        self.fates = [Fate() for _ in range(CLIENTS)]
        self.signalled = threading.Event()
        seeds = [dice.random() for _ in range(CLIENTS)]
        # Every other client pauses between its requests, so that some connections are idle when the signal comes.
        self.threads = [
            threading.Thread(target=self._client, args=(self.fates[index], random.Random(seed), index % 2))  # noqa: S311
            for index, seed in enumerate(seeds)
        ]

    def _client(self, fate: Fate, dice: random.Random, pauses: int) -> None:
        with Client(self.port, LONGEST_STOP) as client:
            while True:
                if pauses:
                    time.sleep(dice.uniform(0, LONGEST_PAUSE))
                try:
                    self._ask(client, fate)
                except LostError as lost:
                    what = "crossed" if lost.late else "lost"
                    fate.statuses[what] += 1
                    if what == "lost" or not self.signalled.is_set():
                        fate.problems.append(f"{what} after {client.answers_here} answers: {lost}")
                except OSError as error:  # no connection, so that nothing was sent
                    if not self.signalled.is_set():
                        fate.problems.append(f"no connection before the signal: {error}")
                    return

    def _ask(self, client: Client, fate: Fate) -> None:
        client.connect()
        before = self.signalled.is_set()
        answer = client.ask(self.request)
        fate.statuses[str(answer.status)] += 1
        fate.answered_after += before and answer.status == 200
        if answer.status == 200 and label_of(answer.body) != self.label:
            fate.problems.append(f"another label: {answer.body[:200]!r}")
        elif answer.status == 503 and "retry-after" not in answer.headers:
            fate.problems.append("503 without Retry-After")
        elif answer.status not in {200, 503}:
            fate.problems.append(f"status {answer.status}: {answer.body[:200]!r}")


def sigterms(folder: Path, times: int, seed: int) -> Part:
    """Stop so many servers, and return what became of their requests."""
    dice = random.Random(seed)  # noqa: S311
    request = post("/predict/lenet", digit(), "image/png")
    total: Counter[str] = Counter()
    problems, seconds, codes, afterwards = [], [], Counter[int](), 0
    for turn in range(times):
        options = VARIANTS[turn % len(VARIANTS)]
        server = launch("cnnkit", cnnkit_command(f"lenet={LENET}", *options), folder)
        current = Round(server.port, request, "7", dice)
        for thread in current.threads:
            thread.start()
        moment = dice.uniform(0.05, LONGEST_LOAD)
        time.sleep(moment)
        began = time.perf_counter()
        current.signalled.set()
        code = server.stop(LONGEST_STOP)
        seconds.append(time.perf_counter() - began)
        for thread in current.threads:
            thread.join()
        codes[code] += 1
        found = [problem for fate in current.fates for problem in fate.problems]
        if code:
            found.append(f"exit code {code}: {server.tail()}")
        which = (
            f"turn {turn} of seed {seed}, {' '.join(options) or 'no options'}, {moment:.3f} s after the first request"
        )
        problems += [f"{which}: {problem}" for problem in found]
        for fate in current.fates:
            total += fate.statuses
            afterwards += fate.answered_after
    figures = [
        Figure(f"{times} SIGTERMs under load: accepted requests lost", str(total["lost"]), "0", not total["lost"]),
        Figure("… exit codes", str(dict(codes)), "all 0", set(codes) == {0}),
        Figure("… answered, of them asked after the signal", f"{total['200']:,}, {afterwards:,}"),
        Figure(
            "… refused, crossed a close",
            ", ".join(f"{total[k]:,}" for k in ("503", "crossed")),
        ),
        Figure("… seconds from signal to end", f"{min(seconds):.2f}–{max(seconds):.2f}"),
    ]
    return Part("SIGTERM", figures, {"fates": dict(total), "seconds": seconds, "seed": seed}, problems)

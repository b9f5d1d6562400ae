"""Clients that send a byte a second hold no place beyond the deadline, and a good client hardly notices them.

Their kinds, in turn: a header that never ends, a body of a known length, a body in chunks, and the header of a second
request on a connection whose first was answered. The good client asks at a constant pace, alone and beside them.
"""

import asyncio
import itertools
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from serving.clients import Client
from serving.figures import Figure, Part
from serving.servers import LENET, Server, cnnkit_command, digit, post, running

BYTE_SECONDS, GRACE_SECONDS, PACE_SECONDS = 1.0, 1.0, 0.01
FACTOR_BAR, FEWEST = 2.0, 500
"""The good client's p99 beside the dribblers divided by that without them: at most this, for so many answers."""

START = b"POST /predict/lenet HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\n"
KINDS = {
    "header": (START, b"X-Slow: " + b"a" * 4000),
    "body": (START + b"Content-Length: 4000\r\n\r\n", b"b" * 4000),
    "chunked body": (START + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nc\r\n" * 1000),
    "second header": (b"", START + b"X-Slow: " + b"d" * 4000),
}


@dataclass
class Dribbled:
    """How long a dribbler held its connection, and with what it was sent away; None where it was not."""

    kind: str
    seconds: float | None = None
    answer: bytes = b""

    def how(self) -> str:
        """Return the status of the answer, or what happened without one."""
        if self.answer.startswith(b"HTTP/1.1 "):
            return self.answer.split(b" ", 2)[1].decode("latin-1")
        return "still open" if self.seconds is None else "closed"


async def dribble(port: int, kind: str, patience: float, first: bytes) -> Dribbled:
    """Send a byte a second until the server closes the connection."""
    found = Dribbled(kind)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    begin, slow = KINDS[kind]
    if kind == "second header":
        writer.write(first)
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
        await reader.readexactly(int(length))
    began = time.perf_counter()
    reading = asyncio.create_task(_rest(reader))
    writer.write(begin)
    for byte in slow:
        writer.write(bytes([byte]))
        done, _ = await asyncio.wait([reading], timeout=BYTE_SECONDS)
        if done:
            found.seconds, found.answer = time.perf_counter() - began, reading.result()
            break
        if time.perf_counter() - began > patience:
            break
    reading.cancel()
    writer.transport.abort()
    return found


async def _rest(reader: asyncio.StreamReader) -> bytes:
    answer = b""
    try:
        while piece := await reader.read(65536):
            answer += piece
    except OSError:
        pass
    return answer


def good_client(port: int, seconds: float, request: bytes) -> tuple[list[float], list[str]]:
    """Ask at a constant pace; return the latencies in seconds from when each request was due, and what went wrong."""
    latencies: list[float] = []
    problems: list[str] = []
    began = time.perf_counter()
    with Client(port) as client:
        for turn in range(int(seconds / PACE_SECONDS)):
            due = began + turn * PACE_SECONDS
            time.sleep(max(0.0, due - time.perf_counter()))
            answer = client.ask(request)
            latencies.append(time.perf_counter() - due)
            if answer.status != 200:
                problems.append(f"the good client: status {answer.status}: {answer.body[:200]!r}")
    return latencies, problems


async def _beside(
    server: Server, count: int, deadline: float, request: bytes
) -> tuple[list[Dribbled], list[float], list[str]]:
    kinds = itertools.islice(itertools.cycle(KINDS), count)
    patience = deadline + GRACE_SECONDS + 1
    tasks = [asyncio.create_task(dribble(server.port, kind, patience, request)) for kind in kinds]
    await asyncio.sleep(0.5)  # until all are connected
    latencies, problems = await asyncio.to_thread(good_client, server.port, deadline - 1, request)
    return await asyncio.gather(*tasks), latencies, problems


def dribblers(folder: Path, count: int, deadline: float) -> Part:
    """Let so many dribble at a server whose deadline for receiving is so many seconds."""
    request = post("/predict/lenet", digit(), "image/png")
    with running("cnnkit", cnnkit_command(f"lenet={LENET}", "--receive-seconds", f"{deadline:g}"), folder) as server:
        good_client(server.port, 1, request)
        before, problems = good_client(server.port, deadline - 1, request)
        found, beside, more = asyncio.run(_beside(server, count, deadline, request))
        after, last = good_client(server.port, deadline - 1, request)
    alone, among = (float(np.percentile(values, 99)) * 1e3 for values in (before + after, beside))
    held = [each.seconds for each in found if each.seconds is not None]
    latest, kept = max(held, default=float("inf")), count - len(held)
    starts = Counter(f"{each.kind}: {each.how()}" for each in found)
    problems += more + last
    limit, judged = deadline + GRACE_SECONDS, len(beside) >= FEWEST
    problems += [f"{each.kind}: not closed after {limit + 1:g} s" for each in found if each.seconds is None][:5]
    figures = [
        Figure(
            f"{count} clients dribbling a byte a second: the last closed",
            f"after {latest:.1f} s" if not kept else f"{kept} not at all",
            f"≤ {limit:g} s", not kept and latest <= limit,
        ),
        Figure("… how", ", ".join(f"{what} ({many})" for what, many in sorted(starts.items()))),
        Figure(
            "… a good client's p99", f"{among:.2f} ms, without them {alone:.2f} ms = {among / alone:.2f} ×",
            f"≤ {FACTOR_BAR:g} ×" if judged else "", not judged or among <= FACTOR_BAR * alone,
        ),
    ]  # fmt: skip
    details = {"held_seconds": sorted(held), "good_p99_ms": among, "good_alone_p99_ms": alone, "how": dict(starts)}
    return Part("dribblers", figures, details, problems)

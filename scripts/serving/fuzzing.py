"""Thousands of mutated images and requests: each is answered, in the right form, by a server that stays as it was.

What fails is saved, and `soak_serve.py --replay FILE` sends it again.
"""

import http.client
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

from serving.clients import Client, LostError
from serving.exchanges import RECEIVE_SECONDS, exchange, must_be_answered
from serving.figures import Figure, Part
from serving.mutated_images import image
from serving.mutated_requests import request
from serving.servers import LENET, Server, cnnkit_command, digit, label_of, post, running

ALLOWED = frozenset({200, 204, 400, 404, 405, 408, 413, 415, 421, 422, 431, 503})
IMAGE_STATUSES = frozenset({200, 400, 413, 415, 422, 503})
MEMORY_BAR_MIB = 256.0
CLIENTS = {"images": 8, "requests": 48}
KINDS = ("image/png", "image/jpeg", "image/webp", "image/bmp", "application/octet-stream", "text/plain")


@dataclass
class Found:
    """What came back so far, from all clients."""

    folder: Path
    statuses: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    peak_mib: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, what: str) -> None:
        """Count an answer."""
        with self._lock:
            self.statuses[what] += 1

    def fail(self, name: str, sent: bytes, problem: str) -> None:
        """Keep a request that was not answered as it must be."""
        with self._lock:
            self.problems.append(f"{name}: {problem}")
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / f"{name}.http").write_bytes(sent)


def wrong_with(status: int, kind: str, body: bytes, *, retry: bool, allowed: frozenset[int] = ALLOWED) -> str:
    """Return what is wrong with an answer, nothing where it is as it must be."""
    if status not in allowed:
        return f"status {status}: {body[:300]!r}"
    if status == 204:  # OPTIONS
        return ""
    if not kind.startswith("application/json"):
        return f"an error as {kind or 'nothing'}: {body[:300]!r}" if status != 200 else ""
    try:
        document = json.loads(body, parse_constant=_refuse)
    except ValueError as error:
        return f"{status} with what is no JSON ({error}): {body[:300]!r}"
    if status == 200:
        return ""
    # The simple form has it all under `error`; in the Open Inference Protocol's `error` is the sentence.
    holder = document.get("error") if isinstance(document, dict) else None
    fields = holder if isinstance(holder, dict) else {**document, "message": holder} if isinstance(holder, str) else {}
    if not all(isinstance(fields.get(name), str) and fields[name] for name in ("code", "message", "request_id")):
        return f"{status} in another form: {body[:300]!r}"
    if fields["code"] == "internal":
        return f"something broke inside: {body[:300]!r}"
    if status == 503 and not retry:
        return "503 without Retry-After"
    return ""


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def send_image(client: Client, found: Found, seed: int, index: int) -> None:
    """Send a mutated image."""
    dice = random.Random(f"path {seed} {index}")  # noqa: S311
    model, show = dice.choice(("lenet", "shapes-cnn")), dice.choice(("", "", "", "?show=input,features"))
    sent = post(f"/predict/{model}{show}", image(seed, index), dice.choice(KINDS))
    name = f"image-{seed}-{index}"
    try:
        answer = client.ask(sent)
    except (OSError, LostError) as error:
        found.fail(name, sent, f"{type(error).__name__}: {error}")
        return
    found.count(str(answer.status))
    kind, retry = answer.headers.get("content-type", ""), "retry-after" in answer.headers
    if problem := wrong_with(answer.status, kind, answer.body, retry=retry, allowed=IMAGE_STATUSES):
        found.fail(name, sent, problem)


def send_request(client: Client, found: Found, seed: int, index: int) -> None:
    """Send a mutated request."""
    sent = request(seed, index)
    name = f"request-{seed}-{index}"
    try:
        answers, seconds = exchange(client.port, sent)
    except OSError as error:
        found.fail(name, sent, f"{type(error).__name__}: {error}")
        return
    for answer in answers:
        found.count(str(answer.status))
        # To HEAD, the body is what is not sent.
        headless = sent.startswith(b"HEAD ") and answer.status in ALLOWED and not answer.body
        problem = wrong_with(answer.status, answer.kind, answer.body, retry=answer.retry)
        if problem and not headless:
            found.fail(name, sent, problem)
    if not answers:
        due = must_be_answered(sent)
        found.count("closed without an answer" if seconds is not None else "none")
        if due or seconds is None:
            found.fail(
                name, sent, f"no answer, {'closed' if seconds is not None else 'still open'}; {due or 'it goes on'}"
            )


SENDERS: dict[str, Callable[[Client, Found, int, int], None]] = {"images": send_image, "requests": send_request}


def fuzz(folder: Path, what: str, times: int, seed: int, save: Path) -> Part:
    """Send so many mutated `images` or `requests`."""
    found = Found(save)
    numbers = iter(range(times))
    shapes = LENET.parents[1] / "shapes-cnn-basicshapes" / "model.onnx"
    options = ("--receive-seconds", f"{RECEIVE_SECONDS:g}")
    with running("cnnkit", cnnkit_command(f"lenet={LENET}", f"shapes-cnn={shapes}", *options), folder) as server:
        for index in range(min(100, times)):  # what is made once has been made
            exchange(server.port, post("/predict/lenet", image(seed - 1, index), "image/png"))
        before = server.memory_mib()
        began = time.perf_counter()
        with ThreadPoolExecutor(CLIENTS[what]) as threads:
            sending = [threads.submit(_client, server, found, what, seed, numbers) for _ in range(CLIENTS[what])]
            while wait(sending, timeout=0.1).not_done:
                found.peak_mib = max(found.peak_mib, server.memory_mib())
        for each in sending:
            each.result()
        seconds = time.perf_counter() - began
        after = server.memory_mib()
        problems = [*found.problems, *_health(server)]
    sums = ", ".join(f"{status}: {number:,}" for status, number in sorted(found.statuses.items()))
    growth = after - before
    server_errors = sum(number for status, number in found.statuses.items() if status[0] == "5" and status != "503")
    figures = [
        Figure(f"{times:,} mutated {what}: 5xx but 503", str(server_errors), "0", not server_errors),
        Figure("… problems of any kind", str(len(problems)), "0", not problems),
        Figure(
            "… memory grows by", f"{growth:.0f} MiB, {found.peak_mib - before:.0f} meanwhile",
            f"≤ {MEMORY_BAR_MIB:g} MiB", growth <= MEMORY_BAR_MIB,
        ),
        Figure("… answers by status", sums),
    ]  # fmt: skip
    details = {
        "statuses": dict(found.statuses),
        "seconds": seconds,
        "seed": seed,
        "before_mib": before,
        "after_mib": after,
    }
    return Part(f"mutated {what}", figures, details, problems)


def _client(server: Server, found: Found, what: str, seed: int, numbers: Iterator[int]) -> None:
    with Client(server.port) as client:
        # One iterator for all: each number goes to one of them.
        for index in numbers:
            SENDERS[what](client, found, seed, index)
            if server.process.poll() is not None:
                return


def _health(server: Server) -> Iterator[str]:
    """Yield what is not as it was before."""
    if server.process.poll() is not None:
        yield f"the server ended with exit code {server.process.returncode}: {server.tail()}"
        return
    try:
        if (status := server.get("/v2/health/ready")[0]) != 200:
            yield f"not ready: {status}"
        if label_of(server.ask("POST", "/predict/lenet", digit())[1]) != "7":
            yield "it gives another label than before"
    except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
        yield f"no good answer any more: {error}"
    if "Traceback (most recent call last)" in (log := server.log.read_text("utf-8", "replace")):
        yield f"a traceback in the log: {log[log.index('Traceback') :][:1500]}"


def replay(folder: Path, file: Path) -> Part:
    """Send a saved request again, and show what comes back."""
    shapes = LENET.parents[1] / "shapes-cnn-basicshapes" / "model.onnx"
    options = ("--receive-seconds", f"{RECEIVE_SECONDS:g}")
    with running("cnnkit", cnnkit_command(f"lenet={LENET}", f"shapes-cnn={shapes}", *options), folder) as server:
        answers, seconds = exchange(server.port, file.read_bytes())
        health, log = list(_health(server)), server.tail()
    figures = [Figure(f"{file.name}: {answer.status} {answer.kind}", repr(answer.body[:300])) for answer in answers]
    figures.append(Figure("closed", f"after {seconds:.2f} s" if seconds is not None else "no"))
    return Part("replay", figures, {}, [*health, f"the log: {log}"] if health else [])

"""The load generators of `scripts/bench_serve.py`: every request is accounted for, and a stall cannot hide."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
ANSWERS = {
    "done": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "refused": b"HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 2\r\n\r\n{}",
    "refused for ever": b"HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\n{}",
    "wrong": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
    "cut": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}",
}


@pytest.fixture
def traffic(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(SCRIPTS)
    from serving import traffic

    yield traffic
    for name in [name for name in sys.modules if name.split(".")[0] == "serving"]:
        del sys.modules[name]


class Scripted:
    """A server that gives each connection these answers in turn, each after so many seconds, and then closes it."""

    def __init__(self, *answers: str, seconds: float = 0.0) -> None:
        self.answers, self.seconds = answers, seconds
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def __enter__(self) -> int:
        return int(self.port)

    def __exit__(self, *_: object) -> None:
        self.listening.shutdown(socket.SHUT_RDWR)
        self.listening.close()

    def accept(self) -> None:
        while True:
            try:
                connection, _ = self.listening.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection: socket.socket) -> None:
        with connection:
            for answer in self.answers:
                if not connection.recv(65536):
                    return
                time.sleep(self.seconds)
                connection.sendall(ANSWERS[answer])


def expected(body: bytes) -> str:
    return "" if body == b"{}" else "another body"


def test_a_closed_loop_accounts_for_every_request(traffic: ModuleType) -> None:
    with Scripted(*["done", "refused"] * 10_000) as port:
        found = traffic.closed_loop(port, REQUEST, expected, 4, 0.3)
    assert found.adds_up
    assert found.answered > 10
    assert abs(found.answered - found.refused) <= 4
    # The last answer on each connection may have come later.
    assert found.answered - 4 <= round(found.rate(0, 0.3) * 0.3) <= found.answered
    assert not found.problems
    assert not found.lost


@pytest.mark.parametrize("step", [0.0, 0.01])
def test_an_open_loop_sends_what_it_is_told_to(traffic: ModuleType, step: float) -> None:
    with Scripted(*["done"] * 10_000) as port:
        found = traffic.open_loop(port, REQUEST, expected, 400, 0.5, 4, 8, step)
    assert found.sent == found.answered == 200
    assert len(found.lateness) == 200


def test_latency_counts_from_when_a_request_was_due(traffic: ModuleType) -> None:
    with Scripted(*["done"] * 100, seconds=0.05) as port:
        found = traffic.open_loop(port, REQUEST, expected, 100, 0.1, 1, 1)
    # Ten requests are due within 0.1 s, and one connection takes 0.05 s for each.
    assert found.sent == found.answered == 10
    assert found.percentile_ms(0) >= 50
    assert found.percentile_ms(100) >= 10 * 50 - 100


def test_what_goes_wrong_is_counted(traffic: ModuleType) -> None:
    with Scripted("done", "wrong", "refused for ever", "cut") as port:
        found = traffic.closed_loop(port, REQUEST, expected, 1, 0.5)
    assert not found.adds_up
    assert found.sent == found.answered + found.refused + sum(found.lost.values())
    assert set(found.lost) == {"closed, in the answer"}
    assert set(found.problems) == {"another body", "503 without Retry-After"}


def test_no_server_is_no_request(traffic: ModuleType) -> None:
    with Scripted() as port:
        pass
    found = traffic.closed_loop(port, REQUEST, expected, 1, 0.05)
    assert found.sent == 0
    assert set(found.unconnected) == {"ConnectionRefusedError"}


def test_a_missing_wrk_is_said_with_its_package(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, str(SCRIPTS / "bench_serve.py"), "--parts", "contest"],
        env={**os.environ, "PATH": str(tmp_path)}, capture_output=True, encoding="utf-8", timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == 1
    assert "apt-get install wrk" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_unknown_parts_are_refused() -> None:
    ended = subprocess.run(
        [sys.executable, str(SCRIPTS / "bench_serve.py"), "--parts", "contest,speed"],
        capture_output=True, encoding="utf-8", timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == 2
    assert "unknown parts speed; there are contest, latency, overload, coldstart" in ended.stderr

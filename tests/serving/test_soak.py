"""The soak in small: `scripts/soak_serve.py` passes on cnnkit, and finds in a bare server what it is there to find."""

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
FIELDS = b'"code": "c", "message": "m"'
Soak = Callable[[str], dict[str, str]]


SOAKS = {
    "signals": ("--sigterms", "2"),
    "reloads": ("--reloads", "3", "--bad", "1"),
    "slow clients": ("--dribblers", "24", "--receive-seconds", "1.5"),
    "mutations": ("--images", "200", "--requests", "200"),
}


@pytest.fixture(scope="module")
def soak(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Soak]:
    """Run the script once for each part, all at once: they wait most of the time. Return what one part measured."""
    folder = tmp_path_factory.mktemp("soak")
    running = {
        name: subprocess.Popen(
            [
                *(sys.executable, str(SCRIPTS / "soak_serve.py"), *arguments, "--seed", "1"),
                *("--output", str(folder / name), "--save", str(folder / "failures")),
            ],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8",
        )
        for name, arguments in SOAKS.items()
    }  # fmt: skip

    def measured(name: str) -> dict[str, str]:
        said, _ = running[name].communicate(timeout=240)
        assert running[name].returncode == 0, said
        parts = json.loads((folder / f"{name}.json").read_text("utf-8"))["parts"]
        return {figure["what"]: figure["measured"] for part in parts for figure in part["figures"]}

    yield measured
    for process in running.values():
        process.communicate(timeout=240)


@pytest.fixture
def serving(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """The modules behind the scripts, with a bare function in place of cnnkit's server."""
    monkeypatch.syspath_prepend(SCRIPTS)
    from serving import clients, dribblers, exchanges, figures, fuzzing, servers, sigterms

    for module in (dribblers, fuzzing, sigterms):
        monkeypatch.setattr(module, "cnnkit_command", lambda *_: servers.contender_command("bare", servers.LENET))
    yield SimpleNamespace(
        clients=clients, dribblers=dribblers, exchanges=exchanges, figures=figures, fuzzing=fuzzing, sigterms=sigterms
    )
    for name in [name for name in sys.modules if name.split(".")[0] == "serving"]:
        del sys.modules[name]


def test_no_accepted_request_is_lost_at_a_sigterm(soak: Soak) -> None:
    found = soak("signals")
    assert found["2 SIGTERMs under load: accepted requests lost"] == "0"
    assert found["… exit codes"] == "{0: 2}"
    assert int(found["… answered, of them asked after the signal"].split(", ")[0].replace(",", "")) > 20


def test_no_request_fails_while_the_model_file_is_replaced(soak: Soak) -> None:
    found = soak("reloads")
    assert found["3 reloads under load, 1 with bad files: failed requests"] == "0"
    assert found["… versions at the end"] == "3"
    assert found["… bad files refused, in metrics and log"] == "1, 1"


def test_clients_that_dribble_are_closed_and_do_not_hold_up_others(soak: Soak) -> None:
    found = soak("slow clients")
    assert "still open" not in found["… how"]


def test_mutated_images_and_requests_are_answered(soak: Soak) -> None:
    found = soak("mutations")
    assert found["200 mutated images: 5xx but 503"] == found["200 mutated requests: 5xx but 503"] == "0"
    assert "200: " in found["… answers by status"]


def test_an_exit_code_is_noticed(serving: SimpleNamespace, tmp_path: Path) -> None:
    part = serving.sigterms.sigterms(tmp_path, 1, 0)
    assert not part.passed
    assert any("exit code -15" in problem for problem in part.problems)


def test_a_connection_that_stays_open_is_noticed(serving: SimpleNamespace, tmp_path: Path) -> None:
    part = serving.dribblers.dribblers(tmp_path, 4, 1.1)
    assert not part.figures[0].passed
    assert part.figures[0].measured == "4 not at all"


def test_what_fails_is_saved_and_can_be_sent_again(serving: SimpleNamespace, tmp_path: Path) -> None:
    part = serving.fuzzing.fuzz(tmp_path, "requests", 60, 0, tmp_path / "failures")
    assert any("Invalid HTTP request received" in problem for problem in part.problems)
    name = next(problem for problem in part.problems if "Internal Server Error" in problem).partition(":")[0]
    again = serving.fuzzing.replay(tmp_path, tmp_path / "failures" / f"{name}.http")
    assert again.figures[0].what == f"{name}.http: 500 text/plain; charset=utf-8"


def test_mutations_come_from_their_seed(serving: SimpleNamespace) -> None:
    from serving.mutated_images import image, images
    from serving.mutated_requests import request

    assert [image(3, index) for index in range(30)] == [image(3, index) for index in range(30)]
    assert [request(3, index) for index in range(30)] == [request(3, index) for index in range(30)]
    assert len({image(3, index) for index in range(200)} - set(images())) > 180
    assert len({request(3, index) for index in range(200)}) > 180


@pytest.mark.parametrize(
    ("sent", "due"),
    [
        (REQUEST, True),
        (REQUEST[:-4], False),
        (b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nabc", False),
        (b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nabcde", True),
        (b"\x00\x01\x02", True),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", True),
    ],
)
def test_an_answer_is_due_to_what_is_complete_or_wrong(serving: SimpleNamespace, sent: bytes, due: bool) -> None:
    assert bool(serving.exchanges.must_be_answered(sent)) is due


@pytest.mark.parametrize(
    ("status", "kind", "body", "problem"),
    [
        (200, "application/json", b'{"label": "7"}', ""),
        (200, "application/json", b'{"p": NaN}', "no JSON"),
        (200, "text/html", b"<html>", ""),
        (400, "application/json", b'{"error": {%s, "request_id": "r"}}' % FIELDS, ""),
        (400, "application/json", b'{"error": "m", "code": "c", "request_id": "r"}', ""),
        (400, "application/json", b'{"error": {%s}}' % FIELDS, "another form"),
        (400, "application/json", b"[]", "another form"),
        (400, "text/plain", b"no", "an error as text/plain"),
        (500, "application/json", b"{}", "status 500"),
        (503, "application/json", b'{"error": {%s, "request_id": "r"}}' % FIELDS, "Retry-After"),
        (503, "application/json", b'{"error": "m", "code": "internal", "request_id": "r"}', "broke"),
    ],
)
def test_answers_have_one_form(serving: SimpleNamespace, status: int, kind: str, body: bytes, problem: str) -> None:
    found = serving.fuzzing.wrong_with(status, kind, body, retry=False)
    assert problem in found
    assert bool(problem) == bool(found)


class Scripted:
    """A server for one connection: it answers so often, reads once more or not, and closes."""

    def __init__(self, answers: int, *, reads_on: bool) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        self.answers, self.reads_on = answers, reads_on
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self) -> None:
        connection, _ = self.listening.accept()
        self.listening.close()
        with connection:
            for _ in range(self.answers):
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
            if self.reads_on:
                connection.recv(65536)


def test_a_request_that_was_read_and_not_answered_is_lost(serving: SimpleNamespace) -> None:
    with serving.clients.Client(Scripted(2, reads_on=True).port, 5) as client:
        assert [client.ask(REQUEST).status for _ in range(2)] == [200, 200]
        with pytest.raises(serving.clients.LostError) as lost:
            client.ask(REQUEST)
    assert not lost.value.first


def test_a_connection_that_was_closed_before_is_not_used(serving: SimpleNamespace) -> None:
    server = Scripted(1, reads_on=False)
    with serving.clients.Client(server.port, 5) as client:
        assert client.ask(REQUEST).status == 200
        server.thread.join(5)
        with pytest.raises(ConnectionRefusedError):
            client.ask(REQUEST)


def test_the_table_says_what_failed(
    serving: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = serving.figures
    good = figures.Part("a", [figures.Figure("speed", "5 ×", "≥ 4 ×"), figures.Figure("note", "x")])
    bad = figures.Part("b", [figures.Figure("losses", "1", "0", passed=False)], problems=["one was lost"])
    assert figures.report("title", [good], tmp_path / "out") == 0
    assert "| speed | 5 × | ≥ 4 × | yes |" in (tmp_path / "out.md").read_text("utf-8")
    assert figures.report("title", [good, bad], tmp_path / "out") == 1
    assert "| losses | 1 | 0 | **NO** |" in capsys.readouterr().out
    assert json.loads((tmp_path / "out.json").read_text("utf-8"))["parts"][1]["problems"] == ["one was lost"]

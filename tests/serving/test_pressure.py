"""More requests than a model can answer, clients that are slow, and clients that leave."""

import contextlib
import gzip
import io
import json
import os
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from cnnkit.serving.http.parsing import MAX_HEAD
from tests.serving.conftest import wait_until
from tests.serving.test_metrics import values


def connect(url):
    host, _, port = url.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=20)


def request(body, *, path="/predict/slow", length=None, headers=""):
    size = len(body) if length is None else length
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n{headers}\r\n".encode() + body


def answer_of(connection):
    """Read one answer: its status, headers in small letters and body."""
    file = connection.makefile("rb")
    status = int(file.readline().split()[1])
    headers = dict(line.decode().lower().strip().split(": ", 1) for line in iter(file.readline, b"\r\n"))
    return status, headers, json.loads(file.read(int(headers["content-length"])))


def is_closed(connection):
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def queue_length(server):
    return values(server.url).get(("cnnkit_queue_length", 'model="slow"'), 0)


def is_open(url):
    with contextlib.suppress(ConnectionRefusedError):
        connect(url).close()
        return True
    return False


@pytest.fixture
def crowded(gated, seven):
    """A server of a slow model with two places, both of them taken until the gate opens."""
    server = gated("--queue-size", 2, "--max-batch", 1, "--threads", 1)
    clients = []
    for _ in range(2):
        clients.append(connect(server.url))
        clients[-1].sendall(request(seven))
    wait_until(lambda: queue_length(server) == 2)
    yield server, clients
    for client in clients:
        client.close()


def test_what_the_queue_cannot_hold_is_refused_at_once(crowded, gate, seven):
    server, clients = crowded
    refused = httpx.post(f"{server.url}/predict/slow", content=seven)
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert refused.json()["error"]["code"] == "queue-full"
    assert values(server.url)["cnnkit_refused_total", 'model="slow",reason="queue-full"'] == 1
    gate.unlink()
    assert [answer_of(client)[0] for client in clients] == [200, 200]
    assert httpx.post(f"{server.url}/predict/slow", content=seven).status_code == 200


def test_health_and_metrics_are_never_refused(crowded):
    server, _ = crowded
    for path in ("/v2/health/live", "/v2/health/ready", "/metrics"):
        assert httpx.get(server.url + path).status_code == 200


def test_a_client_that_leaves_frees_its_place(crowded, gate, seven):
    server, clients = crowded
    clients[1].close()
    wait_until(lambda: queue_length(server) == 1)
    clients[1] = connect(server.url)
    clients[1].sendall(request(seven))
    wait_until(lambda: queue_length(server) == 2)
    assert values(server.url)["cnnkit_clients_left_total", ""] == 1
    gate.unlink()
    assert [answer_of(client)[0] for client in clients] == [200, 200]


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_the_bodies_of_clients_that_leave_take_no_memory(serve):
    server = serve("lenet")

    def megabytes():
        pages = int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    before = megabytes()
    for _ in range(3):
        with contextlib.ExitStack() as stack:
            for _ in range(12):
                client = stack.enter_context(connect(server.url))
                client.sendall(request(bytes(12 * 2**20), path="/predict/lenet", length=13 * 2**20))
            wait_until(lambda: megabytes() > before + 60)
        wait_until(lambda: megabytes() < before + 50, 10)


def test_an_answer_that_takes_too_long_is_a_refusal(gated, seven):
    server = gated("--answer-seconds", 0.2, "--max-batch", 1, "--threads", 1)
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: httpx.post(f"{server.url}/predict/slow", content=seven), range(12)))
    assert {(answer.status_code, answer.json()["error"]["code"]) for answer in answers} == {(503, "deadline")}
    assert values(server.url)["cnnkit_refused_total", 'model="slow",reason="deadline"'] == 12


@pytest.mark.parametrize(
    "sent",
    [b"POST /predict/lenet HT", request(b"", path="/predict/lenet")[:-3], b"", b"G"],
    ids=["line", "headers", "nothing", "byte"],
)
def test_headers_that_do_not_come_end_the_connection(hasty, sent):
    started = time.perf_counter()
    with connect(hasty.url) as client:
        client.sendall(sent)
        if sent:
            status, headers, body = answer_of(client)
            assert (status, headers["connection"], body["error"]["code"]) == (408, "close", "slow-request")
        assert is_closed(client)
        assert 0.4 < time.perf_counter() - started < 10


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_dribbles_ends_at_the_deadline(hasty, chunked):
    head = "POST /predict/lenet HTTP/1.1\r\nHost: x\r\n"
    with connect(hasty.url) as client:
        client.sendall(f"{head}{'Transfer-Encoding: chunked' if chunked else 'Content-Length: 500'}\r\n\r\n".encode())
        started, stop = time.perf_counter(), threading.Event()

        def dribble():
            while not stop.wait(0.05):
                try:
                    client.sendall(b"1\r\nx\r\n" if chunked else b"x")
                except OSError:
                    return

        thread = threading.Thread(target=dribble)
        thread.start()
        status, _, body = answer_of(client)
        stop.set()
        thread.join()
        assert (status, body["error"]["code"]) == (408, "slow-request")
        assert time.perf_counter() - started < 10


def test_a_connection_is_kept_between_requests_for_longer_than_that(hasty, seven):
    with connect(hasty.url) as client:
        for _ in range(2):
            client.sendall(request(seven, path="/predict/lenet"))
            assert answer_of(client)[0] == 200
            time.sleep(0.8)


def test_a_body_over_the_cap_is_refused_before_it_comes(hasty):
    with connect(hasty.url) as client:
        client.sendall(request(b"", path="/predict/lenet", length=10**12))
        status, headers, body = answer_of(client)
    assert (status, headers["connection"], body["error"]["code"]) == (413, "close", "body-too-large")


@pytest.mark.parametrize("chunked", [False, True])
def test_a_client_that_sends_too_much_still_gets_the_answer(hasty, chunked):
    def pieces():
        for _ in range(200):
            yield b"x" * 100_000

    content = pieces() if chunked else b"x" * 20_000_000
    answer = httpx.post(f"{hasty.url}/predict/lenet", content=content)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body-too-large")


def test_a_body_that_does_not_say_its_length_is_counted_where_it_comes_at_once(hasty):
    with connect(hasty.url) as client:
        head = b"POST /predict/lenet HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        client.sendall(head + b"4e20\r\n" + b"x" * 20_000 + b"\r\n0\r\n\r\n")
        status, _, body = answer_of(client)
        assert (status, body["error"]["code"]) == (413, "body-too-large")


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_body_is_capped_once_more_when_it_is_decompressed(hasty, encoding):
    import zlib

    bomb = (gzip.compress if encoding == "gzip" else zlib.compress)(bytes(10**6))
    assert len(bomb) < 5000
    answer = httpx.post(f"{hasty.url}/predict/lenet", content=bomb, headers={"content-encoding": encoding})
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body-too-large")


def test_a_compressed_image_is_taken(hasty, seven):
    packed = gzip.compress(seven)
    answer = httpx.post(f"{hasty.url}/predict/lenet", content=packed, headers={"content-encoding": "gzip"})
    assert answer.json()["label"] == "7"
    answer = httpx.post(f"{hasty.url}/predict/lenet", content=packed * 2, headers={"content-encoding": "gzip"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "content-encoding")


@pytest.mark.parametrize("complete", [False, True])
def test_headers_are_capped(hasty, complete):
    with connect(hasty.url) as client:
        client.sendall(b"GET / HTTP/1.1\r\n" + b"X-Long: " + b"x" * (MAX_HEAD + 10) + b"\r\n\r\n" * complete)
        status, _, body = answer_of(client)
        assert (status, body["error"]["code"]) == (431, "headers-too-large")
        assert is_closed(client)


@pytest.mark.parametrize(
    "sent", [b"\0\1\2\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n"]
)
def test_what_is_no_http_is_told_so_and_counted(hasty, sent):
    key = "cnnkit_requests_total", 'endpoint="other",model="",status="400"'
    before = values(hasty.url).get(key, 0)
    with connect(hasty.url) as client:
        client.sendall(sent)
        status, _, body = answer_of(client)
        assert (status, body["error"]["code"]) == (400, "http")
        assert is_closed(client)
    assert values(hasty.url)[key] == before + 1


def test_pipelined_requests_are_answered_in_order(hasty, seven):
    with connect(hasty.url) as client:
        first = request(seven, path="/predict/lenet", headers="X-Request-Id: first\r\n")
        second = request(seven, path="/predict/lenet", headers="X-Request-Id: second\r\n")
        client.sendall(first + second)
        file = client.makefile("rb")
        ids = []
        for _ in range(2):
            assert file.readline().split()[1] == b"200"
            headers = dict(line.decode().lower().strip().split(": ", 1) for line in iter(file.readline, b"\r\n"))
            ids.append(json.loads(file.read(int(headers["content-length"])))["request_id"])
    assert ids == ["first", "second"]


def test_a_request_is_answered_whatever_nonsense_follows_it(hasty):
    with connect(hasty.url) as client:
        client.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\nnonsense\r\n\r\n")
        answers = client.makefile("rb").read()
    assert (answers.count(b"HTTP/1.1 200"), answers.count(b"HTTP/1.1 400")) == (1, 1)


@pytest.mark.parametrize("broken", ["Transfer-Encoding: chunked\r\n\r\nzz\r\n", "Transfer-Encoding: identity\r\n\r\nx"])
def test_a_body_that_breaks_the_rules_is_told_so(hasty, broken):
    with connect(hasty.url) as client:
        client.sendall(f"POST /predict/lenet HTTP/1.1\r\nHost: x\r\n{broken}".encode())
        status, _, body = answer_of(client)
        assert (status, body["error"]["code"]) == (400, "http")
        assert body["error"]["request_id"]
        assert is_closed(client)


@pytest.mark.skipif(sys.platform != "linux", reason="limits of another process")
def test_a_server_without_descriptors_says_that_it_has_too_much_to_do(serve):
    import resource

    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (3000, 4000, 3), np.uint8)).save(file, "JPEG")
    server = serve("digits")
    with httpx.Client(base_url=server.url) as client:
        client.get("/v2/health/live")
        taken = len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))
        before = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (taken, before[1]))
        for path, content, headers in (
            ("/predict/digits", file.getvalue(), {}),
            ("/predict/digits", gzip.compress(file.getvalue()), {"Content-Encoding": "gzip"}),
        ):
            answer = client.post(path, content=content, headers=headers)
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "memory"), answer.text
            assert answer.headers["retry-after"] == "1"
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, before)
        assert client.post("/predict/digits", content=file.getvalue()).status_code == 200

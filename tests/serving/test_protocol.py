"""Connections at the edges of RFC 9112."""

import re
import time

import pytest

from cnnkit.serving.http import connection as protocol
from tests.serving.test_pressure import answer_of, connect, is_closed, request


def test_blank_lines_do_not_keep_a_connection(hasty):
    with connect(hasty.url) as client:
        client.sendall(b"GET /v2 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer_of(client)[0] == 200
        started = time.perf_counter()
        client.sendall(b"\r\n")
        assert is_closed(client)
        assert 0.4 < time.perf_counter() - started < 10


@pytest.mark.parametrize("sent", [b"", b"x"])
def test_a_body_that_was_refused_need_not_come_but_cannot_keep_the_connection(hasty, sent):
    with connect(hasty.url) as client:
        started = time.perf_counter()
        client.sendall(request(b"", path="/predict/nobody", length=1000))
        assert answer_of(client)[0] == 404
        client.sendall(sent)
        assert is_closed(client)
        assert 0.4 < time.perf_counter() - started < 10


def test_a_connection_goes_on_after_a_refused_body(hasty, seven):
    with connect(hasty.url) as client:
        client.sendall(request(b"", path="/predict/nobody", length=2000))
        assert answer_of(client)[0] == 404
        client.sendall(b"x" * 1000)
        time.sleep(0.1)
        client.sendall(b"x" * 1000)
        time.sleep(0.8)  # longer than a request may take
        client.sendall(request(seven, path="/predict/lenet"))
        assert answer_of(client)[0] == 200


@pytest.mark.parametrize("headers", ["", "Connection: close\r\n"])
def test_a_client_that_still_sends_is_not_reset_before_it_reads_its_answer(hasty, headers):
    with connect(hasty.url) as client:
        client.sendall(request(b"", path="/predict/lenet", length=10**6, headers=headers))
        time.sleep(0.2)  # it is refused and the connection closed
        for _ in range(10):
            client.sendall(b"x" * 10**5)
        assert answer_of(client)[2]["error"]["code"] == "body-too-large"
        assert client.recv(1) == b""


def test_a_body_that_is_no_http_is_told_so(hasty):
    with connect(hasty.url) as client:
        client.sendall(b"POST /predict/lenet HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
        status, headers, body = answer_of(client)
        assert (status, headers["connection"], body["error"]["code"]) == (400, "close", "http")
        assert is_closed(client)


@pytest.mark.parametrize(("rest", "status"), [(b"GET / HT", 408), (b"\0\1\2", 400)], ids=["slow", "garbage"])
def test_what_follows_a_request_does_not_cost_it_its_answer(gated, gate, seven, rest, status):
    server = gated("--receive-seconds", 0.1, "--threads", 1, "--max-batch", 1)
    with connect(server.url) as client:
        client.sendall(request(seven) + rest)
        time.sleep(0.4)
        gate.unlink()
        answers = client.makefile("rb").read()
    assert [int(each) for each in re.findall(rb"HTTP/1.1 (\d{3}) ", answers)] == [200, status]


def test_no_more_requests_are_taken_ahead_than_it_can_hold(hasty):
    with connect(hasty.url) as client:
        client.sendall(b"GET /v2 HTTP/1.1\r\nHost: x\r\n\r\n" * 5 * protocol.MAX_AHEAD)
        file = client.makefile("rb")
        answers = file.read().count(b"HTTP/1.1 200")
    assert protocol.MAX_AHEAD <= answers < protocol.MAX_AHEAD + 5

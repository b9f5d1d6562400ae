"""Connections at the edges of RFC 9112."""

import asyncio
import contextlib
import re
import time

import pytest

from cnnkit.serving.http import connection as protocol
from cnnkit.serving.http import listener
from cnnkit.serving.http.inflight import InFlight
from cnnkit.serving.http.parsing import RequestParser
from cnnkit.serving.http.response import Response
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


UPGRADE = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"


@pytest.mark.parametrize("pieces", [1, 2, 3])
def test_an_upgrade_is_ignored_and_the_request_answered(hasty, seven, pieces):
    sent = request(seven, path="/predict/lenet", headers=UPGRADE)
    step = -(-len(sent) // pieces)
    with connect(hasty.url) as client:
        for start in range(0, len(sent), step):
            client.sendall(sent[start : start + step])
            time.sleep(0.05)
        assert answer_of(client)[2]["label"] == "7"
        client.sendall(request(seven, path="/predict/lenet"))
        assert answer_of(client)[0] == 200


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("apart", [False, True])
def test_the_body_of_an_upgrade_is_no_request(hasty, chunked, apart):
    inner = b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n"
    length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(inner)}"
    body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(inner), inner) if chunked else inner
    with connect(hasty.url) as client:
        client.sendall(f"POST /predict/lenet HTTP/1.1\r\nHost: x\r\n{UPGRADE}{length}\r\n\r\n".encode())
        time.sleep(0.1 * apart)
        client.sendall(body)
        assert answer_of(client)[0] == 415
        client.sendall(inner)
        assert answer_of(client)[2] == {"live": True}


def test_a_websocket_is_a_request_like_any_other(hasty):
    with connect(hasty.url) as client:
        client.sendall(b"GET /v2 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" * 2)
        assert answer_of(client)[2]["name"] == "cnnkit"


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        ("Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde", 400),
        ("Content-Length: 4, 4\r\n\r\nabcd", 400),
        ("Content-Length: -1\r\n\r\n", 400),
        ("Content-Length: +1\r\n\r\na", 400),
        ("Content-Length: 1e3\r\n\r\na", 400),
        ("Content-Length: 99999999999999999999999\r\n\r\n", 400),
        ("Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400),
        ("Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400),
        ("Host : x\r\n\r\n", 400),
        ("A: b\r\n c\r\n\r\n", 400),
        ("A: b\0c\r\n\r\n", 400),
        ("A: b\n\r\n", 400),
    ],
)
def test_what_may_smuggle_a_request_ends_the_connection(hasty, head, status):
    with connect(hasty.url) as client:
        client.sendall(f"POST /predict/lenet HTTP/1.1\r\nHost: x\r\n{head}".encode())
        found, headers, body = answer_of(client)
        assert (found, headers["connection"], body["error"]["code"]) == (status, "close", "http")
        assert is_closed(client)


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("GET /v2/health/live HTTP/1.1", 200),
        ("GET http://x/v2/health/live HTTP/1.1", 200),
        ("GET HTTP://x:80/v2/health/live?a=b HTTP/1.1", 200),
        ("GET /v2/health/l%69ve HTTP/1.1", 200),
        ("GET /v2%2fhealth/live HTTP/1.1", 404),
        ("GET //v2/health/live HTTP/1.1", 404),
        ("GET /v2/health/../health/live HTTP/1.1", 404),
        ("GET ftp://x/v2 HTTP/1.1", 400),
        ("GET http:///v2 HTTP/1.1", 400),
        ("GET http://x:999999/v2 HTTP/1.1", 400),
        ("POST /predict/* HTTP/1.1", 404),
        ("GET /v2/models/* HTTP/1.1", 404),
        ("GET /* HTTP/1.1", 404),
        ("GET * HTTP/1.1", 400),
        ("OPTIONS ** HTTP/1.1", 400),
        ("CONNECT x:80 HTTP/1.1", 405),
        ("GET /v2 HTTP/2.0", 400),
        ("PRI * HTTP/2.0", 400),
        ("BREW /v2 HTTP/1.1", 400),
        ("DELETE /v2 HTTP/1.1", 405),
    ],
)
def test_a_path_is_read_in_one_way(hasty, line, status):
    with connect(hasty.url) as client:
        client.sendall(f"{line}\r\nHost: x\r\n\r\n".encode())
        assert answer_of(client)[0] == status


def test_options_of_everything_names_the_methods(hasty):
    with connect(hasty.url) as client:
        client.sendall(b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = client.makefile("rb").read().lower()
    assert answer.startswith(b"http/1.1 204 ")
    assert {b"get", b"head", b"post", b"options"} == set(re.search(rb"\nallow: (.*)\r\n", answer)[1].split(b", "))


def test_a_body_is_asked_for_only_where_it_is_wanted(hasty, seven):
    expect = "Expect: 100-continue\r\n"
    with connect(hasty.url) as client:
        client.sendall(request(b"", path="/predict/lenet", length=len(seven), headers=expect))
        assert client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(seven)
        assert answer_of(client)[0] == 200
        client.sendall(request(b"", path="/predict/nobody", length=len(seven), headers=expect))
        status, headers, _ = answer_of(client)
        assert (status, headers["connection"]) == (404, "close")


def test_the_first_http_is_not_told_to_continue(hasty, seven):
    sent = request(seven, path="/predict/lenet", headers="Expect: 100-continue\r\n").replace(b"HTTP/1.1", b"HTTP/1.0")
    with connect(hasty.url) as client:
        client.sendall(sent)
        assert answer_of(client)[0] == 200


def test_chunks_and_their_trailer_are_a_body(hasty, seven):
    chunks = b"".join(
        b"%x;a=b\r\n%s\r\n" % (len(seven[i : i + 99]), seven[i : i + 99]) for i in range(0, len(seven), 99)
    )
    head = b"POST /predict/lenet HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    with connect(hasty.url) as client:
        client.sendall(head + chunks + b"0\r\nHost: evil\r\nA: b\r\n\r\n")
        assert answer_of(client)[2]["label"] == "7"
        client.sendall(head + chunks + b"0\r\nA: " + b"x" * 10**6)
        assert answer_of(client)[0] == 431


@pytest.mark.parametrize("end", [b"0\r\nA: ", b"1;a="], ids=["trailer", "extension"])
def test_what_is_sent_beside_a_body_is_capped(server, end):
    head = b"POST /predict/lenet HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"
    with connect(server.url) as client:
        client.sendall(head + end)
        with contextlib.suppress(ConnectionError):
            for _ in range(4):
                client.sendall(b"x" * 2**16)
                time.sleep(0.05)
        status, headers, body = answer_of(client)
        assert (status, headers["connection"], body["error"]["code"]) == (431, "close", "headers-too-large")


class Wanted:
    """Takes every request."""

    def begun(self):
        return True


def test_headers_of_one_name_are_not_joined_beyond_the_cap():
    parser = RequestParser(Wanted())
    started = time.process_time()
    parser.feed(b"GET / HTTP/1.1\r\n" + b"a:b\r\n" * 200_000)
    assert parser.error.status == 431
    assert time.process_time() - started < 0.5  # seconds; joined, they would be copied 200,000 times


@pytest.mark.parametrize("target", ["/v2/nothing", "http://x/v2/nothing", "/%762/nothing"])
def test_the_form_of_an_error_depends_on_the_path_however_it_is_written(hasty, target):
    with connect(hasty.url) as client:
        client.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        status, _, body = answer_of(client)
        assert (status, body["code"], isinstance(body["error"], str)) == (404, "not-found", True)


def test_every_request_before_the_last_one_is_answered(hasty):
    get = "GET /v2/health/live HTTP/1.1\r\nHost: x\r\n{}\r\n"
    with connect(hasty.url) as client:
        client.sendall((get.format("") * 3 + get.format("Connection: close\r\n") + get.format("")).encode())
        assert client.makefile("rb").read().count(b"HTTP/1.1 200") == 4


class Large:
    """An application whose only response is larger than what the kernel keeps for a client."""

    def accept(self, request):
        return Response(bytes(50_000_000))

    def headers(self, request):
        return ()

    def answered(self, request, response, seconds):
        pass


def test_a_client_that_does_not_read_its_response_is_left(monkeypatch):
    monkeypatch.setattr(protocol, "_STALL_SECONDS", 0.3)

    async def stall():
        inflight, bound = InFlight(1000), listener.bind("127.0.0.1", 0)
        port = bound.getsockname()[1]
        listening = listener.Listener(bound, Large(), inflight, 10)
        await listening.open()
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1000)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readline()
        started = time.perf_counter()
        while inflight.connections:
            await asyncio.sleep(0.01)
        taken = time.perf_counter() - started
        writer.close()
        await listening.drain(0, time.perf_counter() + 1, lambda: True)
        return taken

    assert 0.2 < asyncio.run(asyncio.wait_for(stall(), 30)) < 10

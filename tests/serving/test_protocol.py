"""What uvicorn by itself would wait for, take or lose."""

import asyncio
import time
from functools import partial

import pytest
import uvicorn

from cnnkit.serving import protocol
from cnnkit.serving.app import App
from cnnkit.serving.holding import Holding
from cnnkit.serving.settings import Settings
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


@pytest.mark.parametrize("rest", [b"GET / HT", b"\0\1\2"], ids=["slow", "garbage"])
def test_what_follows_a_request_does_not_cost_it_its_answer(gated, gate, seven, rest):
    server = gated("--receive-seconds", 0.1, "--threads", 1, "--max-batch", 1)
    with connect(server.url) as client:
        client.sendall(request(seven) + rest)
        server.wait_for("refused-connection")
        gate.unlink()
        status, headers, body = answer_of(client)
        assert (status, headers["connection"], body["model"]) == (200, "close", "slow")
        assert is_closed(client)


def test_no_more_requests_are_taken_ahead_than_it_can_hold(hasty):
    with connect(hasty.url) as client:
        client.sendall(b"GET /v2 HTTP/1.1\r\nHost: x\r\n\r\n" * 5 * protocol.MAX_AHEAD)
        file = client.makefile("rb")
        answers = file.read().count(b"HTTP/1.1 200")
    assert protocol.MAX_AHEAD < answers < protocol.MAX_AHEAD + 5


def test_a_client_that_does_not_take_its_answer_is_left(monkeypatch):
    monkeypatch.setattr(protocol, "_STALL_SECONDS", 0.3)

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"50000000")]})
        await send({"type": "http.response.body", "body": bytes(50_000_000)})

    async def stall():
        served = partial(protocol.Connection, settings=Settings(), served=App([], Settings()), holding=Holding())
        config = uvicorn.Config(app, http=served, lifespan="off", port=0)
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server._serve())
        while not server.started:
            await asyncio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1000)
        started = time.perf_counter()
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readline()
        assert server.server_state.connections
        while server.server_state.connections:
            await asyncio.sleep(0.01)
        writer.close()
        server.should_exit = True
        await serving
        return time.perf_counter() - started

    assert 0.2 < asyncio.run(asyncio.wait_for(stall(), 30)) < 10

"""Requests that come while their model takes no more."""

import asyncio
import time
from functools import partial

import httpx
import pytest
import uvicorn

from cnnkit.serving import holding
from cnnkit.serving.app import App
from cnnkit.serving.holding import Holding
from cnnkit.serving.protocol import Connection
from cnnkit.serving.settings import ModelSource, Settings
from tests.serving.test_metrics import values
from tests.serving.test_pressure import answer_of, connect, crowded, is_closed, request

__all__ = ["crowded"]


def test_requests_start_in_their_order_and_not_before_their_time(monkeypatch):
    monkeypatch.setattr(holding, "HOLD_SECONDS", 0.1)
    started = []

    async def hold():
        held = Holding()
        came = time.perf_counter()
        for number in range(3):
            held.hold(lambda number=number: started.append((number, time.perf_counter() - came)))
            await asyncio.sleep(0.03)
        while len(started) < 3:
            await asyncio.sleep(0.01)
        held.hold(lambda: started.append((3, time.perf_counter() - came)))
        while len(started) < 4:
            await asyncio.sleep(0.01)

    asyncio.run(hold())
    assert [number for number, _ in started] == [0, 1, 2, 3]
    for number, seconds in started[:3]:
        assert seconds >= 0.099 + 0.03 * number


def test_a_refusal_has_the_form_of_all_errors_and_keeps_its_connection(crowded, seven):
    server, _ = crowded
    with connect(server.url) as client:
        for name in ("first", "second"):
            client.sendall(request(seven, headers=f"X-Request-Id: {name}\r\n"))
            status, headers, body = answer_of(client)
            assert (status, body["error"]["code"], body["error"]["request_id"]) == (503, "queue-full", name)
            assert (headers["x-request-id"], headers["retry-after"]) == (name, "1")
            assert "date" in headers
        client.sendall(request(b"{}", path="/v2/models/slow/infer"))
        status, _, body = answer_of(client)
        assert (status, body["code"]) == (503, "queue-full")
    found = values(server.url)
    assert found["cnnkit_refused_total", 'model="slow",reason="queue-full"'] == 3
    assert found["cnnkit_requests_total", 'endpoint="predict",model="slow",status="503"'] == 2
    assert found["cnnkit_requests_total", 'endpoint="infer",model="slow",status="503"'] == 1


def test_requests_sent_ahead_are_refused_in_turn(crowded, seven):
    with connect(crowded[0].url) as client:
        client.sendall(request(seven) + b"GET /v2 HTTP/1.1\r\nHost: x\r\n\r\n" + request(seven))
        file = client.makefile("rb")
        statuses = []
        for _ in range(3):
            statuses.append(int(file.readline().split()[1]))
            headers = dict(line.decode().lower().strip().split(": ", 1) for line in iter(file.readline, b"\r\n"))
            file.read(int(headers["content-length"]))
    assert statuses == [503, 200, 503]


def test_a_client_that_keeps_no_connection_is_refused_and_left(crowded, seven):
    with connect(crowded[0].url) as client:
        client.sendall(request(seven, headers="Connection: close\r\n"))
        status, headers, _ = answer_of(client)
        assert (status, headers["connection"]) == (503, "close")
        assert is_closed(client)


def test_what_is_not_for_the_model_to_answer_is_not_refused_in_its_name(crowded):
    assert httpx.get(f"{crowded[0].url}/predict/slow").status_code == 405


def test_a_body_that_is_still_coming_does_not_delay_the_refusal(crowded, seven):
    with connect(crowded[0].url) as client:
        client.sendall(request(seven[:100], length=len(seven)))
        assert answer_of(client)[0] == 503
        client.sendall(seven[100:])
        client.sendall(request(seven))
        assert answer_of(client)[0] == 503


@pytest.mark.parametrize("leaves", [False, True])
def test_a_request_is_let_in_if_a_place_gets_free_meanwhile(monkeypatch, seven, leaves):
    monkeypatch.setattr(holding, "HOLD_SECONDS", 0.5)

    async def come():
        settings = Settings()
        app = App([ModelSource("lenet", "lenet")], settings)
        app.open()
        http = partial(Connection, settings=settings, served=app, holding=Holding())
        server = uvicorn.Server(uvicorn.Config(app, http=http, lifespan="on", log_config=None, port=0))
        serving = asyncio.create_task(server._serve())
        while not server.started:
            await asyncio.sleep(0.01)
        places = app.repository.batchers["lenet"]
        places.places = settings.queue_size
        reader, writer = await asyncio.open_connection(*server.servers[0].sockets[0].getsockname())
        writer.write(request(seven, path="/predict/lenet"))
        await asyncio.sleep(0.05)
        places.places = 0
        if leaves:
            writer.close()
            await asyncio.sleep(0.7)
        answer = b"" if leaves else await reader.readline()
        writer.close()
        server.should_exit = True
        await serving
        assert places.places == 0
        return answer

    assert asyncio.run(asyncio.wait_for(come(), 20)) == (b"" if leaves else b"HTTP/1.1 200 OK\r\n")

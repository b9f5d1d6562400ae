"""Requests that come while their model takes no more."""

import asyncio
import time
from contextlib import asynccontextmanager
from functools import partial

import httpx
import pytest
import uvicorn

from cnnkit.serving import holding
from cnnkit.serving.app import App
from cnnkit.serving.holding import Holding
from cnnkit.serving.protocol import Connection
from cnnkit.serving.settings import ModelSource, Settings
from tests.serving.conftest import wait_until
from tests.serving.test_metrics import parsed, values
from tests.serving.test_pressure import answer_of, connect, crowded, is_closed, queue_length, request

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


def test_what_is_held_again_takes_no_more_timers_than_it_needs(monkeypatch):
    holds, timers = 0, 0

    async def hold():
        loop, held, done = asyncio.get_running_loop(), Holding(), asyncio.Event()
        later = loop.call_later

        def call_later(*arguments):
            nonlocal timers
            timers += 1
            return later(*arguments)

        def again():
            nonlocal holds
            holds += 1
            held.hold(again) if holds < 20 else done.set()

        monkeypatch.setattr(loop, "call_later", call_later)
        again()
        await done.wait()

    asyncio.run(hold())
    assert timers <= 2 * holds  # the second where the clock says that it is not quite time


def test_a_request_that_fails_to_start_holds_up_no_other():
    failures = []

    async def hold():
        held, started = Holding(), asyncio.Event()
        asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context["exception"]))
        held.hold(partial(int, "x"))
        held.hold(started.set)
        await asyncio.wait_for(started.wait(), 60)

    asyncio.run(hold())
    assert [type(failure) for failure in failures] == [ValueError]


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


@pytest.mark.parametrize("old", [False, True])
def test_a_client_that_keeps_no_connection_is_refused_and_left(crowded, seven, old):
    asked = request(seven, headers="" if old else "Connection: close\r\n")
    with connect(crowded[0].url) as client:
        client.sendall(asked.replace(b"HTTP/1.1", b"HTTP/1.0", 1) if old else asked)
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


def test_who_asks_before_sending_a_body_need_not_send_it(crowded, seven):
    with connect(crowded[0].url) as client:
        client.sendall(request(b"", length=len(seven), headers="Expect: 100-continue\r\n"))
        assert answer_of(client)[0] == 503


def test_a_client_that_leaves_while_it_is_held_is_not_answered(crowded, seven):
    server, _ = crowded
    with connect(server.url) as client:
        client.sendall(request(seven) * 50)
    wait_until(lambda: values(server.url)["cnnkit_clients_left_total", ""] == 1)
    with connect(server.url) as client:
        client.sendall(request(seven))
        assert answer_of(client)[0] == 503
    assert not [entry for entry in server.log if entry["level"] == "error"]


def test_a_client_that_leaves_frees_its_place_whatever_it_sent_ahead(gated, gate, seven):
    server = gated("--max-batch", 1, "--threads", 1)
    with connect(server.url) as client:
        client.sendall(request(seven) * 2)
        wait_until(lambda: queue_length(server) == 1)
    wait_until(lambda: queue_length(server) == 0)
    assert values(server.url)["cnnkit_clients_left_total", ""] == 1
    gate.unlink()
    assert httpx.post(f"{server.url}/predict/slow", content=seven).status_code == 200
    assert not [entry for entry in server.log if entry["level"] == "error"]


@asynccontextmanager
async def full():
    """Serve a model that is full in this process; yield the application, the server and a client's connection."""
    settings = Settings()
    app = App([ModelSource("lenet", "lenet")], settings)
    app.open()
    http = partial(Connection, settings=settings, served=app, holding=Holding())
    server = uvicorn.Server(uvicorn.Config(app, http=http, lifespan="on", log_config=None, port=0))
    serving = asyncio.create_task(server._serve())
    while not server.started:
        await asyncio.sleep(0.01)
    app.repository.batchers["lenet"].places = settings.queue_size
    reader, writer = await asyncio.open_connection(*server.servers[0].sockets[0].getsockname())
    async with asyncio.timeout(60):
        yield app, server, reader, writer
    writer.close()
    server.should_exit = True
    await serving


@pytest.mark.parametrize("leaves", [False, True])
def test_a_request_is_let_in_if_a_place_gets_free_meanwhile(monkeypatch, seven, leaves):
    monkeypatch.setattr(holding, "HOLD_SECONDS", 0.5)

    async def come():
        async with full() as (app, server, reader, writer):
            places = app.repository.batchers["lenet"]
            writer.write(request(seven, path="/predict/lenet"))
            while not any(connection.cycle for connection in server.server_state.connections):
                await asyncio.sleep(0.01)
            places.places = 0
            if leaves:
                writer.close()
                while not parsed(app.metrics.render()[0].decode())["cnnkit_clients_left_total", ""]:
                    await asyncio.sleep(0.01)
            else:
                assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
        assert places.places == 0

    asyncio.run(come())


def test_a_server_that_stops_says_once_that_a_refusal_is_the_last(seven):
    async def come():
        async with full() as (app, _, reader, writer):
            app.stopping = True
            writer.write(request(seven, path="/predict/lenet"))
            answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert answer.count(b"connection: close\r\n") == 1

    asyncio.run(come())


def test_a_refusal_waits_for_a_client_that_does_not_read_and_keeps_no_body(seven):
    async def come():
        async with full() as (_, server, reader, writer):
            while not server.server_state.connections:
                await asyncio.sleep(0.01)
            (connection,) = server.server_state.connections
            connection.pause_writing()
            writer.write(request(seven, path="/predict/lenet"))
            while not server.server_state.tasks:
                await asyncio.sleep(0.01)
            assert not connection.cycle.response_started
            connection.resume_writing()
            assert await reader.readline() == b"HTTP/1.1 503 Service Unavailable\r\n"
            while server.server_state.tasks:
                await asyncio.sleep(0.01)
            writer.write(request(seven, path="/predict/lenet"))
            refused = connection.cycle
            while connection.cycle is refused or not connection.cycle.response_complete:
                await asyncio.sleep(0.01)
            assert not connection.cycle.body

    asyncio.run(come())

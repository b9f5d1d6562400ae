import contextlib
import signal
import socket
import threading
import time
from datetime import datetime
from urllib.error import HTTPError

import httpx
import onnxruntime as ort
import pytest

import cnnkit
from cnnkit.runtime.hardware import has_driver
from cnnkit.serving.process.server import NOTICE_SECONDS
from tests.serving.conftest import urlopen, wait_until
from tests.serving.test_metrics import values
from tests.serving.test_pressure import answer_of, connect, is_open, queue_length, request

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="POSIX signals")


def status_of(url):
    try:
        with urlopen(url, timeout=20) as answer:
            return answer.status
    except HTTPError as error:
        return error.code


def test_sigterm_withdraws_readiness_then_closes_the_door_and_ends_with_0(serve):
    server = serve("lenet")
    assert status_of(f"{server.url}/v2/health/ready") == 200
    server.process.send_signal(signal.SIGTERM)
    server.wait_for("stopping")
    assert status_of(f"{server.url}/v2/health/ready") == 503
    assert status_of(f"{server.url}/v2/health/live") == 200
    assert server.process.wait(60) == 0
    with pytest.raises(ConnectionRefusedError):
        connect(server.url)


@pytest.fixture
def sent(seven):
    """Let a gated server have so many requests, each on a connection of its own: `sent(server, 4)`."""
    with contextlib.ExitStack() as stack:

        def send(server, number):
            clients = [stack.enter_context(connect(server.url)) for _ in range(number)]
            for client in clients:
                client.sendall(request(seven))
            wait_until(lambda: queue_length(server) == number)
            return clients

        yield send


def test_what_was_accepted_is_answered_before_the_end(gated, gate, sent):
    server = gated("--max-batch", 1, "--threads", 1)
    clients = sent(server, 4)
    server.process.send_signal(signal.SIGTERM)
    wait_until(lambda: not is_open(server.url))
    gate.unlink()
    answers = [answer_of(client) for client in clients]
    assert [status for status, _, _ in answers] == [200] * 4
    assert answers[-1][1]["connection"] == "close"
    assert server.process.wait(60) == 0


def test_a_new_request_is_answered_while_the_door_is_open_and_is_the_last_of_its_connection(serve, seven):
    server = serve("lenet")
    server.process.send_signal(signal.SIGTERM)
    server.wait_for("stopping")
    with connect(server.url) as client:
        client.sendall(request(seven, path="/predict/lenet"))
        status, headers, _ = answer_of(client)
    assert (status, headers["connection"]) == (200, "close")


def test_what_does_not_end_in_time_is_told_so(gated, gate, sent):
    server = gated("--max-batch", 1, "--threads", 1, "--drain-seconds", 0.5)
    clients = sent(server, 8)
    started = time.perf_counter()
    server.process.send_signal(signal.SIGTERM)
    last = answer_of(clients[-1])
    assert (last[0], last[2]["error"]["code"]) == (503, "stopping")
    assert time.perf_counter() - started < 10
    gate.unlink()
    assert server.process.wait(60) == 0


def test_a_body_that_is_not_there_in_time_is_told_that_the_server_stops(serve):
    server = serve("lenet", "--drain-seconds", 0.5)
    with connect(server.url) as client:
        client.sendall(request(b"half", path="/predict/lenet", length=8))
        wait_until(lambda: values(server.url))
        server.process.send_signal(signal.SIGTERM)
        status, headers, body = answer_of(client)
        assert (status, headers["connection"], body["error"]["code"]) == (503, "close", "stopping")
        assert server.process.wait(5) == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_a_thread_that_never_ends_does_not_hold_the_server_up(gated, sent, workers):
    server = gated("--max-batch", 1, "--threads", 1, "--drain-seconds", 1.5, "--workers", workers)
    clients = sent(server, 4)
    started = time.perf_counter()
    server.process.send_signal(signal.SIGTERM)
    assert {answer_of(client)[2]["error"]["code"] for client in clients} == {"stopping"}
    assert server.process.wait(60) == 0
    assert time.perf_counter() - started < 2.5


def test_idle_connections_do_not_hold_the_server_up(serve):
    server = serve("lenet")
    with connect(server.url), connect(server.url):
        assert server.stop(signal.SIGINT) == 0
        began, ended = (datetime.fromisoformat(server.wait_for(event)["time"]) for event in ("stopping", "stopped"))
        assert (ended - began).total_seconds() < NOTICE_SECONDS  # Ctrl-C waits for no load balancer


def test_a_terminal_that_closes_stops_the_server_in_order(serve):
    assert serve("lenet").stop(signal.SIGHUP) == 0


def test_a_port_that_is_taken_is_an_error_before_any_model_is_opened(cli):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = cli("serve", "lenet", "--port", port)
    assert done.exit_code == 1
    assert f"cannot listen on 127.0.0.1 port {port}" in done.stderr


def test_the_log_is_text_or_json_and_carries_the_ids_of_requests(serve, seven):
    server = serve("lenet", "--access-log")
    httpx.post(f"{server.url}/predict/lenet", content=seven, headers={"x-request-id": "order-66"})
    entry = server.wait_for("request")
    assert (entry["request_id"], entry["status"], entry["level"]) == ("order-66", 200, "info")
    assert entry["message"] == "POST /predict/lenet"
    assert entry["ms"] > 0


def test_without_an_access_log_only_failures_are_logged(serve, seven):
    server = serve("lenet")
    httpx.post(f"{server.url}/predict/lenet", content=seven)
    httpx.post(f"{server.url}/predict/lenet", content=b"")
    entry = server.wait_for("request")
    assert (entry["status"], entry["level"], entry["code"]) == (400, "warning", "empty-body")


def test_a_path_makes_no_lines_of_its_own_in_the_log(serve):
    server = serve("lenet")
    httpx.post(f"{server.url}/predict/%0A2026%20error%20forged")
    assert server.wait_for("request")["message"] == "POST /predict/%0A2026%20error%20forged"


def test_requests_under_way_survive_sigterm_under_load(serve, seven):
    server = serve("lenet")
    lost, answered, stop = [], [], threading.Event()

    def load():
        while not stop.is_set():
            try:
                connection = connect(server.url)
            except OSError:
                return  # the door is closed
            with connection:
                while True:
                    connection.sendall(request(seven, path="/predict/lenet"))
                    try:
                        status, headers, _ = answer_of(connection)
                    except (OSError, IndexError, ValueError) as error:
                        lost.append(error)
                        return
                    answered.append(status)
                    if headers.get("connection") == "close":
                        break

    threads = [threading.Thread(target=load) for _ in range(6)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(answered) > 20)
    code = server.stop()
    stop.set()
    for thread in threads:
        thread.join()
    assert (code, lost) == (0, [])
    assert set(answered) == {200}


@pytest.mark.gpu
def test_a_server_on_the_gpu_says_so_and_answers_as_the_cpu_does(serve, seven):
    if "CUDAExecutionProvider" not in ort.get_available_providers() or not has_driver():
        pytest.skip("needs an NVIDIA GPU that onnxruntime can use")
    server = serve("digits", "--device", "cuda")
    answer = httpx.post(f"{server.url}/predict/digits", content=seven).json()
    expected = cnnkit.load("digits", device="cpu").predict([seven])[0]
    assert (answer["label"], answer["probability"]) == ("7", pytest.approx(expected.probability, abs=1e-4))
    labels = 'model="digits",precision="fp32",provider="CUDA",version="1"'
    assert values(server.url)["cnnkit_model_info", labels] == 1


def test_a_gpu_that_cannot_be_had_ends_the_start(cli):
    if has_driver():
        pytest.skip("this machine has a driver")
    done = cli("serve", "digits", "--device", "cuda", "--port", 0)
    assert done.exit_code == 1
    assert "--device cuda" in done.stderr

import contextlib
import json
import os
import signal
import time

import httpx
import psutil
import pytest

from tests.serving.conftest import make_model, start_server, urlopen, wait_until
from tests.serving.test_metrics import values
from tests.serving.test_pressure import answer_of, connect, is_open, queue_length, request
from tests.serving.test_repository import put

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="POSIX signals")


@pytest.fixture
def two(serve, tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(make_model(seed=1))
    return serve(path, "--workers", 2, "--admin"), path


def versions_of(server):
    """Ask on many connections, for any worker to accept."""
    found = set()
    for _ in range(16):
        with urlopen(f"{server.url}/models") as answer:
            found.add(json.loads(answer.read())["models"][0]["version"])
    return found


def workers_of(server):
    found = []
    for child in psutil.Process(server.process.pid).children():
        with contextlib.suppress(psutil.Error):  # it has just ended
            found += [child.pid] if "spawn_main" in " ".join(child.cmdline()) else []
    return found


def test_workers_share_a_port_their_metrics_and_their_end(two, seven):
    server, _ = two
    workers = workers_of(server)
    assert len(workers) == 2
    for _ in range(20):
        assert httpx.post(f"{server.url}/predict/net", content=seven).status_code == 200
    assert values(server.url)["cnnkit_requests_total", 'endpoint="predict",model="net",status="200"'] == 20
    assert server.stop() == 0
    assert not any(map(psutil.pid_exists, workers))


def test_a_worker_that_dies_is_replaced(two, seven):
    server, _ = two
    victim = workers_of(server)[0]
    os.kill(victim, signal.SIGKILL)
    assert server.wait_for("worker-died")["pid"] == victim
    wait_until(lambda: len(workers_of(server)) == 2)
    assert httpx.post(f"{server.url}/predict/net", content=seven).status_code == 200
    assert server.stop() == 0


def test_a_bad_file_and_a_dead_worker_leave_the_other_one_serving(two, seven):
    server, path = two
    put(path, b"garbage")
    server.wait_for("reload-refused")
    os.kill(workers_of(server)[0], signal.SIGKILL)
    assert "not an ONNX file" in server.wait_for("worker-failed")["message"]
    assert httpx.post(f"{server.url}/predict/net", content=seven).status_code == 200
    put(path, make_model(seed=2))
    wait_until(lambda: len(workers_of(server)) == 2 and versions_of(server) == {"2"})
    assert server.stop() == 0


def test_a_worker_that_starts_late_numbers_versions_as_the_others_do(two):
    server, path = two
    put(path, make_model(seed=2))
    for _ in range(2):
        server.wait_for("reloaded")
    for victim in workers_of(server):
        os.kill(victim, signal.SIGKILL)
        server.wait_for("worker-died")
    assert versions_of(server) == {"2"}


@pytest.mark.parametrize("started", [1, 3])
def test_a_signal_while_workers_start_ends_all_of_them(started):
    server = start_server("lenet", "--workers", 4)
    process = psutil.Process(server.process.pid)
    while len(process.children()) < started:
        time.sleep(0.002)
    assert server.stop() == 0
    server.wait_for("end")


@pytest.fixture
def draining(gated, seven):
    """Two workers that work on a request each, others that wait, and their clients: `draining(4)`."""
    with contextlib.ExitStack() as stack:

        def start(number):
            server = gated("--workers", 2, "--max-batch", 1, "--threads", 1)
            clients = [stack.enter_context(connect(server.url)) for _ in range(number)]
            for client in clients:
                client.sendall(request(seven))
            wait_until(lambda: queue_length(server) == number)
            return server, clients

        yield start


def test_ctrl_c_in_a_terminal_waits_for_what_was_accepted(draining, gate):
    server, clients = draining(4)
    os.killpg(server.process.pid, signal.SIGINT)
    wait_until(lambda: not is_open(server.url))
    gate.unlink()
    assert [answer_of(client)[0] for client in clients] == [200] * 4
    assert server.process.wait(60) == 0
    assert "Traceback" not in str(server.log)


def test_a_worker_that_dies_as_it_starts_ends_the_server_with_the_reason():
    server = start_server("lenet", "--workers", 2)
    wait_until(lambda: len(workers_of(server)) == 2)
    os.kill(workers_of(server)[1], signal.SIGKILL)
    assert server.process.wait(60) == 1
    server.wait_for("end")
    said = " ".join(entry["message"] for entry in server.log)
    assert "died as it started" in said
    assert "Traceback" not in said


def test_ctrl_c_while_workers_start_says_nothing_of_their_insides():
    server = start_server("lenet", "--workers", 2)
    while len(psutil.Process(server.process.pid).children()) < 3:
        time.sleep(0.002)
    os.killpg(server.process.pid, signal.SIGINT)
    assert server.process.wait(60) == 0
    server.wait_for("end")
    assert "Traceback" not in str(server.log)


def test_the_door_is_closed_while_workers_drain(draining, gate):
    server, clients = draining(20)
    server.process.send_signal(signal.SIGTERM)
    wait_until(lambda: not is_open(server.url))
    assert server.process.poll() is None
    gate.unlink()
    assert [answer_of(client)[0] for client in clients] == [200] * 20


def test_workers_do_not_outlive_whoever_looks_after_them(two):
    server, _ = two
    workers = workers_of(server)
    server.process.kill()
    gone, alive = psutil.wait_procs([psutil.Process(pid) for pid in workers], timeout=60)
    assert (len(gone), alive) == (2, [])


def test_a_reload_that_one_worker_is_asked_for_reaches_all(serve, tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(make_model(seed=1))
    server = serve(path, "--workers", 2, "--admin", "--no-watch")
    put(path, make_model(seed=2))
    httpx.post(f"{server.url}/admin/reload").raise_for_status()
    wait_until(lambda: versions_of(server) == {"2"})


def test_a_model_that_cannot_be_served_ends_all_with_its_error(tmp_path):
    (tmp_path / "net.onnx").write_bytes(b"garbage")
    server = start_server(tmp_path / "net.onnx", "--workers", 2)
    assert server.process.wait(60) == 1
    server.wait_for("end")
    said = " ".join(entry["message"] for entry in server.log)
    assert "not an ONNX file" in said
    assert "Traceback" not in said

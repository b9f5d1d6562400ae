import os
import signal
import time
from urllib.request import urlopen

import httpx
import psutil
import pytest

from tests.serving.conftest import make_model, start_server
from tests.serving.test_metrics import values

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="POSIX signals")


@pytest.fixture
def two(serve, tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(make_model(seed=1))
    return serve(path, "--workers", 2, "--admin"), path


def workers_of(server):
    found = psutil.Process(server.process.pid).children()
    return [child.pid for child in found if "spawn_main" in " ".join(child.cmdline())]


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
    deadline = time.monotonic() + 10
    while len(workers_of(server)) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert httpx.post(f"{server.url}/predict/net", content=seven).status_code == 200
    assert server.stop() == 0


def test_workers_do_not_outlive_whoever_looks_after_them(two):
    server, _ = two
    workers = workers_of(server)
    server.process.kill()
    gone, alive = psutil.wait_procs([psutil.Process(pid) for pid in workers], timeout=10)
    assert (len(gone), alive) == (2, [])


def test_a_reload_that_one_worker_is_asked_for_reaches_all(two, seven):
    server, _ = two
    httpx.post(f"{server.url}/admin/reload").raise_for_status()
    deadline = time.monotonic() + 10
    while True:
        versions = set()
        for _ in range(16):  # each on a connection of its own, for either worker to accept
            with urlopen(f"{server.url}/models") as answer:
                versions.add(answer.read().count(b'"version":"2"'))
        if versions == {1}:
            break
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_model_that_cannot_be_served_ends_all_with_its_error(tmp_path):
    (tmp_path / "net.onnx").write_bytes(b"garbage")
    server = start_server(tmp_path / "net.onnx", "--workers", 2)
    assert server.process.wait(20) == 1
    server.wait_for("end")
    said = " ".join(entry["message"] for entry in server.log)
    assert "not an ONNX file" in said
    assert "Traceback" not in said
    server.process.stderr.close()

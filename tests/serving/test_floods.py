"""Clients who send images that take long to decode do not hold up the others."""

import contextlib
import gzip
import importlib.util
import io
import signal
import threading
import time
from pathlib import Path

import httpx
import psutil
import pytest
from PIL import Image

_path = Path(__file__).parents[2] / "scripts" / "floods.py"
_spec = importlib.util.spec_from_file_location("floods", _path)
floods = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(floods)

NAMES = ["PNG, tEXt", "JPEG, COM", "JPEG, scans", "BMP, runs of two"]
GZIP = {"Content-Encoding": "gzip"}


@pytest.fixture(scope="module")
def bodies():
    return [gzip.compress(floods.body(name, 8_000_000)) for name in NAMES]


def decoders(server):
    """Return the processes that decode for a server."""
    children = psutil.Process(server.process.pid).children(recursive=True)
    return [each for each in children if "decoding.child" in " ".join(each.cmdline())]


def test_a_good_client_is_answered_while_floods_are_decoded(serve, seven, bodies):
    server, answers, waits = serve("digits"), [], []
    path = f"{server.url}/predict/digits"

    def attack(body):
        with httpx.Client(timeout=60) as client:
            answers.append(client.post(path, content=body, headers=GZIP))

    with httpx.Client(timeout=60) as client:
        client.post(path, content=seven)
        attackers = [threading.Thread(target=attack, args=[body]) for body in bodies]
        for attacker in attackers:
            attacker.start()
        while any(attacker.is_alive() for attacker in attackers):
            started = time.perf_counter()
            assert client.post(path, content=seven).status_code == 200
            waits.append(time.perf_counter() - started)
            time.sleep(0.01)
    # A fast processor may be through with one of them within its time.
    assert len(answers) == len(bodies)
    assert {answer.status_code for answer in answers} <= {200, 422}
    refused = [answer for answer in answers if answer.status_code == 422]
    assert {answer.json()["error"]["code"] for answer in refused} == {"image"}
    # What holds up the event loop or the batch would be seen by all; a busy machine delays a few.
    waits.sort()
    assert len(waits) > 30
    assert waits[len(waits) * 9 // 10] < 0.25
    assert len(decoders(server)) <= 2


def test_a_large_photo_is_answered_beside_small_images(serve, seven):
    file = io.BytesIO()
    Image.effect_noise((4000, 4000), 50).save(file, "JPEG", quality=60)
    server = serve("digits")
    with httpx.Client(base_url=server.url, timeout=60) as client:
        large, small = (client.post("/predict/digits", content=content) for content in (file.getvalue(), seven))
    assert (large.status_code, small.status_code) == (200, 200)
    assert len(decoders(server)) == 1


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="POSIX signals")
def test_a_flood_does_not_keep_the_server_from_its_end(serve, bodies):
    server = serve("digits", "--drain-seconds", 1)

    def attack(body):
        # What is not done in time may be cut off.
        with contextlib.suppress(httpx.TransportError), httpx.Client(timeout=60) as client:
            client.post(f"{server.url}/predict/digits", content=body, headers=GZIP)

    attackers = [threading.Thread(target=attack, args=[body]) for body in bodies * 2]
    for attacker in attackers:
        attacker.start()
    deadline = time.monotonic() + 30
    while not (found := decoders(server)) and time.monotonic() < deadline:
        time.sleep(0.02)
    started = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - started < 8
    for attacker in attackers:
        attacker.join()
    assert found
    assert psutil.wait_procs(found, 5)[1] == []

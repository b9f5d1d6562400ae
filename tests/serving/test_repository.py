import json
import signal
import time

import httpx
import numpy as np
import onnx
import psutil
import pytest
from onnx import helper, numpy_helper

from cnnkit.card import CARD_KEY
from tests.serving.conftest import make_model
from tests.serving.test_metrics import values


def put(path, content):
    """Write as a deployment should: beside it, and then renamed."""
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(content)
    temporary.replace(path)


@pytest.fixture
def watched(serve, tmp_path):
    """A server of a small model, and its file."""
    path = tmp_path / "net.onnx"
    path.write_bytes(make_model(seed=1))
    return serve(path, "--admin"), path


def asked(server, image):
    return httpx.post(f"{server.url}/predict/net", content=image).json()


def test_a_changed_file_is_loaded_and_served(watched, seven):
    server, path = watched
    before = asked(server, seven)
    put(path, make_model(seed=2))
    server.wait_for("reloaded")
    after = asked(server, seven)
    assert (before["version"], after["version"]) == ("1", "2")
    assert before["probabilities"] != after["probabilities"]
    assert values(server.url)["cnnkit_reloads_total", 'model="net",outcome="swapped"'] == 1
    assert httpx.get(f"{server.url}/v2/models/net").json()["versions"] == ["2"]
    assert httpx.get(f"{server.url}/v2/models/net/versions/1").status_code == 404


def test_versions_are_told_apart_by_content(watched, seven):
    server, path = watched
    for content, version in ((make_model(seed=2), "2"), (make_model(seed=1), "1"), (make_model(seed=2), "2")):
        put(path, content)
        httpx.post(f"{server.url}/admin/reload").raise_for_status()
        assert asked(server, seven)["version"] == version
    path.touch()
    server.wait_for("unchanged")
    httpx.post(f"{server.url}/admin/reload").raise_for_status()
    assert values(server.url)["cnnkit_reloads_total", 'model="net",outcome="swapped"'] == 3
    assert asked(server, seven)["version"] == "2"


def test_other_weights_beside_the_file_are_another_version(serve, seven, tmp_path):
    path = tmp_path / "net.onnx"
    save = {"save_as_external_data": True, "location": "net.data", "size_threshold": 0}
    onnx.save(onnx.load_from_string(make_model(seed=1)), path, **save)
    server = serve(path, "--admin", "--no-watch")
    before = asked(server, seven)
    (tmp_path / "net.data").unlink()
    onnx.save(onnx.load_from_string(make_model(seed=2)), path, **save)
    httpx.post(f"{server.url}/admin/reload").raise_for_status()
    after = asked(server, seven)
    assert (before["version"], after["version"]) == ("1", "2")
    assert before["probabilities"] != after["probabilities"]


def test_a_file_that_is_gone_is_said_and_its_model_serves_on(watched, seven):
    server, path = watched
    path.unlink()
    server.wait_for("file-gone")
    assert asked(server, seven)["version"] == "1"
    answer = httpx.post(f"{server.url}/admin/reload")
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "reload-refused")
    path.write_bytes(make_model(seed=2))
    server.wait_for("reloaded")


def hanging():
    """Return a file that would run for hours, and passes all that looks at its operators."""
    model = onnx.load_from_string(make_model(seed=5))
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 1, 500, 500], np.float32), "scales"))
    before = [
        helper.make_node("Cast", ["image"], ["floats"], to=1),
        helper.make_node("Transpose", ["floats"], ["nchw"], perm=[0, 3, 1, 2]),
        helper.make_node("Resize", ["nchw", "", "scales"], ["big"]),
        helper.make_node("AveragePool", ["big"], ["pooled"], kernel_shape=[7000, 7000]),
        helper.make_node("ReduceMax", ["pooled"], ["most"], keepdims=0),
        helper.make_node("Mul", ["floats", "most"], ["values"]),
    ]  # fmt: skip
    del model.graph.node[0]
    nodes = [*before, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model.SerializeToString()


def prepared_otherwise():
    """Return a file whose images are cropped, not stretched."""
    model = onnx.load_from_string(make_model(seed=6))
    entry = next(entry for entry in model.metadata_props if entry.key == CARD_KEY)
    card = json.loads(entry.value)
    card["preprocessing"]["fit"] = "cover"
    entry.value = json.dumps(card)
    return model.SerializeToString()


BAD = {
    "another preprocessing": (prepared_otherwise(), "its preprocessing (fit) are not those of"),
    "garbage": (b"garbage", "not an ONNX file"),
    "half of a file": (make_model(seed=3)[:1000], "net.onnx"),
    "other classes": (make_model(classes=5), "its labels"),
    "another input": (make_model(side=20), "its tensors"),
    "weights that are no numbers": (make_model(scale=float("inf")), "expected finite scores"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_leaves_the_old_one_serving(watched, seven, name):
    server, path = watched
    content, said = BAD[name]
    before = asked(server, seven)
    put(path, content)
    entry = server.wait_for("reload-refused")
    assert said in entry["message"]
    after = asked(server, seven)
    assert (after["version"], after["probabilities"]) == ("1", before["probabilities"])
    assert values(server.url)["cnnkit_reloads_total", 'model="net",outcome="refused"'] == 1


def test_a_file_that_hangs_leaves_the_old_one_serving_and_the_next_one_is_taken(watched, seven):
    server, path = watched
    put(path, hanging())
    assert "it takes more than" in server.wait_for("reload-refused")["message"]
    assert asked(server, seven)["version"] == "1"
    put(path, make_model(seed=7))
    server.wait_for("reloaded")
    assert asked(server, seven)["version"] == "2"


def test_a_server_that_is_stopped_ends_the_trial_of_a_file(watched):
    server, path = watched
    process = psutil.Process(server.process.pid)
    before = set(process.children())
    put(path, hanging())
    deadline, trials = time.monotonic() + 20, set()
    while not trials and time.monotonic() < deadline:
        time.sleep(0.02)
        trials = set(process.children()) - before
    started = time.monotonic()
    assert server.stop(signal.SIGTERM) == 0
    assert trials
    assert time.monotonic() - started < 3
    assert not psutil.wait_procs(trials, timeout=2)[1]


def test_a_file_that_is_gone_serves_on_and_its_successor_is_taken(watched, seven):
    server, path = watched
    path.unlink()
    time.sleep(1.3)
    assert asked(server, seven)["version"] == "1"
    path.write_bytes(make_model(seed=4))
    server.wait_for("reloaded")
    assert asked(server, seven)["version"] == "2"


def test_a_reload_can_be_asked_for_and_says_what_became_of_it(watched):
    server, path = watched
    for version in ("1", "2"):
        answer = httpx.post(f"{server.url}/admin/reload", json={"model": "net"})
        assert answer.json() == {"models": [{"model": "net", "version": version}]}
        put(path, make_model(seed=2))
    path.write_bytes(b"garbage")
    answer = httpx.post(f"{server.url}/admin/reload")
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (422, "reload-refused")
    assert error["message"].startswith("net stays at version 2: ")
    assert "not an ONNX file" in error["message"]


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b'{"model": "nett"}', {}, 404),
        (b'{"path": "/etc/passwd"}', {}, 400),
        (b'{"model": 3}', {}, 400),
        (b"[]", {}, 400),
        (b"{", {}, 400),
        (b"{}", {"origin": "http://evil.example"}, 403),
        (b"{}", {"x-forwarded-for": "10.1.2.3"}, 403),
        (b"{}", {"x-real-ip": "10.1.2.3"}, 403),
        (b"{}", {"via": "1.1 proxy"}, 403),
        (b"{}", {"host": "evil.example"}, 421),
        (b"{}", {"host": "printer"}, 403),
    ],
)
def test_a_reload_is_for_programs_on_this_machine_and_names_no_files(watched, body, headers, status):
    server, _ = watched
    answer = httpx.post(f"{server.url}/admin/reload", content=body, headers=headers)
    assert answer.status_code == status
    assert answer.json()["error"]["message"]


def test_a_reload_is_not_offered_unless_asked_for(client):
    assert client.post("/admin/reload").status_code == 404


def test_without_watching_a_changed_file_is_left_alone(serve, tmp_path, seven):
    path = tmp_path / "net.onnx"
    path.write_bytes(make_model(seed=1))
    server = serve(path, "--no-watch")
    put(path, make_model(seed=2))
    time.sleep(1.5)
    assert asked(server, seven)["version"] == "1"

"""503 is overload, 500 is our fault or the network's; the counters agree."""

import io

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.serving.conftest import make_model
from tests.serving.test_metrics import values


def picture(value):
    file = io.BytesIO()
    Image.new("L", (16, 16), value).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def dividing(serve_forever, tmp_path_factory):
    """A server of a network that gives NaN for black images."""
    path = tmp_path_factory.mktemp("dividing") / "net.onnx"
    path.write_bytes(make_model(divides=True))
    return serve_forever(path)


def test_a_network_that_gives_nan_is_at_fault(dividing):
    bad = httpx.post(f"{dividing.url}/predict/net", content=picture(0))
    assert (bad.status_code, bad.json()["error"]["code"], bad.headers.get("retry-after")) == (500, "onnx", None)
    assert "not finite" in bad.json()["error"]["message"]
    assert httpx.post(f"{dividing.url}/predict/net", content=picture(9)).status_code == 200
    assert not any(name == "cnnkit_refused_total" for name, _ in values(dividing.url))


@pytest.mark.parametrize(("binary", "status"), [(False, 500), (True, 200)])
def test_json_has_no_nan_and_bytes_have(dividing, binary, status):
    tensor = {"name": "image", "datatype": "UINT8", "shape": [1, 16, 16, 1], "data": [0] * 256}
    request = {"inputs": [tensor], "parameters": {"binary_data_output": binary}}
    answer = httpx.post(f"{dividing.url}/v2/models/net/infer", json=request)
    assert answer.status_code == status
    if binary:
        assert np.isnan(
            np.frombuffer(answer.content[int(answer.headers["inference-header-content-length"]) :], "<f4")
        ).all()
    else:
        assert answer.json()["code"] == "not-finite"


def test_the_counters_agree(serve, seven):
    server = serve("digits")
    for body in (seven, b"no image", seven):
        httpx.post(f"{server.url}/predict/digits", content=body)
    (found,) = httpx.get(f"{server.url}/v2/models/digits/stats").json()["model_stats"]
    stats = found["inference_stats"]
    assert {
        stats[stage]["count"] for stage in ("success", "queue", "compute_input", "compute_infer", "compute_output")
    } == {2}
    assert (stats["fail"]["count"], found["inference_count"], found["execution_count"]) == (1, 2, 2)
    for batch in found["batch_stats"]:
        assert batch["compute_input"]["count"] == batch["compute_infer"]["count"] == batch["compute_output"]["count"]


def test_statistics_of_one_worker_are_not_those_of_the_server(serve):
    server = serve("digits", "--workers", 2)
    answer = httpx.get(f"{server.url}/v2/models/digits/stats")
    assert (answer.status_code, answer.json()["code"]) == (404, "not-offered")
    assert "statistics" not in httpx.get(f"{server.url}/v2").json()["extensions"]

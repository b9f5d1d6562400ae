"""The unmodified client of Triton against a real server."""

import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException

from cnnkit.images import prepare

ZOO = Path(__file__).parents[2] / "models_zoo"
NAMES = ["lenet", "digits", "shapes-cnn"]


@pytest.fixture
def triton(server: Any) -> Iterator[InferenceServerClient]:
    with InferenceServerClient(server.url.removeprefix("http://"), concurrency=4) as client:
        yield client


@pytest.fixture(scope="module")
def lenet() -> ort.InferenceSession:
    return ort.InferenceSession(ZOO / "lenet-mnist" / "model.onnx")


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (3, 28, 28, 1), np.uint8)


def image_input(pixels: np.ndarray, *, binary: bool = True) -> list[InferInput]:
    made = InferInput("image", list(pixels.shape), "UINT8")
    return [made.set_data_from_numpy(pixels, binary_data=binary)]


def test_the_server_and_its_models_are_there(triton: InferenceServerClient) -> None:
    assert triton.is_server_live()
    assert triton.is_server_ready()
    for name in NAMES:
        assert triton.is_model_ready(name)
        assert triton.is_model_ready(name, "1")
    assert not triton.is_model_ready("alexnet")
    assert not triton.is_model_ready("lenet", "2")


def test_the_server_says_what_it_is_and_has(triton: InferenceServerClient) -> None:
    assert triton.get_server_metadata()["name"] == "cnnkit"
    metadata = triton.get_model_metadata("lenet", "1")
    assert metadata["inputs"] == [{"name": "image", "datatype": "UINT8", "shape": [-1, 28, 28, 1]}]
    assert triton.get_model_metadata("lenet") == metadata
    config = triton.get_model_config("lenet")
    assert (config["max_batch_size"], config["input"][0]["dims"]) == (32, [28, 28, 1])
    assert triton.get_model_config("lenet", "1") == config
    index = triton.get_model_repository_index()
    assert [(entry["name"], entry["version"], entry["state"]) for entry in index] == [(n, "1", "READY") for n in NAMES]


def test_statistics_count_images_and_batches(triton: InferenceServerClient, pixels: np.ndarray) -> None:
    def statistics(*model: str) -> dict[str, Any]:
        return next(m for m in triton.get_inference_statistics(*model)["model_stats"] if m["name"] == "shapes-cnn")

    before = statistics()
    triton.infer("shapes-cnn", image_input(np.repeat(pixels, 3, axis=3)))
    after = statistics("shapes-cnn", "1")
    assert after["inference_count"] == before["inference_count"] + 3
    assert after["execution_count"] == before["execution_count"] + 1
    assert after["inference_stats"]["success"]["count"] == before["inference_stats"]["success"]["count"] + 1
    assert after["inference_stats"]["compute_infer"]["ns"] > before["inference_stats"]["compute_infer"]["ns"]
    assert 3 in {batch["batch_size"] for batch in after["batch_stats"]}
    assert after["last_inference"] > 1_700_000_000_000


def test_a_large_answer_is_that_of_the_file(triton: InferenceServerClient, lenet: ort.InferenceSession) -> None:
    many = np.random.default_rng(6).integers(0, 256, (32, 28, 28, 1), np.uint8)
    wanted = [InferRequestedOutput("logits", binary_data=False)]
    got = triton.infer("lenet", image_input(many), outputs=wanted).as_numpy("logits")
    np.testing.assert_allclose(got, lenet.run(["logits"], {"image": many})[0], atol=1e-4)


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
@pytest.mark.parametrize("compression", [(None, None), ("gzip", "deflate"), ("deflate", "gzip")])
def test_outputs_are_those_of_the_file(
    triton: InferenceServerClient,
    lenet: ort.InferenceSession,
    pixels: np.ndarray,
    binary_in: bool,
    binary_out: bool,
    compression: tuple[str | None, str | None],
) -> None:
    outputs = [InferRequestedOutput(name, binary_data=binary_out) for name in ("probabilities", "logits")]
    result = triton.infer(
        "lenet",
        image_input(pixels, binary=binary_in),
        outputs=outputs,
        request_id="a1",
        request_compression_algorithm=compression[0],
        response_compression_algorithm=compression[1],
    )
    logits, probabilities = lenet.run(["logits", "probabilities"], {"image": pixels})
    np.testing.assert_allclose(result.as_numpy("logits"), logits, atol=1e-5)
    np.testing.assert_allclose(result.as_numpy("probabilities"), probabilities, atol=1e-6)
    answer = result.get_response()
    assert (answer["id"], answer["model_name"], answer["model_version"]) == ("a1", "lenet", "1")
    assert [output["name"] for output in answer["outputs"]] == ["probabilities", "logits"]


def test_all_outputs_come_where_none_is_named(triton: InferenceServerClient, pixels: np.ndarray) -> None:
    answer = triton.infer("lenet", image_input(pixels), model_version="1").get_response()
    assert [output["name"] for output in answer["outputs"]] == ["logits", "probabilities"]


def test_more_images_than_a_batch_holds_are_refused(triton: InferenceServerClient, pixels: np.ndarray) -> None:
    many = np.tile(pixels, (30, 1, 1, 1))
    with pytest.raises(InferenceServerException, match=r"90 images.*takes 32"):
        triton.infer("lenet", image_input(many))


def test_requests_at_the_same_time_get_their_own_answers(
    triton: InferenceServerClient, lenet: ort.InferenceSession
) -> None:
    images = np.random.default_rng(6).integers(0, 256, (24, 1, 28, 28, 1), np.uint8)
    pending = [triton.async_infer("lenet", image_input(image)) for image in images]
    found = np.concatenate([each.get_result().as_numpy("logits") for each in pending])
    np.testing.assert_allclose(found, lenet.run(["logits"], {"image": images[:, 0]})[0], atol=1e-5)


@pytest.mark.parametrize("binary", [True, False])
def test_a_class_has_its_label(triton: InferenceServerClient, seven: bytes, binary: bool) -> None:
    from cnnkit import load

    prepared = prepare(seven, load("digits").card.preprocessing).pixels[None]
    wanted = [InferRequestedOutput("probabilities", binary_data=binary, class_count=2)]
    found = triton.infer("digits", image_input(prepared), outputs=wanted).as_numpy("probabilities")
    assert found.shape == (1, 2)
    value, index, label = str(found[0, 0], "utf-8").split(":") if binary else found[0, 0].split(":")
    assert (index, label) == ("7", "7")
    assert float(value) > 0.9


@pytest.mark.parametrize(
    ("call", "status", "said"),
    [
        (lambda t, x: t.infer("lenett", x), "404", "there is no model 'lenett'; this server has lenet"),
        (lambda t, x: t.infer("lenet", x, model_version="9"), "404", "lenet has no version '9'; version 1 serves"),
        (lambda t, x: t.infer("shapes-cnn", x), "422", "shape is [3, 28, 28, 1]; image takes [N, 28, 28, 3]"),
        (lambda t, x: t.infer("lenet", []), "422", "the request lacks the input image"),
        (lambda t, x: t.infer("lenet", x, outputs=[InferRequestedOutput("scores")]), "422", "has logits"),
        (lambda t, x: t.get_model_metadata("resnet"), "404", "there is no model 'resnet'"),
        (lambda t, x: t.get_model_config("lenet", "0"), "404", "has no version '0'"),
        (lambda t, x: t.get_inference_statistics("resnet"), "404", "there is no model 'resnet'"),
        (lambda t, x: t.load_model("lenet"), "404", "there is nothing at '/v2/repository/models/lenet/load'"),
        (lambda t, x: t.get_system_shared_memory_status(), "404", "there is nothing at"),
        (lambda t, x: t.get_log_settings(), "404", "there is nothing at"),
    ],
)  # fmt: skip
def test_the_client_is_told_in_a_sentence(
    triton: InferenceServerClient, pixels: np.ndarray, call: Callable[..., Any], status: str, said: str
) -> None:
    with pytest.raises(InferenceServerException) as raised:
        call(triton, image_input(pixels))
    assert raised.value.status() == status
    assert said in raised.value.message()


@pytest.mark.parametrize(
    ("headers", "content", "status", "code"),
    [
        ({}, b"{", 400, "json"),
        ({"Inference-Header-Content-Length": "abc"}, b"{}", 400, "json"),
        ({"Inference-Header-Content-Length": "-1"}, b"{}", 400, "json"),
        ({"Inference-Header-Content-Length": "99"}, b"{}", 400, "json"),
        ({"Content-Encoding": "br"}, b"{}", 415, "content-encoding"),
        ({"Content-Encoding": "gzip"}, b"{}", 400, "content-encoding"),
        ({"Content-Encoding": "deflate"}, zlib.compress(bytes(17 * 2**20)), 413, "body-too-large"),
    ],
)
def test_an_error_has_the_protocols_form(
    client: httpx.Client, headers: dict[str, str], content: bytes, status: int, code: str
) -> None:
    response = client.post("/v2/models/lenet/infer", content=content, headers=headers)
    assert response.status_code == status
    answer = response.json()
    assert (answer["code"], answer["request_id"]) == (code, response.headers["x-request-id"])
    assert isinstance(answer["error"], str)


def test_a_client_that_cannot_wait_is_told(serve: Callable[..., Any], pixels: np.ndarray) -> None:
    address = serve("lenet", "--max-delay-ms", 5000).url.removeprefix("http://")
    with InferenceServerClient(address) as triton:
        with pytest.raises(InferenceServerException, match=r"0\.2 s") as raised:
            triton.infer("lenet", image_input(pixels), timeout=200_000)
        assert raised.value.status() == "503"


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A linear classifier of float32 [N, 3, 4, 4] into four classes, without a card."""
    nodes = [helper.make_node("Flatten", ["x"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["y"])]
    weights = np.random.default_rng(8).normal(size=(48, 4)).astype(np.float32)
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 4, 4])
    gives = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])
    graph = helper.make_graph(nodes, "net", [given], [gives], [numpy_helper.from_array(weights, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (tmp_path / "linear.onnx").write_bytes(model.SerializeToString())
    return tmp_path / "linear.onnx"


def test_somebody_elses_file_takes_floats(serve: Callable[..., Any], foreign: Path) -> None:
    session = ort.InferenceSession(foreign)
    images = np.random.default_rng(7).normal(size=(2, 3, 4, 4)).astype(np.float32)
    with InferenceServerClient(serve(foreign).url.removeprefix("http://")) as triton:
        metadata = triton.get_model_metadata("linear")
        assert metadata["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 3, 4, 4]}]
        for binary in (True, False):
            given = InferInput("x", list(images.shape), "FP32").set_data_from_numpy(images, binary_data=binary)
            found = triton.infer("linear", [given]).as_numpy("y")
            np.testing.assert_allclose(found, session.run(["y"], {"x": images})[0], rtol=1e-5)
        images[0] = np.nan
        given = InferInput("x", list(images.shape), "FP32").set_data_from_numpy(images)
        with pytest.raises(InferenceServerException, match="not finite numbers, for which JSON has no form"):
            triton.infer("linear", [given], outputs=[InferRequestedOutput("y", binary_data=False)])
        assert np.isnan(triton.infer("linear", [given]).as_numpy("y")[0]).all()

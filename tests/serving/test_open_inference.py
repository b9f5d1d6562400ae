"""Requests as the real client writes them, responses as it reads them, and everything else as a sentence."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput, InferResult
from tritonclient.utils import np_to_triton_dtype

from cnnkit.serving.http.errors import HttpError
from cnnkit.serving.v2.codec import MAX_JSON, InferRequest, RequestedOutput, decode_request, encode_response
from cnnkit.serving.v2.tensors import Array, NotFiniteError, TensorSpec

IMAGE = (TensorSpec("image", "UINT8", (-1, 2, 2, 1)),)
SCORES = (TensorSpec("logits", "FP32", (-1, 3)), TensorSpec("probabilities", "FP32", (-1, 3)))
PIXELS = np.arange(8, dtype=np.uint8).reshape(2, 2, 2, 1)
LABELS = ("cat", "dog", "eel")
OUTPUTS = {
    "logits": np.array([[1, 3.3, 0.5], [2, 2, -1]], np.float32),
    "probabilities": np.array([[0.1, 0.85, 0.05], [0.48, 0.48, 0.04]], np.float32),
}


def client_input(array: Array, name: str = "image", *, binary: bool = True) -> InferInput:
    made = InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
    return made.set_data_from_numpy(array, binary_data=binary)


def client_request(array: Array = PIXELS, *, binary: bool = True, **options: Any) -> tuple[bytes, int | None]:
    body, length = InferenceServerClient.generate_request_body([client_input(array, binary=binary)], **options)
    return body, length


def read(request: InferRequest, outputs: dict[str, Array] = OUTPUTS) -> InferResult:
    body, length = encode_response(request, "pets", "3", outputs, LABELS)
    return InferenceServerClient.parse_response_body(body, header_length=length)


@pytest.mark.parametrize("binary", [True, False])
def test_what_the_client_sends_is_what_the_model_gets(binary: bool) -> None:
    body, length = client_request(binary=binary, request_id="42", timeout=1_500_000, sequence_id=7)
    assert (length is not None) == binary
    request = decode_request(body, length, IMAGE, SCORES)
    np.testing.assert_array_equal(request.inputs["image"], PIXELS)
    assert request.inputs["image"].dtype == np.uint8
    # A client that asks for nothing in particular asks for all of it in binary.
    assert request.outputs == (RequestedOutput("logits", binary=True), RequestedOutput("probabilities", binary=True))
    assert (request.id, request.timeout_seconds) == ("42", 1.5)


def test_binary_pixels_are_not_copied() -> None:
    request = decode_request(*client_request(), IMAGE, SCORES)
    assert not request.inputs["image"].flags.owndata


@given(
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    kind=st.sampled_from(["?", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8"]),
    name=st.text(min_size=1),
    binary=st.booleans(),
    seed=st.integers(0, 99),
)
def test_any_tensor_of_the_client_arrives(shape: list[int], kind: str, name: str, binary: bool, seed: int) -> None:
    array = np.frombuffer(np.random.default_rng(seed).bytes(8 * 4**4), np.uint8).astype(kind)
    array = array[: np.prod(shape)].reshape(shape)
    spec = TensorSpec(name, np_to_triton_dtype(array.dtype), (-1,) * len(shape))
    body, length = InferenceServerClient.generate_request_body(
        [client_input(array, name, binary=binary or kind == "f2")]
    )
    arrived = decode_request(body, length, [spec], SCORES).inputs[name]
    np.testing.assert_array_equal(arrived, array)
    assert arrived.dtype == array.dtype


def test_several_inputs_share_the_binary_part() -> None:
    first, second = np.arange(3, dtype=np.float32), np.array([[1], [2]], np.int64)
    third = np.array([True, False])
    inputs = [client_input(second, "b"), client_input(third, "c", binary=False), client_input(first, "a")]
    body, length = InferenceServerClient.generate_request_body(inputs)
    specs = [TensorSpec("a", "FP32", (3,)), TensorSpec("b", "INT64", (-1, 1)), TensorSpec("c", "BOOL", (2,))]
    request = decode_request(body, length, specs, SCORES)
    for name, array in (("a", first), ("b", second), ("c", third)):
        np.testing.assert_array_equal(request.inputs[name], array)


def request_of(**changes: Any) -> bytes:
    """Return a request in JSON; `None` takes a field away, and those of the input have `input_` before them."""
    tensor: dict[str, Any] = {"name": "image", "datatype": "UINT8", "shape": [1, 2, 2, 1], "data": [1, 2, 3, 4]}
    document: dict[str, Any] = {"inputs": [tensor]}
    for key, value in changes.items():
        owner = tensor if key.startswith("input_") else document
        owner[key.removeprefix("input_")] = value
    clean = {key: value for key, value in tensor.items() if value is not None}
    document["inputs"] = [clean if item is tensor else item for item in document["inputs"] or ()]
    return json.dumps({key: value for key, value in document.items() if value is not None}).encode()


def test_what_a_person_writes_with_curl_is_enough() -> None:
    request = decode_request(request_of(input_data=[[[[1], [2]], [[3], [4]]]], model_name="pets"), None, IMAGE, SCORES)
    assert request.inputs["image"].tolist() == [[[[1], [2]], [[3], [4]]]]
    assert request.outputs == (RequestedOutput("logits"), RequestedOutput("probabilities"))
    assert (request.id, request.timeout_seconds) == ("", None)
    answer = json.loads(encode_response(request, "pets", "3", {name: out[:1] for name, out in OUTPUTS.items()})[0])
    assert answer["model_name"] == "pets"
    assert "id" not in answer


BAD: list[tuple[bytes, int, str, str]] = [
    (b"", 400, "json", "not JSON: EOF while parsing a value at line 1 column 0. Where binary data"),
    (b"{", 400, "json", "not JSON: EOF"),
    (b'{"inputs": NaN}', 400, "json", "not JSON"),
    (b"[" * 100_000, 400, "json", "recursion limit"),
    (b"\xff\xfe", 400, "json", "not JSON"),
    (b'{"id": "\\ud800"}', 400, "json", "not JSON"),
    (b"1" * 5000, 400, "json", "number out of range"),
    (b"[1, 2]", 400, "request", "the request: "),
    (request_of(inputs=None), 422, "tensor", "the request lacks the input image, which the model takes"),
    (b"{}", 400, "request", "inputs: Field required"),
    (b'{"inputs": {}}', 400, "request", "inputs: "),
    (b'{"inputs": [7]}', 400, "request", "inputs[0]: "),
    (request_of(id=7), 400, "request", "id: Input should be a valid string"),
    (request_of(parameters=[]), 400, "request", "parameters: "),
    (request_of(parameters={"timeout": "1 s"}), 400, "request", "parameters.timeout: Input should be a valid integer"),
    (request_of(parameters={"binary_data_output": 1}), 400, "request", "parameters.binary_data_output: "),
    (request_of(input_name=None), 400, "request", "inputs[0].name: Field required"),
    (request_of(input_name="images"), 422, "tensor", "inputs[0] is named 'images'; the model has image."),
    (request_of(input_datatype="FP32"), 422, "tensor", "inputs[0].datatype is 'FP32'; image takes UINT8."),
    (request_of(input_datatype="BYTES"), 422, "tensor", "An encoded image goes to POST /predict/NAME."),
    (request_of(input_datatype="uint8"), 422, "tensor", "is 'uint8'; image takes UINT8"),
    (request_of(input_shape=None), 400, "request", "inputs[0].shape: Field required"),
    (request_of(input_shape=[2, 2, 1]), 422, "tensor", "shape is [2, 2, 1]; image takes [N, 2, 2, 1], N from"),
    (request_of(input_shape=[1, 2, 3, 1]), 422, "tensor", "shape is [1, 2, 3, 1]"),
    (request_of(input_shape=[0, 2, 2, 1]), 422, "tensor", "shape is [0, 2, 2, 1]"),
    (request_of(input_shape=[-1, 2, 2, 1]), 422, "tensor", "shape is [-1, 2, 2, 1]"),
    (request_of(input_shape=[True, 2, 2, 1]), 400, "request", "inputs[0].shape[0]: Input should be a valid integer"),
    (request_of(input_shape=[1, 2.0, 2, 1]), 400, "request", "inputs[0].shape[1]: Input should be a valid integer"),
    (request_of(input_shape=["1", 2, 2, 1]), 400, "request", "inputs[0].shape[0]: "),
    (request_of(input_shape=[10**4000, 2, 2, 1]), 422, "tensor", "shape is [1000"),
    (request_of(input_shape=[2**62, 2, 2, 1]), 400, "tensor-data", "4 elements, or is not nested as"),
    (request_of(input_shape=[[1], 2, 2, 1]), 400, "request", "inputs[0].shape[0]: "),
    (request_of(input_data=None), 400, "request", "inputs[0] must have either data or parameters.binary_data_size"),
    (request_of(input_data="1234"), 400, "request", "inputs[0].data: Input should be a valid "),
    (request_of(input_data=[1, 2, 3]), 400, "tensor-data", "inputs[0].data has 3 elements, or is not nested as"),
    (request_of(input_data=None, input_parameters={"binary_data_size": 4}), 400, "tensor-data", "header Inference-"),
    (request_of(input_parameters={"binary_data_size": 4.0}), 400, "request", "inputs[0].parameters.binary_data_size: "),
    (request_of(input_parameters={"shared_memory_region": "r"}), 422, "not-offered", "offers no shared memory"),
    (request_of(outputs={}), 400, "request", "outputs: "),
    (request_of(outputs=["logits"]), 400, "request", "outputs[0]: "),
    (request_of(outputs=[{"name": "x"}]), 422, "tensor", "is named 'x'; the model has logits, probabilities."),
    (request_of(outputs=[{"name": "logits"}] * 2), 400, "request", "outputs[1] is named logits, and so is one"),
    (request_of(inputs=json.loads(request_of())["inputs"] * 2), 400, "request", "inputs[1] is named image, and so is"),
    *(
        (request_of(outputs=[{"name": "logits", "parameters": {"classification": count}}]), 400, "request",
         "outputs[0].parameters.classification: Input should be ")
        for count in (0, -3, 2.5, True)
    ),
]  # fmt: skip


@pytest.mark.parametrize(("body", "status", "code", "said"), BAD, ids=[said[:40] for *_, said in BAD])
def test_a_bad_request_gets_a_sentence(body: bytes, status: int, code: str, said: str) -> None:
    with pytest.raises(HttpError) as raised:
        decode_request(body, None, IMAGE, SCORES)
    assert said in raised.value.message
    assert (raised.value.status, raised.value.code) == (status, code)
    assert len(raised.value.message) < 300


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda body, length: (body + b"x", length), "the body is 1 byte longer than its JSON and the binary data"),
        (lambda body, length: (body[:-1], length), "inputs[0] is 8 bytes by its binary_data_size; the body has 7"),
        (lambda body, length: (body[:length], length), "the body has 0 left"),
        (lambda body, length: (body, -1), "Inference-Header-Content-Length must be the length"),
        (lambda body, length: (body, 10**30), "Inference-Header-Content-Length must be"),
        (lambda body, length: (body, length + 1), "the request is not JSON: trailing characters"),
        (lambda body, length: (body, length - 1), "the request is not JSON: EOF"),
        (lambda body, length: (body, None), "Inference-Header-Content-Length says its length"),
        (lambda body, length: (body.replace(b":8}", b":7}"), length), "[2, 2, 2, 1] is 8 bytes; binary_data_size"),
        (lambda body, length: (body.replace(b"[2,2", b"[1,2"), length), "[1, 2, 2, 1] is 4 bytes; binary_data_size"),
        (lambda body, length: (body.replace(b"[2,", b"[9,"), length), "is 36 bytes; binary_data_size says 8"),
    ],
)  # fmt: skip
def test_binary_data_that_does_not_add_up(change: Callable[[bytes, int | None], Any], said: str) -> None:
    body, length = change(*client_request())
    with pytest.raises(HttpError) as raised:
        decode_request(body, length, IMAGE, SCORES)
    assert said in raised.value.message
    assert raised.value.status == 400


def test_a_great_deal_of_json_is_not_read() -> None:
    body = request_of().ljust(MAX_JSON)
    decode_request(body, None, IMAGE, SCORES)
    with pytest.raises(HttpError, match=r"4,194,305 bytes; at most 4,194,304 are read. Send .* as binary") as raised:
        decode_request(body + b" ", None, IMAGE, SCORES)
    assert raised.value.status == 413
    pixels = np.zeros((MAX_JSON, 2, 2, 1), np.uint8)
    head = request_of(
        input_shape=list(pixels.shape), input_data=None, input_parameters={"binary_data_size": pixels.size}
    )
    assert len(decode_request(head + pixels.tobytes(), len(head), IMAGE, SCORES).inputs["image"]) == MAX_JSON


def test_data_comes_one_way() -> None:
    head = request_of(input_parameters={"binary_data_size": 4})
    with pytest.raises(HttpError, match=r"inputs\[0\] must have either data or parameters.binary_data_size"):
        decode_request(head + b"1234", len(head), IMAGE, SCORES)


def test_text_has_no_classes() -> None:
    body = request_of(outputs=[{"name": "label", "parameters": {"classification": 1}}])
    with pytest.raises(HttpError, match=r"outputs\[0\]: label is text") as raised:
        decode_request(body, None, IMAGE, [TensorSpec("label", "BYTES", (-1,))])
    assert raised.value.status == 422


def test_only_the_first_of_many_faults_is_said() -> None:
    for part, said in (
        (b"7,", r"^inputs\[0\]: "),
        (b'{"name":"","datatype":"","shape":[]},', r"^inputs: .* at most 1024"),
    ):
        with pytest.raises(HttpError, match=said) as raised:
            decode_request(b'{"inputs": [' + part * 100_000 + b"7]}", None, IMAGE, SCORES)
        assert len(raised.value.message) < 200


WORDS = st.sampled_from(
    ["inputs", "outputs", "id", "name", "image", "shape", "datatype", "UINT8", "data", "parameters", "binary_data_size",
     "classification", "logits", "binary_data", "binary_data_output", "timeout", "shared_memory_region"]
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from([1, 2, 4]) | st.floats() | WORDS | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=30,
)
VALID = [client_request(), client_request(binary=False), (request_of(outputs=[{"name": "logits"}]), None)]


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    kind = draw(st.sampled_from(["bytes", "json", "fields", "mutated"]))
    if kind == "bytes":
        return draw(st.binary(max_size=40))
    if kind == "json":
        return json.dumps(draw(JSON)).encode() + draw(st.binary(max_size=4))
    if kind == "fields":
        fields = ["input_name", "input_shape", "input_datatype", "input_data", "input_parameters", "outputs", "id"]
        return request_of(**draw(st.dictionaries(st.sampled_from(fields), JSON, max_size=3)))
    body = bytearray(draw(st.sampled_from(VALID))[0])
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(body) - 1))
        body[at : at + draw(st.integers(0, 4))] = draw(st.binary(max_size=3))
        body += b" " if not body else b""
    return bytes(body)


def decoded(body: bytes, length: int | None) -> InferRequest | HttpError:
    try:
        return decode_request(body, length, IMAGE, SCORES)
    except HttpError as problem:
        return problem


@settings(max_examples=400)
@given(body=bodies(), length=st.none() | st.integers(-1, 200))
def test_any_bytes_are_a_request_or_a_problem(body: bytes, length: int | None) -> None:
    found = decoded(body, length)
    if isinstance(found, HttpError):
        assert found.status in {400, 422}
        assert found.message.isprintable()
        assert len(found.message) < 300
    else:
        assert found.inputs["image"].shape[1:] == (2, 2, 1)
        outputs = {name: np.resize(array, (len(found.inputs["image"]), 3)) for name, array in OUTPUTS.items()}
        encode_response(found, "pets", "3", outputs, LABELS)


def asking(*outputs: RequestedOutput, id: str = "") -> InferRequest:
    return InferRequest(id, {"image": PIXELS}, outputs)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("second", [True, False])
def test_the_client_reads_the_outputs_it_asked_for(first: bool, second: bool) -> None:
    wanted = RequestedOutput("probabilities", binary=first), RequestedOutput("logits", binary=second)
    request = asking(*wanted, id="é\n")
    result = read(request)
    for name, array in OUTPUTS.items():
        np.testing.assert_array_equal(result.as_numpy(name), array)
        assert result.as_numpy(name).dtype == np.float32
    answer = result.get_response()
    assert (answer["model_name"], answer["model_version"], answer["id"]) == ("pets", "3", "é\n")
    assert [output["name"] for output in answer["outputs"]] == ["probabilities", "logits"]
    assert (encode_response(request, "pets", "3", OUTPUTS)[1] is None) == (not first and not second)


@pytest.mark.parametrize("kind", ["?", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8", "O"])
@pytest.mark.parametrize("binary", [True, False])
def test_outputs_of_any_type_come_back(kind: str, binary: bool) -> None:
    array = np.array([[0, 1, 2]], kind) if kind != "O" else np.array([["a", "", "ü:"]], object)
    result = read(asking(RequestedOutput("y", binary)), {"y": array})
    found = result.as_numpy("y")
    if kind == "O" and binary:
        found = np.array([[item.decode() for item in found[0]]], object)
    np.testing.assert_array_equal(found, array)
    assert found.dtype == array.dtype
    assert result.get_output("y")["shape"] == [1, 3]


@pytest.mark.parametrize("binary", [True, False])
def test_classification_gives_value_index_and_label(binary: bool) -> None:
    wanted = [InferRequestedOutput("logits", binary_data=binary, class_count=2)]
    body, length = client_request(outputs=wanted)
    request = decode_request(body, length, IMAGE, SCORES)
    assert request.outputs == (RequestedOutput("logits", binary, classes=2),)
    result = read(request)
    found = [[item.decode() if binary else item for item in row] for row in result.as_numpy("logits")]
    # Of equal values the first comes first; numbers are as short as they can be.
    assert found == [["3.3:1:dog", "1.0:0:cat"], ["2.0:0:cat", "2.0:1:dog"]]
    assert result.get_output("logits")["datatype"] == "BYTES"


def test_more_classes_than_there_are_is_all_of_them() -> None:
    result = read(asking(RequestedOutput("logits", classes=10**25)))
    assert result.as_numpy("logits").shape == (2, 3)


@pytest.mark.parametrize(("values", "kind"), [([0, 255, 7], "u1"), ([-128, 127, 0], "i1"), ([0, 1, 0], "?")])
def test_whole_numbers_are_ranked_without_overflow(values: list[int], kind: str) -> None:
    result = read(asking(RequestedOutput("y", classes=1)), {"y": np.array([values], kind)})
    assert result.as_numpy("y")[0, 0].split(":")[1:] == ["1", "dog"]


def test_labels_go_only_with_as_many_classes() -> None:
    result = read(asking(RequestedOutput("y", classes=1)), {"y": np.array([[0.5, 2]], np.float32)})
    assert result.as_numpy("y").tolist() == [["2.0:1"]]


@pytest.mark.parametrize("classes", [0, 2])
def test_what_json_cannot_hold_is_said(classes: int) -> None:
    scores = {"logits": np.array([[np.nan, 1, 2]], np.float32)}
    with pytest.raises(NotFiniteError, match="logits has values that are not finite numbers"):
        encode_response(asking(RequestedOutput("logits", classes=classes)), "pets", "3", scores)
    np.testing.assert_array_equal(
        read(asking(RequestedOutput("logits", binary=True)), scores).as_numpy("logits"), scores["logits"]
    )

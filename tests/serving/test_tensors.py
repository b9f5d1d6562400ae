"""Tensors in JSON and in bytes: the client's own code writes and reads them."""

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tritonclient.utils import deserialize_bytes_tensor, np_to_triton_dtype, serialize_byte_tensor

from cnnkit.serving.http.errors import HttpError
from cnnkit.serving.v2 import tensors
from cnnkit.serving.v2.tensors import TensorSpec

NUMBERS = hnp.scalar_dtypes().filter(lambda dtype: dtype.kind in "biuf" and dtype.itemsize <= 8 and dtype.isnative)
ARRAYS = NUMBERS.flatmap(lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=1, max_dims=4, max_side=4)))


def lenet() -> ort.InferenceSession:
    return ort.InferenceSession(Path(__file__).parents[2] / "models_zoo" / "lenet-mnist" / "model.onnx")


def test_a_session_describes_itself_in_the_protocols_words() -> None:
    session = lenet()
    inputs, outputs = tensors.describe(session)
    assert inputs == (TensorSpec("image", "UINT8", (-1, 28, 28, 1)),)
    assert outputs == (TensorSpec("logits", "FP32", (-1, 10)), TensorSpec("probabilities", "FP32", (-1, 10)))


def test_what_has_no_datatype_is_left_out() -> None:
    class Node:
        def __init__(self, name: str, kind: str) -> None:
            self.name, self.type, self.shape = name, kind, [None, "classes"]

    class Session:
        def get_inputs(self) -> list[Node]:
            return [Node("x", "tensor(float16)")]

        def get_outputs(self) -> list[Node]:
            return [Node("label", "tensor(string)"), Node("scores", "seq(map(int64,tensor(float)))")]

    assert tensors.describe(Session()) == (
        (TensorSpec("x", "FP16", (-1, -1)),),
        (TensorSpec("label", "BYTES", (-1, -1)),),
    )


@given(array=ARRAYS, before=st.binary(max_size=9))
def test_bytes_come_back_as_the_same_array(array: tensors.Array, before: bytes) -> None:
    datatype = np_to_triton_dtype(array.dtype)
    assert tensors.datatype_of(array) == datatype
    content = tensors.to_bytes(array)
    assert content == array.tobytes()
    read = tensors.from_bytes(before + content, len(before), len(content), datatype, array.shape, "x")
    np.testing.assert_array_equal(read, array)
    assert read.dtype == array.dtype
    assert read.flags.aligned


@given(array=ARRAYS, nested=st.booleans())
def test_json_data_comes_back_as_the_same_array(array: tensors.Array, nested: bool) -> None:
    if array.dtype.kind == "f":
        array = np.nan_to_num(array)
    data = array.tolist() if nested else array.ravel().tolist()
    read = tensors.from_json_data(data, tensors.datatype_of(array), array.shape, "x")
    np.testing.assert_array_equal(read, array)
    assert read.dtype == array.dtype


@given(st.lists(st.text(), min_size=1))
def test_strings_are_written_as_the_client_reads_them(texts: list[str]) -> None:
    array = np.array(texts, object)
    content = tensors.to_bytes(array)
    assert content == serialize_byte_tensor(array).item()
    assert [item.decode() for item in deserialize_bytes_tensor(content)] == texts


def test_a_view_into_the_body_runs() -> None:
    session = lenet()
    pixels = np.random.default_rng(3).integers(0, 256, (2, 28, 28, 1), np.uint8)
    body = b"{}." + pixels.tobytes()
    view = tensors.from_bytes(body, 3, pixels.nbytes, "UINT8", pixels.shape, "image")
    assert not view.flags.owndata
    np.testing.assert_array_equal(session.run(None, {"image": view})[0], session.run(None, {"image": pixels})[0])


@pytest.mark.parametrize(
    ("data", "datatype", "said"),
    [
        ([1, 2, 3], "UINT8", "x.data has 3 elements, or is not nested as its shape [2, 2] says"),
        ([[1, 2], [3]], "UINT8", "is not nested as its shape [2, 2] says"),
        ([[1, 2, 3, 4]], "UINT8", "is not nested"),
        ([[1, 2], 3], "UINT8", "is not nested"),
        ([[[1], [2]], [[3], [4]]], "UINT8", "must be whole numbers from 0 on for UINT8; it has [1]"),
        ([[], []], "UINT8", "is not nested"),
        ([], "UINT8", "has 0 elements"),
        ([0, 255, 256, 0], "UINT8", "beyond the range of UINT8"),
        ([0, -1, 0, 0], "UINT8", "beyond the range of UINT8"),
        ([0, 1.5, 0, 0], "UINT8", "whole numbers from 0 on for UINT8; it has 1.5"),
        ([0, True, 0, 0], "UINT8", "it has True"),
        ([0, "1", 0, 0], "UINT8", "it has '1'"),
        ([0, None, 0, 0], "FP32", "must be numbers for FP32; it has None"),
        ([0, {"a": 1}, 0, 0], "FP32", "it has {'a': 1}"),
        ([0, 1e39, 0, 0], "FP32", "beyond the range of FP32"),
        ([0, 10**400, 0, 0], "FP64", "beyond the range of FP64"),
        ([0, float("inf"), 0, 0], "FP64", "beyond the range of FP64"),
        ([0, 2**63, 0, 0], "INT64", "beyond the range of INT64"),
        ([True, False, 1, True], "BOOL", "must be true or false for BOOL; it has 1"),
        # numpy would make an array of strings of this length, 4 × 40 MB.
        (["a" * 10**7, 0, 0, 0], "FP32", "it has 'aaaaa"),
    ],
)
def test_json_data_that_is_no_such_tensor(data: list[object], datatype: str, said: str) -> None:
    with pytest.raises(HttpError) as raised:
        tensors.from_json_data(data, datatype, (2, 2), "x")
    assert (raised.value.status, raised.value.code) == (400, "tensor-data")
    assert said in raised.value.message
    assert len(raised.value.message) < 200


def test_booleans_are_zero_or_one() -> None:
    read = tensors.from_bytes(b"\x00\x01\xff", 0, 3, "BOOL", (3,), "x")
    assert read.view(np.uint8).tolist() == [0, 1, 1]


def test_the_types_are_those_of_onnxruntime() -> None:
    assert set(tensors._OF_ONNX.values()) == {*tensors._DTYPES, "BYTES"}
    for name, datatype in tensors._OF_ONNX.items():
        if datatype != "BYTES":
            value = ort.OrtValue.ortvalue_from_numpy(np.zeros(1, tensors._DTYPES[datatype]))
            assert value.data_type() == name

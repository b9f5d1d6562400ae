"""ONNX files as candidates: what they take is found out, and what cannot be measured is said before."""

import dataclasses
import os

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from cnnkit.errors import OnnxError, OutOfMemoryError, UsageError
from cnnkit.runtime import candidates, guard
from cnnkit.runtime.candidates import bound, check_threads, cores, examine, onnx_candidates
from cnnkit.runtime.cuda_graphs import FixedBuffers
from cnnkit.runtime.session import open_session
from tests.expecting import expect_error


def cpu(model, **options):
    checked = guard.check(model, "net.onnx")
    return examine("net.onnx", checked.source, ["cpu"], checked, **options)


@pytest.mark.parametrize(
    ("shape", "dtype", "type_"),
    [
        (("batch", 3, 6, 5), "float32", "float32 [N, 3, 6, 5]"),
        (("batch", 6, 5, 3), "uint8", "uint8 [N, 6, 5, 3]"),
        ((4, 3, 6, 5), "float32", "float32 [4, 3, 6, 5]"),
        (("batch", 3, "height", "width"), "float32", "float32 [N, 3, 224, 224]"),
        (("batch", 12), "float32", "float32 [N, 12]"),
    ],
)
def test_what_a_file_takes_is_found_out(shape, dtype, type_, make_onnx):
    target = cpu(make_onnx(shape, dtype))
    assert target.described.input_type == type_
    said = " ".join(target.described.assumptions)
    assert ("leaves it open" in said, "not an image classifier" in said) == ("height" in shape, len(shape) == 2)
    inputs = target.inputs(4)
    assert (inputs.dtype, len(inputs)) == (np.dtype(dtype), 4)
    assert (
        f"{inputs.dtype} [{', '.join(map(str, ('N', *inputs.shape[1:])))}]".replace("N", str(target.batch or "N"))
        == type_
    )
    for candidate in onnx_candidates(target, [1]):
        scores = candidate.open(4).whole()[0]
        assert scores.shape == (4, 4)


def test_inputs_cover_their_range_and_are_the_same_each_time(make_onnx):
    target = cpu(make_onnx(("batch", 6, 5, 3), "uint8"))
    inputs = target.inputs(50)
    assert (inputs.min(), inputs.max()) == (0, 255)
    np.testing.assert_array_equal(inputs, target.inputs(50))
    assert 0 <= cpu(make_onnx()).inputs(5).min() < cpu(make_onnx()).inputs(5).max() < 1


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"dtype": "int64"}, "int64"),
        ({"more_inputs": ("other",)}, "other"),
    ],
)
def test_what_cannot_be_measured_is_an_onnx_error(options, name, make_onnx):
    with expect_error(OnnxError, name):
        cpu(make_onnx(**options))


def _relu(shape):
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "net", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return model.SerializeToString()


def test_a_size_that_cannot_be_guessed_is_an_onnx_error():
    with expect_error(OnnxError, "x [batch, features]"):
        cpu(_relu(("batch", "features")))


@pytest.mark.parametrize("shape", [("batch", "channels", 6, 5), ("batch", 3, "height", 0)])
def test_a_size_that_is_guessed_is_said(shape):
    target = cpu(_relu(shape))
    assert len(target.shape) == 3
    assert any(text in " ".join(target.assumptions) for text in ("3 channels", "size 224×224"))


def test_what_is_no_onnx_file_is_an_onnx_error_by_name():
    with expect_error(OnnxError, "net.onnx"):
        examine("net.onnx", b"text", ["cpu"])


def test_a_batch_that_does_not_fit_into_memory_is_said_before_it_is_made(make_onnx):
    target = dataclasses.replace(cpu(make_onnx()), shape=(3, 100_000, 100_000))
    with expect_error(OutOfMemoryError, "batch of 64", "net.onnx", "7680.0 GB"):
        target.inputs(64)


def test_devices_that_are_the_same_are_one(make_onnx):
    target = examine("net.onnx", make_onnx(), ["cpu", "cpu"])
    assert dict(target.devices) == {"cpu": "CPU"}


def test_each_number_of_threads_is_a_contender_on_the_cpu(make_onnx):
    found = onnx_candidates(cpu(make_onnx()), [1, 2])
    assert [(one.engine, one.device, one.threads, one.gpu) for one in found] == [
        ("onnxruntime", "CPU", 1, None),
        ("onnxruntime", "CPU", 2, None),
    ]


@pytest.mark.parametrize("count", [0, -1, (os.cpu_count() or 1) + 1])
def test_threads_that_this_machine_does_not_have_are_wrong_usage(count):
    with expect_error(UsageError, f"--threads {count}"):
        check_threads([1, count])
    check_threads([1, cores()])


def test_bound_inputs_and_outputs_give_what_a_plain_run_gives(make_onnx):
    """On memory of the CPU, which takes the way that memory of a GPU does."""
    target = cpu(make_onnx())
    session = ort.InferenceSession(target.model, providers=["CPUExecutionProvider"])
    inputs = target.inputs(3)
    calls = bound(session, inputs, "cpu", 0)
    expected = session.run(None, {target.input_name: inputs})[0]
    np.testing.assert_array_equal(calls.whole()[0], expected)
    assert list(calls.parts) == ["copy_in", "compute", "copy_out"]
    inputs[:] = 0
    calls.parts["copy_in"]()
    calls.parts["compute"]()
    assert not calls.parts["copy_out"]()[0].any()


def test_a_session_that_replays_a_graph_is_measured_as_it_runs(make_onnx, monkeypatch):
    target = dataclasses.replace(cpu(make_onnx()), devices={"cuda": "CUDA"})
    session = open_session(target.model, target.name, device="cpu")
    session.buffers = FixedBuffers(session, "cpu", 0)
    monkeypatch.setattr(candidates, "open_session", lambda *arguments, **options: session)
    calls = onnx_candidates(target, [1])[0].open(3)
    assert calls.whole()[0].shape == (3, 4)
    assert (session.buffers.shapes, calls.parts) == (1, {})

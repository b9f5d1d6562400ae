import numpy as np
import pytest

from cnnkit.runtime.cuda_graphs import MAX_SHAPES, FixedBuffers
from cnnkit.runtime.providers import ProviderOptions
from cnnkit.runtime.session import open_session


@pytest.fixture
def session(make_onnx):
    return open_session(make_onnx(), "net", device="cpu")


def images(count):
    return np.random.default_rng(count).standard_normal((count, 3, 6, 5)).astype(np.float32)


def test_buffers_give_what_a_plain_run_gives(session):
    buffers = FixedBuffers(session, "cpu", 0)
    for _ in range(2):
        for count in (1, 3, 2):
            plain = session.run(["scores"], {"picture": images(count)})
            np.testing.assert_array_equal(buffers.run(["scores"], {"picture": images(count)}), plain)
            np.testing.assert_array_equal(buffers.run(None, {"picture": images(count)}), plain)
    assert buffers.shapes == 3


def test_outputs_are_the_callers_own(session):
    buffers = FixedBuffers(session, "cpu", 0)
    first = buffers.run(None, {"picture": images(2)})[0]
    kept = first.copy()
    buffers.run(None, {"picture": images(2) + 1})
    np.testing.assert_array_equal(first, kept)


def test_images_that_are_not_contiguous_are_taken(session):
    turned = images(2).transpose(0, 1, 3, 2).copy().transpose(0, 1, 3, 2)
    buffers = FixedBuffers(session, "cpu", 0)
    np.testing.assert_array_equal(buffers.run(None, {"picture": turned}), session.run(None, {"picture": images(2)}))


def test_only_the_first_shapes_get_buffers(session):
    buffers = FixedBuffers(session, "cpu", 0)
    for count in range(1, MAX_SHAPES + 3):
        plain = session.run(None, {"picture": images(count)})
        np.testing.assert_array_equal(buffers.run(None, {"picture": images(count)}), plain)
    assert buffers.shapes == MAX_SHAPES


def test_outputs_of_open_shape_are_run_without_buffers(make_onnx):
    session = open_session(make_onnx(output=("other", 4)), "net", device="cpu")
    buffers = FixedBuffers(session, "cpu", 0)
    assert buffers.run(None, {"picture": images(2)})[0].shape == (2, 4)
    assert buffers.shapes == 0


def test_a_session_runs_through_its_buffers(make_onnx):
    session = open_session(make_onnx(), "net", device="cpu", options=ProviderOptions(graph=True))
    plain = session.run(None, {"picture": images(2)})
    session.buffers = FixedBuffers(session, "cpu", 0)
    np.testing.assert_array_equal(session.run(None, {"picture": images(2)}), plain)
    assert session.buffers.shapes == 1
    binding = session.io_binding()
    binding.bind_cpu_input("picture", images(3))
    binding.bind_output("scores")
    session.run_with_iobinding(binding)
    assert binding.copy_outputs_to_cpu()[0].shape == (3, 4)
    assert session.buffers.shapes == 1

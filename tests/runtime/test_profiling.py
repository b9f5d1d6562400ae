"""onnxruntime's profile: every node of a run, with what it was made from."""

from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from cnnkit.errors import OnnxError, UsageError
from cnnkit.runtime import profiling
from cnnkit.runtime.guard import check
from cnnkit.runtime.profiling import profile
from cnnkit.runtime.providers import ProviderOptions
from cnnkit.runtime.session import open_session
from tests.expecting import expect_error


@pytest.fixture(scope="module")
def checked():
    r = np.random.default_rng(0)
    # So wide that the second convolution takes longer than all others together.
    weights = {"w": r.normal(size=(64, 3, 3, 3)), "v": r.normal(size=(64, 64, 3, 3)), "g": r.normal(size=(64 * 64, 4))}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c1"], name="conv_a", pads=[1] * 4),
        helper.make_node("Relu", ["c1"], ["r1"], name="relu_a"),
        helper.make_node("Conv", ["r1", "v"], ["c2"], name="conv_b", pads=[1] * 4),
        helper.make_node("Sigmoid", ["c2"], ["s"], name="sigmoid"),
        helper.make_node("Flatten", ["s"], ["f"], name="flatten"),
        helper.make_node("MatMul", ["f", "g"], ["y"], name="product"),
    ]
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])
    gives = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])
    tensors = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "net", [given], [gives], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return check(model.SerializeToString(), "net.onnx")


@pytest.fixture(scope="module")
def found(checked, tmp_path_factory):
    folder = tmp_path_factory.mktemp("here")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        result = profile(checked, "net.onnx", {"x": (2, 3, 8, 8)}, device="cpu")
    assert list(folder.iterdir()) == []
    return result


def test_a_profile_has_every_node_its_time_and_its_provider(found):
    assert found.runs >= 10
    assert {node.provider for node in found.nodes} == {"CPU"}
    assert sum(node.share for node in found.nodes) == pytest.approx(1)
    assert 0 < sum(node.time_ms for node in found.nodes) <= found.run_ms * 1.05
    assert max(found.nodes, key=lambda node: node.time_ms).kind == "Conv"


def test_nodes_of_the_file_are_found_in_those_that_ran(checked, found):
    origins = [name for node in found.nodes for name in node.file_nodes]
    assert len(origins) == len(set(origins))
    assert set(origins) == {node.name for node in checked.model.graph.node}
    # onnxruntime fuses the ReLU into the convolution, on every processor.
    fused = next(node for node in found.nodes if "conv_a" in node.file_nodes)
    assert (fused.kind.endswith("Conv"), fused.file_nodes) == (True, ("conv_a", "relu_a"))


@pytest.mark.slow
def test_a_profile_is_of_the_session_that_others_get(checked, monkeypatch):
    """With its options, as those of a tuned file; a recorded graph would hide the nodes."""
    tuned = partial(open_session, options=ProviderOptions(optimisation="basic", graph=True))
    monkeypatch.setattr(profiling, "open_session", tuned)
    ran = profiling.profile(checked, "net.onnx", {"x": (2, 3, 8, 8)}, device="cpu")
    assert {node.name for node in ran.nodes} >= {"relu_a", "sigmoid"}


def test_a_batch_that_fits_nowhere_is_a_usage_error(checked):
    with expect_error(UsageError, "--batch"):
        profile(checked, "net.onnx", {"x": (10**14, 3, 8, 8)}, device="cpu")


def test_a_size_that_the_graph_does_not_take_is_an_onnx_error(checked):
    with expect_error(OnnxError, "net.onnx"):
        profile(checked, "net.onnx", {"x": (1, 3, 9, 9)}, device="cpu")


@pytest.mark.gpu
def test_nodes_on_cuda_say_so(checked):
    if "CUDAExecutionProvider" not in ort.get_available_providers() or not Path("/proc/driver/nvidia").exists():
        pytest.skip("no NVIDIA GPU that onnxruntime can use")
    found = profile(checked, "net.onnx", {"x": (2, 3, 8, 8)}, device="cuda")
    assert "CUDA" in {node.provider for node in found.nodes}

"""Small ONNX classifiers of every kind, made with onnx.helper, what numpy says that they answer, and a clock."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from cnnkit.runtime import benchmark, timing

CLASSES = 4
TYPES = {"float32": TensorProto.FLOAT, "uint8": TensorProto.UINT8, "int64": TensorProto.INT64}


class Clock:
    """Time that passes where somebody sleeps, and 10 µs whenever somebody asks for it: on a busy machine as on any."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        self.now += 1e-5
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    """What `timing` and `benchmark` take for the time."""
    made = Clock()
    for module in (timing, benchmark):
        monkeypatch.setattr(module, "time", made)
    return made


def weights(inputs):
    return np.random.default_rng(0).normal(0, 0.5, (inputs, CLASSES)).astype(np.float32)


def make(
    shape=("batch", 3, 6, 5),
    dtype="float32",
    *,
    output=("batch", CLASSES),
    name="scores",
    softmax=False,
    spatial=False,
    more_inputs=(),
    metadata=None,
):
    """Return the bytes of a file with one linear layer: over all values, or over channel means where sizes are open."""
    nodes = [helper.make_node("Cast", ["picture"], ["values"], to=TensorProto.FLOAT)]
    if all(isinstance(side, int) for side in shape[1:]):
        nodes.append(helper.make_node("Flatten", ["values"], ["flat"]))
        table = weights(int(np.prod(shape[1:])))
    else:
        nodes.append(helper.make_node("ReduceMean", ["values"], ["flat"], axes=[2, 3], keepdims=0))
        table = weights(shape[1])
    last = "logits_before" if softmax or spatial or name == "logits_before" else name
    nodes.append(helper.make_node("MatMul", ["flat", "table"], [last]))
    if softmax:
        nodes.append(helper.make_node("Softmax", [last], [name], axis=1))
    if spatial:
        nodes.append(helper.make_node("Unsqueeze", [last, "axes"], [name]))
    inputs = [helper.make_tensor_value_info("picture", TYPES[dtype], shape)]
    inputs += [helper.make_tensor_value_info(other, TensorProto.FLOAT, [1]) for other in more_inputs]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, output)]
    constants = [numpy_helper.from_array(table, "table")]
    constants += [numpy_helper.from_array(np.array([2, 3]), "axes")] if spatial else []
    graph = helper.make_graph(nodes, "net", inputs, outputs, constants)
    # As old as the oldest onnxruntime that is allowed can read.
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, metadata or {})
    return model.SerializeToString()


@pytest.fixture(scope="session")
def make_onnx():
    return make


@pytest.fixture(scope="session")
def answer():
    """Give the probabilities [N, 4] of a file of `make_onnx` for its input [N, ...]."""

    def compute(inputs, *, pooled=False):
        inputs = np.asarray(inputs, np.float64)
        flat = inputs.mean((2, 3)) if pooled else inputs.reshape(len(inputs), -1)
        logits = flat @ weights(flat.shape[1]).astype(np.float64)
        shares = np.exp(logits - logits.max(1, keepdims=True))
        return shares / shares.sum(1, keepdims=True)

    return compute


@pytest.fixture(scope="session")
def pictures():
    """Three random RGB images of 6×5 pixels, uint8 [3, 6, 5, 3]."""
    return np.random.default_rng(3).integers(0, 256, (3, 6, 5, 3), np.uint8)

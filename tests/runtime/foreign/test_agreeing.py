"""What every command says of a file that it cannot use as a classifier of images: the same."""

import re

import numpy as np
import onnx
import pytest
from coloured import Spec, build
from onnx import TensorProto, helper, numpy_helper


def changed(change, spec=Spec(body="means")):  # noqa: B008
    model = onnx.load_from_string(build(spec))
    change(model)
    return model.SerializeToString()


def other_channels(model):
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 1


def two_inputs(model):
    model.graph.input.append(helper.make_tensor_value_info("threshold", TensorProto.FLOAT, (1,)))


def numbers(kind):
    def change(model):
        model.graph.input[0].type.tensor_type.elem_type = kind
        model.graph.node.insert(0, helper.make_node("Cast", ["image"], ["floats"], to=TensorProto.FLOAT))
        model.graph.node[1].input[0] = "floats"

    return change


def rank_two():
    given, gives = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ("n", 5)) for name in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "net", [given], [gives])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()


def four_channels():
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ("n", 4, "height", "width"))
    gives = helper.make_tensor_value_info("y", TensorProto.FLOAT, ("n", 4, 1, 1))
    graph = helper.make_graph([helper.make_node("GlobalAveragePool", ["x"], ["y"])], "net", [given], [gives])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()


def training(model):
    (scores,) = model.graph.output
    model.graph.initializer.extend([numpy_helper.from_array(np.float32(0.5), "share"),
                                    numpy_helper.from_array(np.array(True), "on")])  # fmt: skip
    model.graph.node.append(helper.make_node("Dropout", [scores.name, "share", "on"], ["dropped"]))
    scores.name = "dropped"


# What is said, and whether benchmark and summary look at the file all the same.
FILES = {
    "two inputs": (lambda: changed(two_inputs), "expected one input of four dimensions", (1, 0)),
    "rank 2": (rank_two, "expected one input of four dimensions", (0, 0)),
    "int64": (lambda: changed(numbers(TensorProto.INT64)), "is of int64 numbers", (1, 0)),
    "int8": (lambda: changed(numbers(TensorProto.INT8)), "is of int8 numbers", (0, 0)),
    "bfloat16": (lambda: changed(numbers(TensorProto.BFLOAT16)), "is of bfloat16 numbers", (1, 0)),
    "four channels": (four_channels, "images of 4 channels", (0, 0)),
    "training mode": (lambda: changed(training), "exported for training", (0, 0)),
    "channels that contradict": (
        lambda: changed(other_channels, Spec(body="conv")), "declares 1 channels .* its first layer takes 3", (1, 0)),
}  # fmt: skip


@pytest.mark.parametrize("what", FILES)
def test_what_is_no_classifier_of_images_is_refused_with_one_reason(what, tmp_path, images, cli):
    make, said, (timed, listed) = FILES[what]
    path = tmp_path / "net.onnx"
    path.write_bytes(make())
    refused = [cli("predict", images["red"], "-m", path, "--device", "cpu"), cli("serve", path, "--device", "cpu"),
               cli("verify", path)]  # fmt: skip
    assert [r.exit_code for r in refused] == [1, 1, 1]
    assert len({r.stderr for r in refused}) == 1
    assert re.search(said, refused[0].stderr)
    benchmark = cli("benchmark", path, "--device", "cpu", "--seconds", 0.05, "--batch", 1)
    summary = cli("summary", path)
    assert (benchmark.exit_code, summary.exit_code) == (timed, listed), (benchmark.stderr, summary.stderr)
    reason = refused[0].stderr.removeprefix("error: ").strip()
    # What onnxruntime says of weights that do not fit is true as well.
    for result in (benchmark, summary):
        if result.exit_code == 0:
            assert re.search(said, " ".join(result.stdout.split()))
        assert result.exit_code == 0 or reason.partition(": ")[2] in result.stderr or "kernel channels" in result.stderr

"""Graphs: the counts of PyTorch for what was exported from it, and each layer beside its nodes."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import cnnkit
from cnnkit import zoo
from cnnkit.errors import OnnxError
from cnnkit.inspection.results import GraphSummary
from cnnkit.registry import models
from tests.expecting import expect_error


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Give the ONNX file of an architecture: that of the zoo, or a fresh one with random weights."""
    made = {}

    def file(name):
        if zoo.has(name):
            return zoo.folder() / zoo.entry(name).name / "model.onnx"
        if name not in made:
            made[name] = cnnkit.export(name, tmp_path_factory.mktemp("onnx") / f"{name}.onnx").path
        return made[name]

    return file


@pytest.mark.parametrize("name", list(models()))
def test_an_exported_network_has_the_counts_of_pytorch(exported, name):
    # The entry of the zoo may have other classes than the architecture.
    ref = zoo.entry(name).name if zoo.has(name) else name
    expected = cnnkit.summarize(ref, batch=3)
    found = cnnkit.summarize(exported(name), batch=3, compare=ref)
    assert isinstance(found, GraphSummary)
    assert found.multiply_adds == expected.multiply_adds
    # A folded normalisation has a weight and a bias for each channel; the convolution before it gets the bias only.
    folded = sum(row.layer.parameters // 2 for row in found.comparison.rows if row.fused)
    assert found.parameters + folded == expected.parameters
    assert all(row.agrees for row in found.comparison.rows)
    leaves = [layer.name for layer in expected.layers if layer.is_leaf]
    assert [row.layer.name for row in found.comparison.rows if row.layer and row.layer.is_leaf] == leaves
    without = {row.layer.kind for row in found.comparison.rows if row.layer and not row.nodes}
    assert without <= {"Dropout"}


def test_nodes_that_say_where_they_come_from_are_put_there(exported, tmp_path):
    model = onnx.load(exported("lenet"))
    # Shuffled on purpose: the metadata counts, not the order, shapes or names.
    for tensor in model.graph.initializer:
        new = tensor.name.replace("network.", "w_").replace(".", "_")
        for node in model.graph.node:
            node.input[:] = [new if name == tensor.name else name for name in node.input]
        tensor.name = new
    scopes = {"node_conv2d": "conv1", "node_sigmoid": "sigmoid1", "node_conv2d_1": "conv2", "node_linear": "fc1"}
    for node in model.graph.node:
        node.ClearField("metadata_props")
        if node.name in scopes:
            text = str(["", "network", f"network.{scopes[node.name]}", "operation"])
            node.metadata_props.add(key="pkg.torch.onnx.name_scopes", value=text)
    onnx.save(model, tmp_path / "net.onnx")
    rows = cnnkit.summarize(tmp_path / "net.onnx", compare="lenet").comparison.rows
    placed = {node.name: row.layer.name for row in rows if row.layer for node in row.nodes}
    assert placed.items() >= scopes.items()


def test_an_operation_of_the_name_of_a_layer_is_not_that_layer(exported):
    rows = cnnkit.summarize(exported("shapes-cnn"), compare="shapes-cnn-basicshapes").comparison.rows
    placed = {row.layer.name: [node.name for node in row.nodes] for row in rows if row.layer}
    assert placed["block1.relu1"] == ["node_relu"]
    assert placed["relu"] == ["node_relu_6"]


def test_nodes_without_names_are_taken_in_order(exported, tmp_path):
    model = onnx.load(exported("lenet"))
    for node in model.graph.node:
        node.ClearField("metadata_props")
    for index, tensor in enumerate(model.graph.initializer):
        for node in model.graph.node:
            node.input[:] = [f"w{index}" if name == tensor.name else name for name in node.input]
        tensor.name = f"w{index}"
    onnx.save(model, tmp_path / "net.onnx")
    rows = cnnkit.summarize(tmp_path / "net.onnx", compare="lenet").comparison.rows
    assert all(row.nodes and row.agrees for row in rows if row.layer)
    kinds = {row.layer.kind: row.nodes[0].kind for row in rows if row.layer}
    assert kinds == {
        "Conv2d": "Conv", "Sigmoid": "Sigmoid", "MaxPool2d": "MaxPool", "Flatten": "Reshape", "Linear": "Gemm",
    }  # fmt: skip


def one_node(node, inputs, weights=(), *, outputs=("y",), opset=17, domains=()):
    given = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()]
    gives = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["a", "b", "c", "d"][:0] or None) for name in outputs
    ]
    for value in gives:
        value.type.tensor_type.shape.SetInParent()
    tensors = [numpy_helper.from_array(np.ones(shape, np.float32), name) for name, shape in weights]
    nodes = node if isinstance(node, list) else [node]
    graph = helper.make_graph(nodes, "net", given, gives, tensors)
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=imports, ir_version=9)


def summary_of(tmp_path: Path, model, **options):
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    return cnnkit.summarize(tmp_path / "net.onnx", **options)


def op(kind, *inputs, **attributes):
    return helper.make_node(kind, list(inputs), ["y"], **attributes)


IMAGE = {"x": ["n", 4, 9, 9]}
COUNTED = {
    "convolution": (op("Conv", "x", "w", "b"), IMAGE, [("w", (8, 4, 3, 3)), ("b", (8,))], 296, 8 * 49 * 36),
    "grouped": (op("Conv", "x", "w", group=2), IMAGE, [("w", (8, 2, 3, 3))], 144, 8 * 49 * 18),
    "depthwise": (op("Conv", "x", "w", group=4), IMAGE, [("w", (4, 1, 3, 3))], 36, 4 * 49 * 9),
    "dilated": (op("Conv", "x", "w", dilations=[2, 2]), IMAGE, [("w", (8, 4, 3, 3))], 288, 8 * 25 * 36),
    "strided": (op("Conv", "x", "w", strides=[2, 2]), IMAGE, [("w", (8, 4, 3, 3))], 288, 8 * 16 * 36),
    "transposed": (op("ConvTranspose", "x", "w", strides=[2, 2]), IMAGE, [("w", (4, 8, 2, 2))], 128, 81 * 4 * 32),
    "transposed, grouped": (op("ConvTranspose", "x", "w", group=2), IMAGE, [("w", (4, 3, 2, 2))], 48, 81 * 4 * 12),
    "gemm": (op("Gemm", "x", "w", "b", transB=1), {"x": ["n", 6]}, [("w", (5, 6)), ("b", (5,))], 35, 30),
    "matmul": (op("MatMul", "x", "w"), {"x": ["n", 7, 6]}, [("w", (6, 5))], 30, 7 * 6 * 5),
    "einsum": (op("Einsum", "x", "w", equation="nij,jk->nik"), {"x": ["n", 7, 6]}, [("w", (6, 5))], 30, 7 * 6 * 5),
    "einsum with dots": (
        op("Einsum", "x", "w", equation="...j,jk->...k"), {"x": ["n", 7, 6]}, [("w", (6, 5))], 30, 7 * 6 * 5,
    ),
    "normalisation": (
        op("BatchNormalization", "x", "w", "b", "m", "v"), IMAGE, [(name, (4,)) for name in "wbmv"], 8, 0,
    ),
    "constants of arithmetic": (op("Mul", "x", "w"), IMAGE, [("w", ())], 0, 0),
    "a scale for each channel": (op("Mul", "x", "w"), IMAGE, [("w", (4, 1, 1))], 4, 0),
    "resizing": (op("Resize", "x", "", "w"), IMAGE, [("w", (4,))], 0, 0),
}  # fmt: skip


@pytest.mark.parametrize("name", COUNTED)
def test_counts_are_those_worked_out_by_hand(name, tmp_path):
    node, inputs, weights, parameters, multiply_adds = COUNTED[name]
    for batch in (1, 3):
        found = summary_of(tmp_path, one_node(node, inputs, weights), batch=batch)
        assert (found.parameters, found.multiply_adds) == (parameters, batch * multiply_adds)


def test_a_recurrent_layer_is_counted(tmp_path):
    node = helper.make_node("LSTM", ["x", "w", "r"], ["y"], hidden_size=5)
    weights = [("w", (1, 20, 6)), ("r", (1, 20, 5))]
    found = summary_of(tmp_path, one_node(node, {"x": [7, 2, 6]}, weights), batch=7)
    assert found.multiply_adds == 7 * 2 * 20 * 11


def test_quantised_weights_count_where_they_are_used(tmp_path):
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "scale", "zero"], ["float"]),
        helper.make_node("Conv", ["x", "float"], ["y"]),
    ]
    model = one_node(nodes, IMAGE)
    for name, value in {"w": np.ones((8, 4, 3, 3), np.int8), "scale": np.float32(0.1), "zero": np.int8(0)}.items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    found = summary_of(tmp_path, model)
    assert [(row.kind, row.parameters) for row in found.layers] == [("DequantizeLinear", 0), ("Conv", 288)]
    assert found.parameters == 288


def test_weights_that_two_nodes_share_are_counted_once(tmp_path):
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("MatMul", ["h", "w"], ["y"])]
    found = summary_of(tmp_path, one_node(nodes, {"x": ["n", 6]}, [("w", (6, 6))]))
    assert [row.parameters for row in found.layers] == [36, 36]
    assert found.parameters == 36


def test_shapes_that_are_computed_are_known(tmp_path):
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["n"]),
        helper.make_node("Concat", ["n", "rest"], ["t"], axis=0),
        helper.make_node("Equal", ["t", "rest2"], ["e"]),
        helper.make_node("Where", ["e", "t", "t"], ["u"]),
        helper.make_node("Reshape", ["x", "u"], ["y"]),
    ]
    model = one_node(nodes, IMAGE)
    for name, value in {"zero": [0], "rest": [-1], "rest2": [1, 1]}.items():
        model.graph.initializer.append(numpy_helper.from_array(np.array(value), name))
    found = summary_of(tmp_path, model, batch=5)
    assert found.layers[-1].output_shape == (324,)
    assert found.layers[0].output_shape == (4,)


def test_a_local_function_is_listed_as_its_nodes(tmp_path):
    imports = [helper.make_opsetid("", 17)]
    body = [helper.make_node("Relu", ["a"], ["r"]), helper.make_node("Sigmoid", ["r"], ["b"])]
    model = one_node(helper.make_node("Own", ["x"], ["y"], domain="own"), IMAGE, domains=["own"])
    model.functions.append(helper.make_function("own", "Own", ["a"], ["b"], body, imports))
    assert [row.kind for row in summary_of(tmp_path, model).layers] == ["Relu", "Sigmoid"]


def test_open_sides_are_guessed_and_said_or_named(tmp_path):
    model = one_node(op("Conv", "x", "w"), {"x": ["n", 4, "height", "width"]}, [("w", (8, 4, 3, 3))])
    found = summary_of(tmp_path, model)
    assert found.layers[0].output_shape == (8, 222, 222)
    assert found.assumptions[0] == "size 224×224: the graph leaves it open"
    assert "images of 4 channels" in found.assumptions[1]
    named = summary_of(tmp_path, model, shape=(4, 8, 7))
    assert (named.layers[0].output_shape, named.assumptions) == ((8, 6, 5), found.assumptions[1:])


def test_an_input_shape_of_what_takes_no_images_is_refused(tmp_path):
    model = one_node(op("Relu", "x"), {"x": ["n", 48]})
    assert summary_of(tmp_path, model).layers[0].output_shape == (48,)
    with expect_error(OnnxError):
        summary_of(tmp_path, model, shape=(3, 4, 4))


def test_an_input_that_is_no_image_and_open_cannot_be_guessed(tmp_path):
    model = one_node(op("Relu", "x"), {"x": ["n", "words"]})
    with expect_error(OnnxError, "words"):
        summary_of(tmp_path, model)

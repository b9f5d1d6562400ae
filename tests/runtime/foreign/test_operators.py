"""Operators of classic networks: masks of Dropout, and the nine light models that the onnx package brings."""

import json
from pathlib import Path

import coloured
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import cnnkit

LIGHT = sorted(Path(onnx.__file__).parent.glob("backend/test/data/light/light_*.onnx"))


def dropping(opset, *, used=False, in_branch=False):
    """Return a classifier whose Dropout gives a mask, which the last opsets give as booleans."""
    weights = np.array([coloured._LINEAR[c][:3] for c in coloured.ORDER], np.float32).T * 8
    bias = np.array([coloured._LINEAR[c][3] for c in coloured.ORDER], np.float32) * 8
    attributes = {"ratio": 0.5} if opset < 12 else {}
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["p"]), helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Dropout", ["f"], ["d", "mask"], **attributes),
        helper.make_node("Gemm", ["d", "w", "b"], ["scores"]),
    ]  # fmt: skip
    outputs = [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ("n", 5))]
    if used:
        kind = TensorProto.FLOAT if opset < 10 else TensorProto.BOOL
        outputs.append(helper.make_tensor_value_info("mask", kind, ("n", 3)))
    given = helper.make_tensor_value_info("image", TensorProto.FLOAT, ("n", 3, 8, 6))
    stored = [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(bias, "b")]
    graph = helper.make_graph(nodes, "net", [given], outputs, stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=min(8, opset - 1))


@pytest.mark.parametrize("used", [False, True], ids=["unused", "an output"])
@pytest.mark.parametrize("opset", range(7, 14))
def test_a_mask_of_dropout_does_no_harm(opset, used, tmp_path, images, cli):
    path = tmp_path / "net.onnx"
    onnx.save(dropping(opset, used=used), path)
    found = cnnkit.load(path, device="cpu").predict([coloured.picture(n) for n in coloured.COLOURS])
    assert [coloured.ORDER[int(p.label)] for p in found] == list(coloured.COLOURS)
    listed = json.loads(cli("summary", path, "--json").stdout)["data"]
    assert [row["kind"] for row in listed["layers"]] == ["GlobalAveragePool", "Flatten", "Dropout", "Gemm"]
    assert cli("benchmark", path, "--seconds", 0.05, "--batch", 1, "--device", "cpu").exit_code == 0


def test_there_are_nine_light_models():
    assert len(LIGHT) == 9


@pytest.mark.parametrize("path", LIGHT, ids=lambda path: path.stem.removeprefix("light_"))
def test_the_light_models_are_listed_and_answer(path, images, cli):
    listed = cli("summary", path, "--json")
    assert listed.exit_code == 0, listed.stderr
    assert json.loads(listed.stdout)["data"]["inputs"][0]["shape"] == [3, 224, 224]
    predicted = cli("predict", images["red"], "-m", path, "--device", "cpu", "--json")
    assert predicted.exit_code == 0, predicted.stderr
    data = json.loads(predicted.stdout)["data"]
    assert len(data["predictions"][0]["scores"]) == 5
    assert any("1,000 classes" in text for text in data["assumptions"])

"""ONNX graphs in a terminal of 80 columns; their nodes and their comparison are in `tests/cli/test_summary.py`."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from cnnkit.inspection.results import ComparedRow, GraphComparison, GraphInput, GraphSummary, LayerRow
from cnnkit.render import graphs
from cnnkit.runtime.results import GraphProfile, NodeTime
from tests.expecting import rows_of

Golden = Callable[[str, str], None]
Captured = pytest.CaptureFixture[str]


def test_profile_of_a_graph(capsys: Captured) -> None:
    nodes = (
        NodeTime("node_mul", "Mul", "CPU", 0.014, 0.02, ("node_mul",)),
        NodeTime("relu_nchwc", "Conv", "CPU", 0.616, 0.88, ("node_conv2d", "node_relu")),
        NodeTime("ReorderOutput", "ReorderOutput", "CPU", 0.07, 0.1, ()),
    )
    result = GraphSummary(
        model="net.onnx",
        inputs=(GraphInput("image", "uint8", (28, 28, 1)),),
        batch=8,
        layers=(LayerRow("node_mul", "Mul", 1, (1, 28, 28), 0, 0, is_leaf=True),),
        parameters=0,
        multiply_adds=0,
        size_mb=0.0,
        opset=20,
        ir_version=10,
        producer="pytorch 2.15.0",
        profile=GraphProfile(runs=468, run_ms=0.75, nodes=nodes),
    )
    graphs.summary(result)
    drawn = capsys.readouterr().out
    assert ["relu_nchwc", "Conv", "CPU", "0.616", "88.0%", "node_conv2d, node_relu"] in rows_of(drawn)
    assert ["all nodes", "0.700", "100.0%"] in rows_of(drawn)
    assert "GPU" not in drawn
    on_cuda = replace(result.profile, nodes=(replace(nodes[0], provider="CUDA"),))
    graphs.summary(replace(result, profile=on_cuda))
    assert "On a GPU a node only starts the work" in capsys.readouterr().out


def test_fused_and_absent_nodes_are_marked_and_explained(capsys: Captured) -> None:
    node = LayerRow("node_Conv_65", "Conv", 1, (24, 28, 28), 240, 169_344, is_leaf=True)
    layer = LayerRow("block1.conv1", "Conv2d", 2, (24, 28, 28), 216, 169_344, is_leaf=True)
    norm = LayerRow("block1.norm1", "BatchNorm2d", 2, (24, 28, 28), 48, 0, is_leaf=True)
    dropout = LayerRow("dropout", "Dropout", 1, (24, 28, 28), 0, 0, is_leaf=True)
    pool = LayerRow("pool", "MaxPool2d", 1, (24, 14, 14), 0, 0, is_leaf=True)
    pooled = LayerRow("node_pool", "MaxPool", 1, (24, 13, 13), 0, 0, is_leaf=True)
    last = LayerRow("node_softmax", "Softmax", 1, (10,), 0, 0, is_leaf=True)
    rows = (
        ComparedRow(layer, (node,), fused=False, agrees=True),
        ComparedRow(norm, (node,), fused=True, agrees=True),
        ComparedRow(dropout, (), fused=False, agrees=True),
        ComparedRow(pool, (pooled,), fused=False, agrees=False),
        ComparedRow(None, (last,), fused=False, agrees=True),
    )
    graphs.summary(
        GraphSummary(
            model="net.onnx",
            inputs=(GraphInput("image", "uint8", (28, 28, 1)),),
            batch=1,
            layers=(node, pooled, last),
            parameters=240,
            multiply_adds=169_344,
            size_mb=0.01,
            opset=20,
            ir_version=10,
            producer="",
            comparison=GraphComparison("digits", rows, 264, 169_344),
        )
    )
    rows = rows_of(capsys.readouterr().out)
    assert ["block1.norm1", "BatchNorm2d", "↑", "24×28×28"] in rows
    assert ["dropout", "Dropout", "–", "24×28×28"] in rows
    assert ["pool", "MaxPool2d", "node_pool", "MaxPool", "24×14×14 ≠ 24×13×13"] in rows
    assert ["node_softmax", "Softmax", "10"] in rows
    assert {row[0][:2] for row in rows} >= {"↑:", "–:"}

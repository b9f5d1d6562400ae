"""Files of others are compared with a network whatever they do to their input themselves."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import cnnkit
from cnnkit.errors import OnnxError
from tests.expecting import expect_error


@pytest.fixture(scope="module")
def bare(photos_run: Path, tmp_path_factory: pytest.TempPathFactory) -> onnx.ModelProto:
    """The network of the photographs without its card, float32 [N, 1, 28, 28], not normalising."""
    path = cnnkit.export(photos_run, tmp_path_factory.mktemp("bare") / "net.onnx", raw_input=True).path
    model = onnx.load(path)
    del model.metadata_props[:]
    return model


def before(model: onnx.ModelProto, *steps: tuple[str, float]) -> onnx.ModelProto:
    """Return a copy that does some arithmetic with its input first."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    given = made.graph.input[0].name
    at, nodes = given, []
    for index, (kind, value) in enumerate(steps):
        made.graph.initializer.append(numpy_helper.from_array(np.float32(value), f"own{index}"))
        nodes.append(helper.make_node(kind, [at, f"own{index}"], [f"step{index}"]))
        at = f"step{index}"
    for node in made.graph.node:
        node.input[:] = [at if name == given else name for name in node.input]
    for node in reversed(nodes):
        made.graph.node.insert(0, node)
    return made


def statistics(run: Path) -> tuple[float, float]:
    from cnnkit.sources import find

    form = find(str(run)).weights()[1].preprocessing
    return form.mean[0], form.std[0]


@pytest.mark.parametrize("kind", ["nothing", "normalising", "from bytes", "nothing, open", "Softmax", "LogSoftmax"])
def test_a_file_that_prepares_its_input_itself_is_verified(
    kind: str, bare: onnx.ModelProto, photos_run: Path, photos: Path, tmp_path: Path
) -> None:
    mean, std = statistics(photos_run)
    steps = {"normalising": [("Sub", mean), ("Div", std)],
             "from bytes": [("Div", 255), ("Sub", mean), ("Div", std)]}.get(kind, [])  # fmt: skip
    model = before(bare, *steps)
    if kind.endswith("open"):
        for place, size in enumerate(model.graph.input[0].type.tensor_type.shape.dim):
            size.dim_param = f"d{place}"
    if kind.endswith("Softmax"):
        scores = model.graph.output[0]
        model.graph.node.append(helper.make_node(kind, [scores.name], ["scores"], axis=1))
        scores.name = "scores"
        del model.graph.output[1:]
    path = tmp_path / "net.onnx"
    onnx.save(model, path)
    result = cnnkit.verify(path, against=photos_run, data=str(photos))
    assert result.certificate.passed
    assert result.not_stored_because == "the file has no model card"


def test_a_file_without_a_card_is_refused_before_pytorch_is_imported(bare: onnx.ModelProto, tmp_path: Path) -> None:
    import subprocess
    import sys

    path = tmp_path / "net.onnx"
    onnx.save(bare, path)
    code = (
        "import sys\nimport cnnkit\n"
        f"try: cnnkit.verify({str(path)!r})\n"
        "except Exception as error: print(type(error).__name__, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["CheckpointError", "False"]


def test_what_takes_no_pictures_is_said_first(tmp_path: Path) -> None:
    given = helper.make_tensor_value_info("x", 1, ("n", 5))
    gives = helper.make_tensor_value_info("y", 1, ("n", 5))
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "net", [given], [gives])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), tmp_path / "n.onnx")
    with expect_error(OnnxError):
        cnnkit.verify(tmp_path / "n.onnx")

"""`cnnkit verify`: the proof is shown and stored, and where there is none, the layer to blame is named."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

Cli = Callable[..., Any]
pytestmark = pytest.mark.usefixtures("few_shapes", "nets")


@pytest.fixture
def file(tiny_run: Path, tiny_onnx: Path, tmp_path: Path) -> Path:
    """The file of the tiny run, with its checkpoint beside it."""
    shutil.copy(tiny_run / "best.safetensors", tmp_path)
    return Path(shutil.copy(tiny_onnx, tmp_path / "model.onnx"))


@pytest.fixture
def broken(file: Path) -> Path:
    """The same with one wrong weight."""
    model = onnx.load(file)
    tensor = next(t for t in model.graph.initializer if t.name == "network.block2.conv1.weight")
    values = numpy_helper.to_array(tensor).copy()
    values[4, 3, 2, 1] += np.float32(9)
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    file.write_bytes(model.SerializeToString())
    return file


def test_the_proof_is_shown_and_stored(file: Path, cli: Cli) -> None:
    before = file.read_bytes()
    result = cli("verify", file)
    assert (result.exit_code, result.stderr) == (0, "")
    shown = " ".join(result.stdout.split())
    assert f"{file} against {file.with_name('best.safetensors')}, shapes, test" in shown
    assert shown.count("100%") == 5
    assert "onnxruntime CPU" in shown
    assert shown.endswith("the certificate is in the card")
    assert file.read_bytes() != before
    assert cli("predict", "docs/images/triangle.png", "--model", file).exit_code == 0


def test_json_has_the_certificate(file: Path, cli: Cli) -> None:
    found = json.loads(cli("verify", file, "--split", "all", "--json").stdout)
    assert (found["command"], found["status"]) == ("verify", "ok")
    assert set(found["data"]) == {
        "file", "reference", "data", "split", "engines", "batches", "certificate", "run_error", "divergence",
        "graph_changed", "stored", "not_stored_because", "seconds", "warnings",
    }  # fmt: skip
    assert found["data"]["certificate"]["images_count"] == 90
    assert found["data"]["stored"]


def test_a_broken_file_exits_3_and_names_the_layer(broken: Path, cli: Cli) -> None:
    before = broken.read_bytes()
    result = cli("verify", broken)
    assert result.exit_code == 3
    assert "First layer that differs: block2.conv1 (Conv2d). Likely cause, weight: block2.conv1.weight" in result.stderr
    assert "most at [4, 3, 2, 1]" in result.stderr
    assert result.stderr.count("\n") == 1
    assert "Layers around block2.conv1, the first that differs" in result.stdout
    assert "The graph in this file is not the one that was exported" in result.stdout
    assert max(map(len, result.stdout.splitlines()[1:])) <= 80
    assert broken.read_bytes() == before


def test_json_of_a_broken_file_says_where_and_why(broken: Path, cli: Cli) -> None:
    result = cli("verify", broken, "--json")
    found = json.loads(result.stdout)
    assert (result.exit_code, result.stderr, found["status"]) == (3, "", "failed")
    assert found["errors"][0]["code"] == "parity"
    where = found["data"]["divergence"]
    assert (where["layer"], where["cause"]) == ("block2.conv1", "weight")
    assert [row["layer"] for row in where["layers"]][:2] == ["normalise", "block1.conv1"]
    assert not found["data"]["stored"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("nowhere.onnx",), 1, "there is no file nowhere.onnx"),
        (("alexnet",), 1, "alexnet has no trained weights. Train it first: cnnkit train alexnet"),
        (("lenet", "--device", "tpu"), 2, "there is no device 'tpu'"),
        (("lenet", "--against", "nosuch"), 1, "there is no model 'nosuch'"),
        (("lenet", "--data", "shapes"), 1, "shapes has 3 classes that the network does not know: circles, squares"),
    ],
)
def test_what_cannot_be_verified_is_one_line(arguments: tuple[str, ...], code: int, message: str, cli: Cli) -> None:
    result = cli("verify", *arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_file_of_somebody_else_needs_a_network(file: Path, cli: Cli) -> None:
    model = onnx.load(file)
    del model.metadata_props[:]
    file.write_bytes(model.SerializeToString())
    result = cli("verify", file)
    assert result.exit_code == 1
    assert f"cnnkit verify {file} --against RUN" in result.stderr
    result = cli("verify", file, "--against", file.with_name("best.safetensors"))
    assert result.exit_code == 0
    assert "not stored: the file has no model card" in " ".join(result.stdout.split())


@pytest.mark.parametrize(
    ("shape", "message"),
    [([1, 3, 8, 8], "carries no model card"), ([1, 8], "expected one input of four dimensions")],
)
def test_a_file_without_a_card_is_answered_without_pytorch(shape: list[int], message: str, tmp_path: Path) -> None:
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, each) for name, each in (("x", shape), ("y", [1, "n"]))
    ]
    graph = helper.make_graph([helper.make_node("Flatten", ["x"], ["y"])], "net", ends[:1], ends[1:])
    path = tmp_path / "net.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    code = (
        "import atexit, sys\natexit.register(lambda: print('torch' in sys.modules))\n"
        "from cnnkit.cli import main\nmain()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "verify", str(path)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (1, "False")
    assert message in done.stderr

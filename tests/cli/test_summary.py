"""`cnnkit summary`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.expecting import rows_of

Cli = Callable[..., Any]


def test_the_table_has_layers_and_totals(cli: Cli) -> None:
    result = cli("summary", "alexnet")
    assert (result.exit_code, result.stderr) == (0, "")
    assert ["conv5", "Conv2d", "256×12×12", "884,992", "127,401,984"] in rows_of(result.stdout)
    assert ["total", "46,764,746", "938,146,176"] in rows_of(result.stdout)


def test_json_has_layers_and_totals(cli: Cli) -> None:
    found = json.loads(cli("summary", "lenet", "--batch", "4", "--json").stdout)
    assert (found["command"], found["status"]) == ("summary", "ok")
    data = found["data"]
    assert set(data) == {
        "model", "input_shapes", "batch", "layers", "parameters", "trainable_parameters", "multiply_adds", "size_mb",
        "memory_mb", "own_parameters", "idle", "idle_parameters", "unregistered_parameters", "device", "failure",
    }  # fmt: skip
    assert (data["parameters"], data["batch"], data["input_shapes"]) == (61_706, 4, [[1, 28, 28]])
    assert data["layers"][0] == {
        "name": "conv1",
        "kind": "Conv2d",
        "depth": 1,
        "output_shape": [6, 28, 28],
        "parameters": 156,
        "multiply_adds": 4 * 117_600,
        "is_leaf": True,
        "input_shape": [1, 28, 28],
        "kernel": [5, 5],
        "trainable_parameters": 156,
        "memory_mb": 4 * 4 * 6 * 28 * 28 / 1e6,
        "receptive_field": [5, 5],
        "receptive_field_lost": "",
        "calls": 1,
        "order": 1,
        "repeats": 1,
        "failed": False,
    }


def test_depth_and_input_are_passed_on(cli: Cli) -> None:
    out = cli("summary", "torchvision/resnet18", "--depth", "1", "--input", "3x64x96").stdout
    assert "torchvision/resnet18, input 3×64×96, batch 1" in out
    assert "layer1" in out
    assert "bn2" not in out
    assert "11,689,512" in out


def test_a_run_is_summarised(tiny_run: Path, cli: Cli) -> None:
    assert "174,243 parameters are trainable; 0.70 MB of weights." in cli("summary", tiny_run).stdout


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["lenett"], 1, "there is no model 'lenett'. Did you mean lenet"),
        (["tinynets:Linear", "--input", "1x8x8"], 1, "fc (Linear) expects 192 features, got 64: the input would have"),
        (["lenet", "--input", "1x8x8"], 2, "1×8×8; the smallest that it can take are 12×12"),
        (["lenet", "--input", "28x"], 2, "'28x' is not channels × height × width, as in 3x32x32"),
        (["lenet", "--input", "1x28x28", "--input", "10"], 2, "lenet takes input, and 2 inputs were given"),
        (["lenet", "--columns", "kernl"], 2, "there is no column 'kernl'. Did you mean kernel?"),
        (["lenet", "--tree", "--csv"], 2, "ways to show one result; give one of them"),
        (["lenet", "--plot", "net.jpg"], 2, "--plot net.jpg: the name must end in .png"),
        (["lenet", "--depth", "0"], 2, "0 is not a whole number"),
        (["nowhere.safetensors"], 1, "there is no file nowhere.safetensors"),
    ],
)
@pytest.mark.usefixtures("nets")
def test_what_cannot_be_summarised_is_said(arguments: list[str], code: int, message: str, cli: Cli) -> None:
    result = cli("summary", *arguments)
    assert result.exit_code == code
    assert message in " ".join(result.stderr.replace("│", "").split())


@pytest.mark.usefixtures("nets")
def test_the_rows_that_were_reached_come_before_the_error(cli: Cli) -> None:
    result = cli("summary", "tinynets:Regular", "--input", "3x16x16")
    assert result.exit_code == 1
    rows = [line.split()[0] for line in result.stdout.splitlines()[3:7]]
    assert rows == ["conv", "norm", "drop", "head"]
    assert result.stderr == (
        "error: head (Linear) expects 128 features, got 512: the input would have to be 8×8, it is 16×16.\n"
    )


@pytest.mark.usefixtures("nets")
def test_the_envelope_of_an_error_has_the_rows(cli: Cli) -> None:
    result = cli("summary", "tinynets:Regular", "--input", "3x16x16", "--json")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["status"], found["errors"][0]["code"]) == (1, "error", "forward")
    assert [row["name"] for row in found["data"]["layers"]][-2:] == ["drop", "head"]
    assert found["data"]["failure"] == {
        "layer": "head",
        "kind": "Linear",
        "given": [[512]],
        "reason": "expects 128 features, got 512",
        "fitting_input": [3, 8, 8],
    }


def test_a_registered_network_is_built_for_the_input(cli: Cli) -> None:
    found = json.loads(cli("summary", "lenet", "--input", "3x32x32", "--json").stdout)["data"]
    assert (found["input_shapes"], found["parameters"]) == ([[3, 32, 32]], 83_126)


def test_forms_and_columns_are_passed_on(cli: Cli, tmp_path: Path) -> None:
    assert "└─fc3" in cli("summary", "lenet", "--tree").stdout
    assert cli("summary", "lenet", "--csv", "--columns", "kernel").stdout.splitlines()[1] == "conv1,Conv2d,1,5x5"
    assert cli("summary", "lenet", "--markdown").stdout.startswith("| layer | type | output shape |")
    folded = cli("summary", "torchvision/resnet18", "--fold", "--depth", 2, "--columns", "receptive-field")
    assert "0 ×2" in folded.stdout
    assert "output shape" not in folded.stdout
    drawn = cli("summary", "lenet", "--plot", tmp_path / "net.png")
    assert (tmp_path / "net.png").is_file()
    assert drawn.stderr == f"plot: {tmp_path / 'net.png'}\n"


@pytest.mark.usefixtures("nets")
def test_several_inputs_are_given_one_by_one(cli: Cli) -> None:
    result = cli("summary", "oddnets:TwoInputs", "--input", "1x28x28", "--input", "10")
    assert "oddnets:TwoInputs, input 1×28×28 and 10, batch 1" in result.stdout


def lenet_file(
    folder: Path, *, pads: int = 2, batch: int | str = "n", sides: tuple[int | str, int | str] = (28, 28)
) -> Path:
    """Write LeNet as an exporter would, with weights of the right sizes."""
    shapes = {
        "conv1": (6, 1, 5, 5), "conv2": (16, 6, 5, 5), "fc1": (120, 400), "fc2": (84, 120), "fc3": (10, 84),
    }  # fmt: skip
    weights = []
    for name, shape in shapes.items():
        weights.append(numpy_helper.from_array(np.zeros(shape, np.float32), f"network.{name}.weight"))
        weights.append(numpy_helper.from_array(np.zeros(shape[:1], np.float32), f"network.{name}.bias"))
    weights.append(numpy_helper.from_array(np.array([0, -1]), "flat"))
    nodes = []
    last = "image"

    def add(kind: str, name: str, *more: str, **attributes: Any) -> None:
        nonlocal last
        nodes.append(helper.make_node(kind, [last, *more], [name], name=f"node_{name}", **attributes))
        last = name

    for index in (1, 2):
        around = [pads] * 4 if index == 1 else [0] * 4
        parameters = (f"network.conv{index}.weight", f"network.conv{index}.bias")
        add("Conv", f"conv2d_{index}", *parameters, pads=around)
        add("Sigmoid", f"sigmoid_{index}")
        add("MaxPool", f"max_pool2d_{index}", kernel_shape=[2, 2], strides=[2, 2])
    add("Reshape", "view", "flat")
    for index in (1, 2, 3):
        add("Gemm", f"linear_{index}", f"network.fc{index}.weight", f"network.fc{index}.bias", transB=1)
        if index < 3:
            add("Sigmoid", f"sigmoid_{index + 2}")
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, 1, *sides])],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, [batch, 10])],
        weights,
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9, producer_name="tests", producer_version="1"
    )
    path = folder / "lenet.onnx"
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("options", [[], ["--compare", "lenet"]], ids=["onnx", "compare"])
def test_the_tables_of_a_file_have_nodes_and_totals(options: list[str], here: Path, cli: Cli) -> None:
    lenet_file(here)
    result = cli("summary", "lenet.onnx", *options)
    assert (result.exit_code, result.stderr) == (0, "")
    rows = rows_of(result.stdout)
    node = ["node_linear_2", "Gemm", "84"]
    assert (["fc2", "Linear", *node] if options else [*node, "10,164", "10,080"]) in rows
    assert (["parameters", "61,706", "61,706"] if options else ["total", "61,706", "416,520"]) in rows


def test_a_file_has_csv_markdown_and_bars_too(here: Path, cli: Cli) -> None:
    lenet_file(here)
    assert cli("summary", "lenet.onnx", "--csv").stdout.splitlines()[:2] == [
        "layer,type,depth,output_shape,parameters,multiply_adds",
        "node_conv2d_1,Conv,1,6x28x28,156,117600",
    ]
    assert "**416,520**" in cli("summary", "lenet.onnx", "--markdown").stdout
    assert "multiply-adds" not in cli("summary", "lenet.onnx", "--columns", "output").stdout
    assert cli("summary", "lenet.onnx", "--plot", "net.png").exit_code == 0
    assert (here / "net.png").is_file()


def test_a_layer_that_differs_is_named(here: Path, cli: Cli) -> None:
    lenet_file(here)
    result = cli("summary", "lenet.onnx", "--compare", "mnist-cnn")
    assert result.exit_code == 0
    assert "Shapes or multiply-adds differ in conv1, conv2, conv3, node_linear_1," in result.stdout
    assert "8×28×28 ≠ 6×28×28" in result.stdout


def test_json_of_a_file_has_nodes_comparison_and_profile(here: Path, cli: Cli) -> None:
    lenet_file(here)
    arguments = ("--batch", 4, "--compare", "lenet", "--profile", "--device", "cpu", "--json")
    data = json.loads(cli("summary", "lenet.onnx", *arguments).stdout)["data"]
    assert set(data) == {
        "model", "inputs", "batch", "layers", "parameters", "multiply_adds", "size_mb", "opset", "ir_version",
        "assumptions",
        "producer", "comparison", "profile",
    }  # fmt: skip
    assert (data["batch"], data["parameters"], data["multiply_adds"]) == (4, 61_706, 4 * 416_520)
    assert data["inputs"] == [{"name": "image", "dtype": "float32", "shape": [1, 28, 28]}]
    first = data["comparison"]["rows"][0]
    assert (first["layer"]["name"], first["nodes"][0]["name"]) == ("conv1", "node_conv2d_1")
    assert data["profile"]["runs"] >= 10
    assert sum(node["share"] for node in data["profile"]["nodes"]) == pytest.approx(1)


def test_a_profile_is_drawn_and_leaves_no_file(here: Path, cli: Cli) -> None:
    lenet_file(here)
    out = cli("summary", "lenet.onnx", "--profile", "--device", "cpu").stdout
    assert "Mean of" in out
    assert "node_conv2d_1" in out
    assert [path.name for path in here.iterdir()] == ["lenet.onnx"]


@pytest.mark.parametrize(
    ("made", "arguments", "code", "message"),
    [
        ({}, ["--depth", "1"], 2, "an ONNX file, whose nodes have no levels; leave out --depth"),
        ({}, ["--fold"], 2, "an ONNX file, whose nodes are no blocks; leave out --fold"),
        ({}, ["--tree"], 2, "an ONNX file, whose nodes are no tree; leave out --tree"),
        ({}, ["--columns", "kernel"], 2, "there is no column 'kernel'"),
        ({}, ["--input", "28x28"], 2, "takes one --input of channels × height × width"),
        ({}, ["--input", "3x28x28"], 2, "takes image [n, 1, 28, 28], which --input 3x28x28 contradicts"),
        ({"batch": 8}, ["--batch", "4"], 2, "takes batches of exactly 8; leave out --batch"),
        ({}, ["--compare", "lenett"], 1, "Did you mean lenet"),
        ({}, ["--compare", "lenet.onnx"], 2, "is an ONNX file; expected a PyTorch network"),
        ({}, ["--profile", "--device", "tpu"], 2, "there is no device 'tpu'"),
    ],
)
def test_what_a_file_does_not_take_is_said(
    made: dict[str, Any], arguments: list[str], code: int, message: str, here: Path, cli: Cli
) -> None:
    lenet_file(here, **made)
    result = cli("summary", "lenet.onnx", *arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert message in " ".join(result.stderr.split())


@pytest.mark.parametrize("option", [["--compare", "lenet"], ["--profile"]])
def test_what_is_for_files_only_is_wrong_usage_for_a_network(option: list[str], cli: Cli) -> None:
    result = cli("summary", "lenet", *option)
    assert result.exit_code == 2
    assert "--compare and --profile are for ONNX files" in result.stderr


def test_a_fixed_batch_is_that_of_the_file(here: Path, cli: Cli) -> None:
    lenet_file(here, batch=8)
    data = json.loads(cli("summary", "lenet.onnx", "--json").stdout)["data"]
    assert (data["batch"], data["multiply_adds"]) == (8, 8 * 416_520)
    assert data["layers"][0]["output_shape"] == [6, 28, 28]


def test_our_own_file_is_summarised(tiny_onnx: Path, cli: Cli) -> None:
    out = cli("summary", tiny_onnx).stdout
    assert "input image uint8 28×28×3" in out
    assert "174,243" in out


def test_a_device_without_a_profile_is_wrong_usage(cli: Cli) -> None:
    result = cli("summary", "lenet", "--device", "cpu")
    assert result.exit_code == 2
    assert "--device says where --profile runs a file" in result.stderr


def test_a_batch_that_would_take_all_memory_is_refused_before_it_runs(tiny_onnx: Path, cli: Cli) -> None:
    result = cli("summary", tiny_onnx, "--profile", "--batch", 1_000_000_000)
    assert result.exit_code == 2
    assert "are free. Use a smaller --batch." in " ".join(result.stderr.split())


def test_a_folder_is_no_file(here: Path, cli: Cli) -> None:
    (here / "dir.onnx").mkdir()
    result = cli("summary", "dir.onnx")
    assert (result.exit_code, result.stderr.strip()) == (1, "error: dir.onnx is a folder; expected a file.")

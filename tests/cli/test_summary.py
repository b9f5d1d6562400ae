"""`cnnkit summary`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]


@pytest.mark.parametrize("name", ["lenet", "alexnet"])
def test_the_table_is_the_golden_one(name: str, cli: Cli, golden: Callable[[str, str], None]) -> None:
    result = cli("summary", name)
    assert (result.exit_code, result.stderr) == (0, "")
    golden(f"summary-{name}", result.stdout)


def test_json_has_layers_and_totals(cli: Cli) -> None:
    found = json.loads(cli("summary", "lenet", "--batch", "4", "--json").stdout)
    assert (found["command"], found["status"]) == ("summary", "ok")
    data = found["data"]
    assert set(data) == {
        "model", "input_shape", "batch", "layers", "parameters", "trainable_parameters", "multiply_adds", "size_mb",
    }  # fmt: skip
    assert (data["parameters"], data["batch"], data["input_shape"]) == (61_706, 4, [1, 28, 28])
    assert data["layers"][0] == {
        "name": "conv1",
        "kind": "Conv2d",
        "depth": 1,
        "output_shape": [6, 28, 28],
        "parameters": 156,
        "multiply_adds": 4 * 117_600,
        "is_leaf": True,
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
        (["lenet", "--input", "3x28x28"], 2, "lenet cannot take an input of 3×28×28"),
        (["lenet", "--depth", "0"], 2, "0 is not in the range x>=1"),
        (["nowhere.safetensors"], 1, "there is no file nowhere.safetensors"),
    ],
)
def test_what_cannot_be_summarised_is_said(arguments: list[str], code: int, message: str, cli: Cli) -> None:
    result = cli("summary", *arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert message in result.stderr


def test_an_onnx_file_is_wrong_usage(tiny_onnx: Path, cli: Cli) -> None:
    assert cli("summary", tiny_onnx).exit_code == 2

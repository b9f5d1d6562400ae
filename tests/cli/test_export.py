"""`cnnkit export`: the proof is shown, and without it there is no file."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime
import pytest

Cli = Callable[..., Any]
pytestmark = pytest.mark.usefixtures("few_shapes", "nets")


def test_the_file_and_its_proof_are_shown(tiny_run: Path, tmp_path: Path, cli: Cli) -> None:
    path = tmp_path / "new" / "shapes.onnx"
    result = cli("export", tiny_run, "--onnx", "-o", path)
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0] == str(path)
    shown = " ".join(" ".join(lines[1:]).split())
    assert "compared on 10 images of shapes, in batches of 1, 2, 7" in shown
    assert "% of what is allowed" in shown
    assert "same top-1 class 100%" in shown
    assert "input image: uint8 [N, H, W, C]" in shown
    assert "random" not in shown
    assert path.is_file()


def test_json_has_the_certificate(tiny_run: Path, tmp_path: Path, cli: Cli) -> None:
    result = cli("export", tiny_run, "--onnx", "-o", tmp_path / "a.onnx", "--raw-input", "--json")
    found = json.loads(result.stdout)
    assert (result.exit_code, result.stderr, found["status"]) == (0, "", "ok")
    assert set(found["data"]) == {
        "path", "size_mb", "opset", "trained", "weights", "input_type", "certificate", "precision",
    }  # fmt: skip
    assert found["data"]["precision"] is None
    assert found["data"]["input_type"] == "float32 [N, C, H, W]"
    assert set(found["data"]["certificate"]) == {
        "images", "batch_sizes", "max_absolute_difference", "max_relative_difference", "max_tolerance_ratio",
        "top1_agreement", "tolerance", "versions", "images_count", "mean_absolute_difference", "torch_accuracy",
        "onnx_accuracy", "weights_sha256", "device",
        "precision", "accuracy_budget_points",
    }  # fmt: skip
    assert found["data"]["certificate"]["top1_agreement"] == 1.0
    assert found["data"]["path"] == str(tmp_path / "a.onnx")


def test_random_weights_are_said_to_be_random(tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = cli("export", "tinynets:silent", "--onnx", "--input", "3x4x16")
    assert result.exit_code == 0
    assert result.stdout.endswith("The weights are random: this network was never trained.\n")
    session = onnxruntime.InferenceSession("silent.onnx", providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == ["batch", 4, 16, 3]


@pytest.mark.parametrize("as_json", [False, True])
def test_networks_that_disagree_exit_3_and_leave_no_file(as_json: bool, tmp_path: Path, cli: Cli) -> None:
    result = cli("export", "tinynets:Planted", "--onnx", "-o", tmp_path / "a.onnx", *["--json"] * as_json)
    assert result.exit_code == 3
    assert list(tmp_path.iterdir()) == []
    if as_json:
        found = json.loads(result.stdout)
        assert (found["status"], found["errors"][0]["code"]) == ("failed", "parity")
        assert found["data"]["max_tolerance_ratio"] > 1
    else:
        assert result.stdout == ""
        assert result.stderr.startswith("error: tinynets:Planted: PyTorch and onnxruntime disagree on 10 drawn shapes")
        assert result.stderr.endswith("No file was written.\n")


def test_differences_that_are_no_numbers_are_null_in_json(tmp_path: Path, cli: Cli) -> None:
    result = cli("export", "tinynets:NotANumber", "--onnx", "-o", tmp_path / "a.onnx", "--json")
    assert result.exit_code == 3
    assert json.loads(result.stdout)["data"]["max_absolute_difference"] is None


def test_a_network_that_cannot_be_exported_is_an_error(tmp_path: Path, cli: Cli) -> None:
    result = cli("export", "tinynets:Branching", "--onnx", "-o", tmp_path / "a.onnx")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "error: tinynets:Branching cannot be exported to ONNX: " in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_cannot_be_exported_is_one_line(tmp_path: Path, cli: Cli) -> None:
    result = cli("export", "tinynets:Branching", "--onnx", "-o", tmp_path / "a.onnx")
    assert result.stderr.count("\n") == 1


def test_alexnet_is_exported_untrained(tmp_path: Path, cli: Cli) -> None:
    result = cli("export", "alexnet", "--onnx", "-o", tmp_path / "alexnet.onnx", "--json")
    data = json.loads(result.stdout)["data"]
    assert result.exit_code == 0
    assert not data["trained"]
    assert data["certificate"]["max_absolute_difference"] <= 1e-4
    assert data["certificate"]["top1_agreement"] == 1.0
    assert [path.name for path in tmp_path.iterdir()] == ["alexnet.onnx"]


def test_the_suffix_of_the_output_names_the_format(tiny_run: Path, tmp_path: Path, cli: Cli) -> None:
    result = cli("export", tiny_run, "-o", tmp_path / "a.onnx")
    assert result.exit_code == 0
    assert "weights shapes-cnn trained on shapes" in " ".join(result.stdout.split())


def test_the_format_must_be_named(cli: Cli) -> None:
    result = cli("export", "lenet")
    assert (result.exit_code, result.stderr) == (2, "error: say which format: cnnkit export lenet --onnx\n")


def test_an_older_file_outlives_a_failure(tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "a.onnx").write_bytes(b"older")
    assert cli("export", "tinynets:Planted", "--onnx", "-o", tmp_path / "a.onnx").exit_code == 3
    assert (tmp_path / "a.onnx").read_bytes() == b"older"


def test_a_place_that_cannot_be_written_is_an_error(tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "file").write_text("in the way")
    result = cli("export", "tinynets:Linear", "--onnx", "-o", tmp_path / "file" / "a.onnx")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: cannot write into {tmp_path / 'file'}")


@pytest.mark.parametrize(
    ("ref", "code", "message"),
    [
        ("lenett", 1, "there is no model 'lenett'. Did you mean lenet"),
        ("nowhere.onnx", 1, "there is no file nowhere.onnx"),
        ("torchvision/resnet81", 1, "no torchvision classification model 'resnet81'"),
        ("tinynets:silent", 2, "does not say its input"),
    ],
)
def test_what_cannot_be_exported_is_one_line(ref: str, code: int, message: str, tmp_path: Path, cli: Cli) -> None:
    result = cli("export", ref, "--onnx", "-o", tmp_path / "a.onnx")
    assert (result.exit_code, result.stdout) == (code, "")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1

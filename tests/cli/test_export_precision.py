"""`cnnkit export --precision`: both figures are shown, and what brings nothing is not written."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import cnnkit
from cnnkit.runtime.timing import race

Cli = Callable[..., Any]
pytestmark = pytest.mark.usefixtures("few_shapes", "nets")


@pytest.fixture(scope="module")
def ruined(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of `Lopsided`, which eight bits ruin."""
    runs = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parent.parent / "nets")
        recipe = cnnkit.default_recipe("tinynets:Lopsided", data=str(photos), epochs=20, learning_rate=0.002)
        list(cnnkit.train(recipe, runs_dir=runs, device="cpu"))
    return next(runs.iterdir())


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure latencies for a fifth of the time."""
    monkeypatch.setattr("cnnkit.exporting.precision.race", partial(race, seconds=0.2))


def test_int8_is_shown_beside_float32(tmp_path: Path, cli: Cli) -> None:
    path = tmp_path / "a.onnx"
    result = cli("export", "shapes-cnn", "--onnx", "--precision", "int8", "--data", "shapes", "-o", path, "--force")
    assert result.exit_code == 0
    shown = " ".join(result.stdout.split())
    assert "logits differ by at most" in shown
    assert "as int8 against float32" in shown
    assert "Against fp32: 12 validation images of shapes, batch 1, onnxruntime CPU" in shown
    assert "Reported only, on 30 test images: " in shown
    assert "The network was not trained on shapes." in shown
    assert "Largest quantisation errors (5 of 8 layers), as signal to noise" in shown
    assert "Calibrated on 60 training images." in shown or "Calibrated on 48 training images." in shown
    assert path.is_file()


@pytest.mark.parametrize("as_json", [False, True])
def test_a_refusal_shows_what_was_measured_and_exits_3(as_json: bool, ruined: Path, cli: Cli) -> None:
    result = cli("export", ruined, "--onnx", "--precision", "int8", "--trust-code", *["--json"] * as_json)
    assert result.exit_code == 3
    assert not list(ruined.glob("*.onnx"))
    if as_json:
        found = json.loads(result.stdout)
        assert (found["status"], found["errors"][0]["code"]) == ("failed", "precision")
        assert set(found["data"]) == {
            "precision", "data", "trained_on", "split", "images", "test_images", "calibration", "engine", "batch",
            "fp32", "reduced", "top1_agreement", "in_range", "accuracy_budget_points", "speed_up", "speed_up_interval",
            "layers", "objections", "warnings", "out_of_range", "kept_fp32", "rounded_accuracy", "rounded_agreement",
        }  # fmt: skip
        assert found["data"]["layers"][0]["name"] == "middle"
        assert set(found["data"]["layers"][0]) == {"name", "operator", "alone_snr_db", "together_snr_db"}
        assert set(found["data"]["reduced"]) == {"size_mb", "accuracy", "latency_p50_ms", "test_accuracy"}
        assert found["data"]["reduced"]["test_accuracy"] == 0.5
        assert found["data"]["objections"][0].startswith("It costs 50.0 points of accuracy")
    else:
        assert result.stdout.startswith("Against fp32: 4 validation images of photos")
        assert "Reported only, on 4 test images: 100% in fp32, 50% in int8." in result.stdout
        assert "middle" in result.stdout
        assert "accuracy 50% against 100%" in result.stderr
        assert result.stderr.endswith("No file was written; --force writes it all the same.\n")


@pytest.mark.parametrize("as_json", [False, True])
def test_what_float16_cannot_hold_is_shown(
    as_json: bool, photos: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent.parent / "nets")
    recipe = cnnkit.default_recipe("tinynets:Squaring", data=str(photos), epochs=1, learning_rate=1e-9)
    list(cnnkit.train(recipe, runs_dir=tmp_path, device="cpu"))
    run = next(tmp_path.iterdir())
    result = cli("export", run, "--onnx", "--precision", "fp16", "--trust-code", "--force", *["--json"] * as_json)
    assert result.exit_code == 3
    assert not list(run.glob("*.onnx"))
    if as_json:
        data = json.loads(result.stdout)["data"]
        assert data["in_range"] is False
        first = data["out_of_range"][0]
        assert (first["operator"], first["what"]) == ("Mul", "values")
        assert first["largest"] > 65504
        assert [name.split()[0] for name in data["kept_fp32"]] == ["ReduceSum", "Softmax"]
    else:
        assert "Mul node_mul" in result.stdout
        assert "Kept in fp32" in result.stdout
        assert "leave the range of fp16, first in layer node_mul" in " ".join(result.stderr.split())


def test_force_writes_it_beside_the_other_and_says_why_not(ruined: Path, cli: Cli) -> None:
    result = cli("export", ruined, "--onnx", "--precision", "int8", "--trust-code", "--force")
    assert result.exit_code == 0
    assert "It costs 50.0 points of accuracy, and the budget is 0.5; written all the same." in result.stderr
    assert result.stdout.startswith(f"{ruined / 'model-int8.onnx'}\n")
    (ruined / "model-int8.onnx").unlink()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["shapes-cnn", "--precision", "int4"], 2, "'int4' is not one of"),
        (["shapes-cnn", "--precision", "int8", "--accuracy-budget", "-1"], 2, "number from 0 to 100"),
        (["tinynets:Linear", "--precision", "int8"], 2, "tinynets:Linear has random weights"),
        (["shapes-cnn", "--precision", "int8", "--data", "./nowhere"], 1, "there is no image folder"),
        (["shapes-cnn", "--device", "cuda"], 2, "--data and --skip-damaged are for --precision fp16 and int8"),
        (["shapes-cnn", "--force"], 2, "--data and --skip-damaged are for --precision fp16 and int8"),
        (["shapes-cnn", "--precision", "fp16", "--data", "shapes", "--device", "tpu"], 2, "there is no device 'tpu'"),
    ],
)
def test_bad_input_is_an_error_and_leaves_nothing(
    arguments: list[str], code: int, message: str, tmp_path: Path, cli: Cli
) -> None:
    result = cli("export", *arguments, "--onnx", "-o", tmp_path / "a.onnx")
    assert result.exit_code == code
    assert message in " ".join(result.stderr.split())
    assert result.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_the_precision_is_in_the_name(tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = cli("export", "shapes-cnn", "--onnx", "--precision", "fp16", "--data", "shapes", "--force", "--json")
    assert json.loads(result.stdout)["data"]["precision"]["precision"] == "fp16"
    assert [path.name for path in tmp_path.iterdir()] == ["shapes-cnn-fp16.onnx"]

"""`cnnkit benchmark`: tables, JSON, CSV and a plot, and what makes no sense."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

Cli = Callable[..., Any]
QUICK = ("--device", "cpu", "--threads", "1", "--seconds", "0.02")


def test_the_table_has_every_batch_and_engine(cli: Cli) -> None:
    result = cli("benchmark", "lenet", *QUICK, "--batch", "8,1")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0] == "lenet on onnxruntime CPU, input uint8 [N, 28, 28, 1]"
    assert [line.split()[0] for line in lines[3:5]] == ["1", "8"]
    assert "1 thread." in lines[-1]


def test_json_has_every_field(cli: Cli) -> None:
    result = cli("benchmark", "lenet", "digits", *QUICK, "--batch", "1", "--json")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["command"], found["status"]) == (0, "benchmark", "ok")
    assert set(found["data"]) == {"models", "measurements", "failures", "notes", "processor", "versions"}
    first, second = found["data"]["measurements"]
    assert (first["model"], second["model"]) == ("lenet", "digits")
    assert set(first) == {
        "model", "engine", "device", "threads", "batch", "calls", "latency_p50_ms", "latency_p95_ms",
        "latency_p99_ms", "latency_mean_ms", "latency_mean_low_ms", "latency_mean_high_ms", "images_per_second",
        "first_run_ms", "peak_memory_mb", "copy_in_ms", "compute_ms", "copy_out_ms", "speed_up", "speed_up_low",
        "speed_up_high",
    }  # fmt: skip
    assert first["speed_up"] is None
    assert second["speed_up_low"] <= second["speed_up"] <= second["speed_up_high"]


def test_the_plot_and_the_csv_are_written(cli: Cli, tmp_path: Path) -> None:
    plot, table = tmp_path / "new" / "a.png", tmp_path / "a.csv"
    result = cli("benchmark", "lenet", *QUICK, "--batch", "1,4", "--plot", plot, "--csv", table)
    assert result.exit_code == 0
    assert f"plot: {plot}" in result.stderr
    assert f"measurements: {table}" in result.stderr
    with Image.open(plot) as image:
        assert image.format == "PNG"
    with table.open(encoding="utf-8", newline="") as file:
        assert [row["batch"] for row in csv.DictReader(file)] == ["1", "4"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["lenet", "--batch", "0"], 2, "--batch '0': expected whole numbers from 1, separated by commas"),
        (["lenet", "--batch", "1,x"], 2, "--batch '1,x': expected whole numbers"),
        (["lenet", "--batch", ""], 2, "--batch '': expected whole numbers"),
        (["lenet", "--batch", "1,"], 2, "--batch '1,': expected whole numbers"),
        (["lenet", "--batch", "99999999"], 2, "--batch 99999999: expected from 1 to 65536 images"),
        (["lenet", "--threads", "many"], 2, "--threads 'many': expected whole numbers"),
        (["lenet", "--threads", "9999"], 2, "--threads 9999: this machine can run from 1 to"),
        (["lenet", "--seconds", "-1"], 2, "--seconds -1: expected a positive number"),
        (["lenet", "--device", "gpu"], 2, "there is no device 'gpu'"),
        (["lenet", "--device", "cpu,"], 2, "there is no device ''"),
        (["lenet", "--input", "1x28x28"], 2, "the input of lenet is fixed"),
        (["lennet"], 1, "there is no model 'lennet'. Did you mean lenet"),
        (["nowhere.onnx"], 1, "there is no file nowhere.onnx"),
        ([], 2, "Missing argument"),
    ],
)
def test_what_makes_no_sense_is_said(arguments: list[str], code: int, message: str, cli: Cli) -> None:
    result = cli("benchmark", *arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert message in result.stderr


@pytest.mark.parametrize("content", [b"", b"a text", bytes(100)])
def test_what_is_no_onnx_file_is_an_error(content: bytes, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(content)
    result = cli("benchmark", tmp_path / "bad.onnx", *QUICK)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "bad.onnx" in result.stderr


def test_a_folder_that_cannot_be_written_is_said_before_anything_is_measured(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    result = cli("benchmark", "lenet", "--csv", tmp_path / "file" / "a.csv")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "cannot write into" in result.stderr


def test_a_file_that_cannot_be_written_in_the_end_takes_nothing_with_it(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    result = cli("benchmark", "lenet", *QUICK, "--batch", "1", "--csv", tmp_path / "folder.csv")
    assert result.exit_code == 1
    assert "p50" in result.stdout
    assert f"cannot write {tmp_path / 'folder.csv'}: it is there, and not a file" in result.stderr


def test_a_failure_is_shown_after_what_was_measured(cli: Cli, tmp_path: Path) -> None:
    """A network with a reshape that holds for one image only."""
    values = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 4, 4]),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, ["m", 48]),
    ]
    shape = numpy_helper.from_array(np.array([1, 48]), "shape")
    graph = helper.make_graph(
        [helper.make_node("Reshape", ["x", "shape"], ["y"])], "net", values[:1], values[1:], [shape]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (tmp_path / "one.onnx").write_bytes(model.SerializeToString())
    result = cli("benchmark", tmp_path / "one.onnx", *QUICK, "--batch", "1,2")
    assert result.exit_code == 1
    assert "p50" in result.stdout
    assert "one.onnx, onnxruntime CPU cannot run a batch of 2: " in result.stderr
    found = json.loads(cli("benchmark", tmp_path / "one.onnx", *QUICK, "--batch", "1,2", "--json").stdout)
    assert (found["status"], found["errors"][0]["code"]) == ("error", "onnx")
    assert [row["batch"] for row in found["data"]["measurements"]] == [1]


def test_tuning_shows_every_set_that_was_tried(cli: Cli, photos_onnx: Path, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(photos_onnx.read_bytes())
    options = ("--tune", "--device", "cpu", "--batch", "2", "--seconds", "0.01")
    result = cli("benchmark", path, *options)
    assert result.exit_code == 0
    for shown in ("net.onnx in batches of 2", "speed-up, 95% interval", "default", "threads 1", "no arena"):
        assert shown in result.stdout
    assert "Stored in the card" in result.stdout or "nothing is stored" in result.stdout
    found = json.loads(cli("benchmark", path, *options, "--json").stdout)
    assert found["data"]["tried"][0]["verdict"] == "default"


@pytest.mark.parametrize(
    "more",
    [["--torch"], ["--threads", "1"], ["--csv", "a.csv"], ["digits"], ["--device", "cpu,cuda"], ["--batch", "1,2"]],
)
def test_tuning_takes_one_of_everything(more: list[str], cli: Cli) -> None:
    result = cli("benchmark", "net.onnx", "--tune", *more)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--tune takes one file, one --device and one --batch" in result.stderr


@pytest.mark.parametrize("option", [["--plot", "speed.docx"], ["--csv", "-"]])
def test_a_file_is_named_for_what_it_holds(option, cli):
    result = cli("benchmark", "lenet", *option)
    assert result.exit_code == 2
    assert "the name must end in" in result.stderr

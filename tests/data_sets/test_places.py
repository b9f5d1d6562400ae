"""Where the files of data sets are looked for: what the user says, a run remembers, the project names."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cnnkit
from cnnkit.data.places import HERE, data_folder, remembered
from cnnkit.errors import DataError, UsageError
from tests.expecting import expect_error

Cli = Callable[..., Any]


def write_kmnist(folder: Path) -> Path:
    """Write a data set of a few images, as torchvision reads it, into a data folder."""
    raw, rng = folder / "KMNIST" / "raw", np.random.default_rng(0)
    raw.mkdir(parents=True)
    for prefix, count in (("train", 60), ("t10k", 20)):
        images = rng.integers(0, 256, (count, 28, 28), np.uint8)
        (raw / f"{prefix}-images-idx3-ubyte").write_bytes(struct.pack(">4i", 2051, count, 28, 28) + images.tobytes())
        labels = np.arange(count, dtype=np.uint8) % 10
        (raw / f"{prefix}-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 2049, count) + labels.tobytes())
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run that was trained with `--data-dir`."""
    recipe = cnnkit.default_recipe("softmax-regression", data="kmnist", epochs=1)
    *_, last = cnnkit.train.steps(
        recipe, data_dir=write_kmnist(tmp_path / "data"), runs_dir=tmp_path / "runs", device="cpu"
    )
    found: Path = last.run
    return found


def test_a_run_remembers_its_data_folder(run: Path, cli: Cli, tmp_path: Path) -> None:
    assert cnnkit.evaluate(run, device="cpu").images == 20
    assert cli("export", run, "--onnx", "-o", run / "model.onnx").exit_code == 0
    assert cli("verify", run / "model.onnx").exit_code == 0  # beside what the run remembers
    result = cli("train", "--resume", run, "--epochs", 2, "--device", "cpu")
    assert result.exit_code == 0, result.stderr
    card = (run / "best.safetensors").read_bytes()
    assert str(tmp_path).encode() not in card


def test_what_is_said_comes_first(run: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with expect_error(DataError, str(tmp_path / "empty"), "--data-dir"):
        cnnkit.evaluate(run, data_dir=tmp_path / "empty", device="cpu")


def test_a_data_folder_that_is_gone_is_looked_for_elsewhere(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").rename(tmp_path / "moved")
    assert remembered(run) is None
    monkeypatch.setenv("CNNKIT_DATA", str(tmp_path / "moved"))
    assert cnnkit.evaluate(run, device="cpu").images == 20


def test_a_run_that_goes_on_with_another_data_folder_remembers_that_one(run: Path, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "data").rename(tmp_path / "moved")
    resumed = cli("train", "--resume", run, "--epochs", 2, "--device", "cpu", "--data-dir", tmp_path / "moved")
    assert resumed.exit_code == 0, resumed.stderr
    assert remembered(run) == tmp_path / "moved"
    assert cnnkit.evaluate(run, device="cpu").images == 20


@pytest.mark.parametrize("content", ["", "[", "data-dir = 3", 'data-dir = "nowhere"', "\udcff"])
def test_a_damaged_memory_is_none(content: str, tmp_path: Path) -> None:
    (tmp_path / HERE).write_bytes(content.encode(errors="surrogateescape"))
    assert remembered(tmp_path) is None


def test_a_project_names_the_data_folder_for_all_below_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli
) -> None:
    write_kmnist(tmp_path / "data")
    (tmp_path / "cnnkit.toml").write_text('data-dir = "data"\n')
    (tmp_path / "work" / "deep").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work" / "deep")
    assert data_folder() == (tmp_path / "data", "cnnkit.toml")
    listed = json.loads(cli("datasets", "--json").stdout)["data"]
    assert [each["present"] for each in listed if each["name"] == "kmnist"] == [True]
    monkeypatch.setenv("CNNKIT_DATA", "/elsewhere")
    assert data_folder() == (Path("/elsewhere"), "$CNNKIT_DATA")
    assert data_folder(tmp_path) == (tmp_path, "--data-dir")


@pytest.mark.parametrize("content", ["[", "data-dir = 3", 'data = "x"', 'data-dir = "x"\nruns-dir = "y"'])
def test_a_project_file_that_says_something_else_is_wrong_usage(
    content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli
) -> None:
    (tmp_path / "cnnkit.toml").write_text(content)
    monkeypatch.chdir(tmp_path)
    with expect_error(UsageError, str(tmp_path / "cnnkit.toml")):
        data_folder()
    assert cli("datasets").exit_code == 2

"""A package with networks of its own, installed by pip, whose names work like those of cnnkit."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "example_package"
Process = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment in which the package is installed."""
    folder = tmp_path_factory.mktemp("example")
    # What setuptools leaves behind belongs into no checkout.
    source = shutil.copytree(PACKAGE, folder / "source", ignore=shutil.ignore_patterns("__pycache__"))
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, "--target", str(folder / "site"), str(source)],
        check=True,
        timeout=300,
    )
    paths = [str(folder / "site"), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(paths)}


def test_its_network_is_listed_and_summarised(installed: dict[str, str], process: Process) -> None:
    listed = json.loads(process("models", "--json", env=installed).stdout)["data"]
    assert [model["parameters"] for model in listed if model["name"] == "acme-net"] == [354]
    found = json.loads(process("summary", "acme-net", "--json", env=installed).stdout)["data"]
    assert (found["parameters"], found["input_shapes"]) == (354, [[3, 12, 10]])
    assert [row["kind"] for row in found["layers"]] == ["Conv2d", "ReLU", "MaxPool2d", "Flatten", "Linear"]


def test_its_network_is_trained_by_its_recipe(
    installed: dict[str, str], process: Process, photos: Path, tmp_path: Path
) -> None:
    trained = process("train", "acme-net", "--data", photos, "--epochs", 1, "--json", cwd=tmp_path, env=installed)
    assert trained.returncode == 0, trained.stderr
    run = tmp_path / "runs" / "acme-net-photos-1"
    assert (run / "best.safetensors").is_file()
    told = process("summary", run, env=installed)
    assert "354 parameters are trainable" in told.stdout

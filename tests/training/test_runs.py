"""Run folders get names that are free, readable and safe."""

import platform
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

import cnnkit
from cnnkit.errors import OutputError
from cnnkit.training.runs import new_run_folder, versions


def test_runs_are_numbered_from_one(tmp_path: Path) -> None:
    names = [new_run_folder(tmp_path, "lenet", "mnist").name for _ in range(3)]
    assert names == ["lenet-mnist-1", "lenet-mnist-2", "lenet-mnist-3"]
    assert new_run_folder(tmp_path, "mlp", "mnist").name == "mlp-mnist-1"


def test_a_number_is_never_used_again(tmp_path: Path) -> None:
    for number in (2, 10):
        (tmp_path / f"lenet-mnist-{number}").mkdir()
    assert new_run_folder(tmp_path, "lenet", "mnist").name == "lenet-mnist-11"


@pytest.mark.parametrize("name", ["lenet-mnist-x", "lenet-mnist-7-old", "old-lenet-mnist-8"])
def test_other_folders_do_not_count(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    assert new_run_folder(tmp_path, "lenet", "mnist").name == "lenet-mnist-1"


def test_a_file_of_that_name_is_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "lenet-mnist-1").write_text("")
    assert new_run_folder(tmp_path, "lenet", "mnist").name == "lenet-mnist-2"


@pytest.mark.parametrize(
    ("model", "data", "expected"),
    [
        ("torchvision/resnet18", "photos", "torchvision-resnet18-photos-1"),
        ("my.nets:Net", "my photos (2)", "my.nets-Net-my-photos-2-1"),
        ("../../etc", "..", "etc--1"),
    ],
)
def test_names_are_made_safe(model: str, data: str, expected: str, tmp_path: Path) -> None:
    folder = new_run_folder(tmp_path, model, data)
    assert folder == tmp_path / expected
    assert folder.is_dir()


def test_runs_that_begin_at_once_get_folders_of_their_own(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        folders = list(pool.map(lambda _: new_run_folder(tmp_path, "lenet", "mnist"), range(40)))
    assert len(set(folders)) == 40


def test_a_folder_that_cannot_be_made_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(OutputError, match=r"cannot create .*lenet-mnist-1"):
        new_run_folder(tmp_path / "runs", "lenet", "mnist")


def test_versions_are_those_that_run() -> None:
    found = versions()
    assert found["python"] == platform.python_version()
    assert found["cnnkit"] == cnnkit.__version__
    assert torch.__version__.startswith(found["torch"])
    assert set(found) == {"python", "cnnkit", "torch", "torchvision"}

"""Run folders get names that are free, readable and safe."""

import platform
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

import cnnkit
from cnnkit.errors import CheckpointError, OutputError, UsageError
from cnnkit.recipe import Recipe
from cnnkit.training import runs
from cnnkit.training.results import EpochRecord
from cnnkit.training.runs import read_metrics, recipe_of, versions, write_metrics
from tests.expecting import expect_error

RECIPE = Recipe(model="lenet", epochs=7)


@pytest.fixture(autouse=True)
def no_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever started the tests, it was not torchrun."""
    for name in ("TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT", "RANK", runs.LAUNCH):
        monkeypatch.delenv(name, raising=False)


def new_run_folder(folder: Path, model: str, data: str) -> Path:
    mark = runs.launch_mark()
    return runs.new_run_folder(folder, model, data, RECIPE, [mark, "another machine of the same start"] if mark else [])


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
        ("../../etc", "..", "etc-1"),
        ("lenet", "猫と犬", "lenet-猫と犬-1"),
        ("lenet", "\u00e9t\u00e9" * 99, f"lenet-{'été' * 20}-1"),
    ],
)
def test_names_are_made_safe(model: str, data: str, expected: str, tmp_path: Path) -> None:
    folder = new_run_folder(tmp_path, model, data)
    assert folder == tmp_path / expected
    assert folder.is_dir()


def test_a_run_folder_appears_with_its_recipe_and_nothing_else(tmp_path: Path) -> None:
    folder = new_run_folder(tmp_path / "new" / "runs", "lenet", "mnist")
    assert [path.name for path in folder.iterdir()] == ["run.toml"]
    assert recipe_of(folder) == RECIPE
    assert [path.name for path in folder.parent.iterdir()] == ["lenet-mnist-1"]


def test_runs_that_begin_at_once_get_folders_of_their_own(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        folders = list(pool.map(lambda _: new_run_folder(tmp_path, "lenet", "mnist"), range(40)))
    assert len(set(folders)) == 40
    assert set(tmp_path.iterdir()) == set(folders), "no temporary is left"
    assert all(recipe_of(folder) == RECIPE for folder in folders)


def test_a_folder_that_cannot_be_made_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with expect_error(OutputError, "runs"):
        new_run_folder(tmp_path / "runs", "lenet", "mnist")
    assert (tmp_path / "runs").read_text() == "a file"


@pytest.mark.parametrize("given", ["nowhere", "empty", "file"])
def test_what_is_no_run_folder_is_refused(given: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    with expect_error(UsageError, given, "run.toml"):
        recipe_of(tmp_path / given)


def test_a_slip_in_the_name_of_a_run_is_answered_with_the_run(tmp_path: Path) -> None:
    run = new_run_folder(tmp_path, "lenet", "mnist")
    with expect_error(UsageError, run.name):
        recipe_of(tmp_path / "lenet-mnst-1")


def test_metrics_are_a_line_for_each_epoch_and_replace_the_older_ones(tmp_path: Path) -> None:
    first = EpochRecord(1, 0.5, 0.25, 0.75, 0.125, 0.001, 2.5, 1e4, True)
    for records in ([first], [first, EpochRecord(2, 0.1 + 0.2, 1.0, 1e-9, 1.0, 5e-324, 3, 2, False, True)]):
        write_metrics(tmp_path / "metrics.csv", records)
    assert (tmp_path / "metrics.csv").read_bytes().decode() == (
        "epoch,train_loss,train_accuracy,validation_loss,validation_accuracy,learning_rate,seconds,images_per_second,"
        "is_best,dry_run,train_images\n"
        "1,0.5,0.25,0.75,0.125,0.001,2.5,10000.0,True,False,0\n"
        "2,0.30000000000000004,1.0,1e-09,1.0,5e-324,3,2,False,True,0\n"
    )
    assert list(read_metrics(tmp_path)) == records


@pytest.mark.parametrize("text", [None, "epoch,train_loss\n1,0.5\n", "epoch\nmany\n"])
def test_epochs_that_cannot_be_read_are_an_error(text: str | None, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "metrics.csv").write_text(text)
    with expect_error(CheckpointError):
        read_metrics(tmp_path)


def test_without_torchrun_nothing_is_noted_and_nothing_is_a_restart(tmp_path: Path) -> None:
    runs.mark_launch(tmp_path, [runs.launch_mark()])
    assert list(tmp_path.iterdir()) == []
    assert not runs.is_restart()
    assert runs.run_of_this_launch(tmp_path, None) is None


def test_a_restart_under_torchrun_finds_the_folder_of_its_launch_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(runs.LAUNCH, "another")
    another = new_run_folder(tmp_path, "lenet", "mnist")
    monkeypatch.setenv(runs.LAUNCH, "mine")
    assert runs.run_of_this_launch(tmp_path, None) is None
    mine = new_run_folder(tmp_path, "lenet", "mnist")
    new_run_folder(tmp_path, "mlp", "mnist").joinpath(".launch").unlink()
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert not runs.is_restart(), "only the first of the group looks for what it had begun"
    monkeypatch.setenv("RANK", "0")
    assert runs.is_restart()
    assert runs.run_of_this_launch(tmp_path, None) == mine
    # A resumed run is looked for where it is, and only there.
    assert runs.run_of_this_launch(tmp_path, mine) == mine
    assert runs.run_of_this_launch(tmp_path, another) is None
    runs.unmark_launch(mine)
    assert runs.run_of_this_launch(tmp_path, None) is None
    runs.unmark_launch(mine)  # it may be called twice


def test_launches_without_a_name_are_told_apart_by_who_started_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    code = "from cnnkit.training.runs import launch_mark; print(launch_mark())"
    children = [subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout for _ in range(2)]
    assert children[0] == children[1] != f"{runs.launch_mark()}\n".encode()


def test_versions_are_those_that_run() -> None:
    found = versions()
    assert found["python"] == platform.python_version()
    assert found["cnnkit"] == cnnkit.__version__
    assert torch.__version__.startswith(found["torch"])
    assert set(found) == {"python", "cnnkit", "torch", "torchvision", "pillow"}

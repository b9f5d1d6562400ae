"""Files of an image folder that cannot be decoded: all of them are named, and they are left out where that is asked."""

import csv
import os
import sys
from pathlib import Path

import pytest

import cnnkit
from cnnkit.data import loaded as data_module
from cnnkit.data.loaded import ImageData
from cnnkit.data.results import DamagedFiles
from cnnkit.errors import DamagedFilesError, DataError
from cnnkit.operation import result_of
from cnnkit.progress import LoadProgress, Notice
from cnnkit.recipe import Recipe
from cnnkit.training.loop import train_events
from cnnkit.training.results import TrainingEvent, TrainingFinished
from cnnkit.training.runs import recipe_of
from tests.expecting import expect_error

FORM = (3, 10, 12)
DAMAGED = ("dark/01.png", "dark/05.png", "light/02.png", "light/03.png")


@pytest.fixture
def spoiled(own_photos: Path) -> Path:
    """20 photos of which four are damaged in different ways."""
    (own_photos / "dark" / "01.png").write_text("not an image")
    (own_photos / "dark" / "05.png").write_bytes(b"")
    for name in ("02", "03"):
        path = own_photos / "light" / f"{name}.png"
        path.write_bytes(path.read_bytes()[: 100 + int(name)])
    return own_photos


def load(folder: Path, **recipe: object) -> ImageData:
    return result_of(data_module.load(Recipe(data=str(folder), **recipe).data_options(), FORM))


def refused(folder: Path) -> DamagedFilesError:
    with pytest.raises(DamagedFilesError) as caught:
        load(folder)
    return caught.value


def rows(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        return list(csv.reader(file))


def train(runs: Path, folder: Path, **recipe: object) -> list[TrainingEvent]:
    fields = {"model": "softmax-regression", "data": str(folder), "epochs": 1, "batch_size": 4, **recipe}
    return list(train_events(Recipe(**fields), runs_dir=runs, device="cpu"))


def test_damaged_files_stop_a_load_and_all_of_them_are_named(spoiled: Path, user_cache: Path) -> None:
    error = refused(spoiled)
    assert error.code == "damaged-files"
    found = error.result
    assert isinstance(found, DamagedFiles)
    assert (found.folder, found.total, tuple(found.files)) == (str(spoiled), 20, DAMAGED)
    assert all(str(spoiled / name) in problem for name, problem in found.files.items())
    (listed,) = (user_cache / "damaged").glob("photos-*.csv")
    assert found.listed_in == str(listed)
    assert rows(listed) == [["file", "problem"], *([name, problem] for name, problem in found.files.items())]
    message = str(error)
    assert message.startswith(f"4 of 20 files of {spoiled} cannot be decoded: ")
    assert [str(spoiled / name) in message for name in DAMAGED] == [True, True, True, False]
    assert f"(all of them are listed in {listed})" in message
    assert message.endswith("Repair or remove them, or leave them out with --skip-damaged.")


def test_a_list_that_cannot_be_written_is_not_promised(spoiled: Path, user_cache: Path) -> None:
    user_cache.mkdir(parents=True)
    (user_cache / "damaged").write_text("a file, where a folder should be")
    error = refused(spoiled)
    assert isinstance(error.result, DamagedFiles)
    assert error.result.listed_in == ""
    assert tuple(error.result.files) == DAMAGED
    assert "listed in" not in str(error)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems want names that are text")
def test_a_damaged_file_may_have_a_name_that_is_not_text(own_photos: Path, user_cache: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    (own_photos / "dark" / name).write_bytes(b"no image")
    error = refused(own_photos)
    assert isinstance(error.result, DamagedFiles)
    assert list(error.result.files) == [f"dark/{name}"]
    assert rows(next((user_cache / "damaged").glob("photos-*.csv")))[1][0] == f"dark/{name}"


def test_damaged_files_are_left_out_and_the_rest_is_split_as_if_they_were_not_there(spoiled: Path) -> None:
    loaded = load(spoiled, skip_damaged=True)
    names = {name for part in ("train", "validation", "test") for name in loaded.catalogue.names(part)}
    assert len(names) == 16
    assert names.isdisjoint(DAMAGED)
    (warning,) = (text for text in loaded.warnings if "cannot be decoded" in text)
    assert warning.startswith(f"4 of 20 files of {spoiled} cannot be decoded: ")
    assert warning.endswith("; they are left out")
    for name in DAMAGED:
        (spoiled / name).unlink()
    without = load(spoiled)
    assert without.catalogue.record == loaded.catalogue.record
    for part in ("train", "validation", "test"):
        assert without.catalogue.names(part) == loaded.catalogue.names(part)
    assert without.warnings == ()


def test_a_second_load_decodes_nothing_again(spoiled: Path) -> None:
    first = refused(spoiled)
    steps = data_module.load(Recipe(data=str(spoiled)).data_options(), FORM)
    with pytest.raises(DamagedFilesError) as caught:
        assert not [step for step in steps if isinstance(step, LoadProgress)]
    assert caught.value.result == first.result
    left_out = Recipe(data=str(spoiled), skip_damaged=True)
    assert not [step for step in data_module.load(left_out.data_options(), FORM) if isinstance(step, LoadProgress)]


def test_a_run_lists_the_files_that_it_left_out(spoiled: Path, tmp_path: Path) -> None:
    with pytest.raises(DamagedFilesError):
        train(tmp_path / "runs", spoiled)
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").iterdir())
    events = train(tmp_path / "runs", spoiled, skip_damaged=True)
    finished = events[-1]
    assert isinstance(finished, TrainingFinished)
    assert [row[0] for row in rows(finished.run / "damaged.csv")] == ["file", *DAMAGED]
    assert any(isinstance(event, Notice) and event.warning and "they are left out" in event.text for event in events)
    assert len(rows(finished.run / "split.csv")) == 1 + 16
    # The run and its card know that they are left out.
    assert recipe_of(finished.run).skip_damaged
    found = cnnkit.evaluate(finished.run)
    assert (found.split, found.images) == ("test", 4)
    assert any("they are left out" in warning for warning in found.warnings)


@pytest.mark.parametrize(("spoiled", "named"), [(["dark"], "dark"), (["dark", "light"], "dark and light")])
def test_a_class_of_which_every_file_is_damaged_is_not_trained_on(
    spoiled: list[str], named: str, own_photos: Path, tmp_path: Path
) -> None:
    for label in spoiled:
        for path in (own_photos / label).iterdir():
            path.write_bytes(b"no image")
    with expect_error(DataError, "photos", named):
        train(tmp_path / "runs", own_photos, skip_damaged=True)
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").iterdir())


def test_a_run_without_damaged_files_has_no_list_of_them(photos: Path, tmp_path: Path) -> None:
    finished = train(tmp_path, photos, skip_damaged=True)[-1]
    assert isinstance(finished, TrainingFinished)
    assert not (finished.run / "damaged.csv").exists()


def test_a_network_is_measured_without_damaged_files_where_that_is_asked(photos_run: Path, spoiled: Path) -> None:
    with pytest.raises(DamagedFilesError):
        cnnkit.evaluate(photos_run, data=str(spoiled), split="all")
    found = cnnkit.evaluate(photos_run, data=str(spoiled), split="all", skip_damaged=True)
    assert found.images == 16
    assert any("they are left out" in warning for warning in found.warnings)

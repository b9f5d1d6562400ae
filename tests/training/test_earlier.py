"""Files that version 0.1 wrote: they open, mean what they meant, and its runs go on."""

import shutil
import tomllib
from pathlib import Path

import pytest
import tomli_w

import cnnkit
from cnnkit.data.options import Choice
from cnnkit.data.results import Exposure
from cnnkit.errors import DataError
from cnnkit.evaluation.images import catalogue_for
from cnnkit.models.networks import read_checkpoint
from cnnkit.operation import result_of
from cnnkit.progress import Notice
from cnnkit.training.loop import train_events
from cnnkit.training.results import TrainingFinished
from cnnkit.training.runs import read_metrics, recipe_of
from cnnkit.training.state import read_state, write_state
from tests.expecting import expect_error

FILES = Path(__file__).parents[1] / "data" / "version_0_1"
PHOTOS, RUN, SHAPES = FILES / "photos", FILES / "photos-run", FILES / "shapes-run"

TRAIN = {f"{label}/{n}.png" for label, numbers in (("dark", "1234"), ("light", "1256")) for n in numbers}
VALIDATION = {"dark/5.png", "dark/6.png", "light/7.png", "light/0.png"}
TEST = {"dark/0.png", "dark/7.png", "light/4.png", "light/3.png"}
"""The splits of that run, as that version made them."""


@pytest.mark.parametrize("file", ["", "best.safetensors", "model.onnx"])
@pytest.mark.parametrize(
    ("split", "loss", "exposure"),
    [
        (None, 0.5820, Exposure(True, 0, 0, "none", exact=False)),
        ("test", 0.5820, Exposure(True, 0, 0, "none", exact=False)),
        ("validation", 0.56557, Exposure(True, 0, 4, "none", exact=False)),
    ],
)
def test_a_run_and_its_exported_file_score_what_they_scored(
    split: str | None, loss: float, exposure: Exposure, file: str
) -> None:
    found = cnnkit.evaluate(RUN / file, data=str(PHOTOS), split=split)
    assert (found.split, found.images) == (split or "test", 4)
    assert found.loss == pytest.approx(loss, abs=1e-3)
    assert found.exposure == exposure


def test_the_images_are_found_in_the_data_folder() -> None:
    found = cnnkit.evaluate(RUN, data_dir=FILES)
    assert (found.data, found.split, found.images) == ("photos", "test", 4)
    assert found.loss == pytest.approx(0.5820, abs=1e-3)


def test_the_split_is_that_of_the_training() -> None:
    card = read_checkpoint(RUN / "best.safetensors", "best")[1]
    assert (card.split, card.pretraining) == (None, None)
    assert card.split_settings == {
        "split_by": "path",
        "split_seed": 3,
        "validation_fraction": 0.25,
        "test_fraction": 0.25,
    }
    known = result_of(catalogue_for(card, Choice(str(PHOTOS))))
    assert set(known.names("train")) == TRAIN
    assert set(known.names("validation")) == VALIDATION
    assert set(known.names("test")) == TEST
    assert (known.record.by, known.record.seed) == ("path", 3)


def test_images_that_were_added_since_do_not_make_it_the_data_of_the_training(tmp_path: Path) -> None:
    photos = Path(shutil.copytree(PHOTOS, tmp_path / "photos"))
    shutil.copy(photos / "dark" / "0.png", photos / "dark" / "8.png")
    found = cnnkit.evaluate(RUN, data=str(photos))
    assert (found.split, found.exposure.known) == ("test", False)


def test_the_epochs_and_the_recipe_of_a_run_can_be_read() -> None:
    first, second = read_metrics(RUN)
    assert (first.epoch, second.epoch, second.is_best, second.dry_run) == (1, 2, True, False)
    assert second.validation_loss == 0.5655508041381836
    recipe = recipe_of(RUN)
    assert (recipe.split_by, recipe.split_seed, recipe.seed) == ("path", 3, 3)
    assert (recipe.fit, recipe.skip_damaged, recipe.allow_overlap) == ("auto", False, False)


@pytest.mark.slow
def test_a_run_on_a_data_set_scores_what_it_scored() -> None:
    found = cnnkit.evaluate(SHAPES, split="validation")
    assert (found.images, found.exposure) == (360, Exposure(True, 0, 360, "none", exact=False))
    assert found.loss == pytest.approx(24.0094, abs=1e-3)
    found = cnnkit.evaluate(SHAPES)
    assert (found.split, found.images, found.exposure) == ("test", 300, Exposure(True, 0, 0, "none", exact=False))


def moved(tmp_path: Path) -> tuple[Path, Path]:
    """Copy the run and its images, and let the run name these; return both folders."""
    photos = Path(shutil.copytree(PHOTOS, tmp_path / "photos"))
    run = Path(shutil.copytree(RUN, tmp_path / "runs" / "photos-run"))
    fields = tomllib.loads((run / "run.toml").read_text("utf-8"))
    fields["recipe"]["data"] = str(photos)
    (run / "run.toml").write_text(tomli_w.dumps(fields), "utf-8")
    state = read_state(run)
    assert state is not None
    tensors, facts = state
    facts["recipe"]["data"] = str(photos)
    write_state(run, tensors, facts)
    return run, photos


def test_a_run_goes_on(tmp_path: Path) -> None:
    run, photos = moved(tmp_path)
    recipe = recipe_of(run).override({"epochs": 4})
    events = list(train_events(recipe, runs_dir=run.parent, device="cpu", resume=run))
    finished = events[-1]
    assert isinstance(finished, TrainingFinished)
    assert (finished.run, finished.test_images, finished.validation_images) == (run, 4, 4)
    records = read_metrics(run)
    assert [record.epoch for record in records] == [1, 2, 3, 4]
    assert records[:2] == read_metrics(RUN)
    assert records[3].validation_loss == pytest.approx(0.5636, abs=1e-3)
    assert [event.text for event in events if isinstance(event, Notice) and event.warning] == []
    # From here on, it is a run of this version, with the split that it began with.
    card = read_checkpoint(run / "best.safetensors", "best")[1]
    assert card.split is not None
    assert (card.split.by, card.split.seed, card.pretraining) == ("path", 3, None)
    assert recipe_of(run).split_by == "path"
    found = cnnkit.evaluate(run, data=str(photos))
    assert (found.split, found.images) == ("test", 4)
    assert found.exposure == Exposure(True, 0, 0, "none")
    known = result_of(catalogue_for(card, Choice(str(photos))))
    assert set(known.names("test")) == TEST
    again = recipe_of(run).override({"epochs": 5})
    *_, finished = train_events(again, runs_dir=run.parent, device="cpu", resume=run)
    assert isinstance(finished, TrainingFinished)
    assert len(read_metrics(run)) == 5


def replace_content(photos: Path) -> None:
    shutil.copy(photos / "dark" / "1.png", photos / "dark" / "2.png")


def add(photos: Path) -> None:
    shutil.copy(photos / "dark" / "1.png", photos / "dark" / "9.png")


def remove(photos: Path) -> None:
    (photos / "dark" / "1.png").unlink()


@pytest.mark.parametrize("change", [replace_content, add, remove])
def test_a_run_does_not_go_on_with_other_images(change: object, tmp_path: Path) -> None:
    run, photos = moved(tmp_path)
    change(photos)  # type: ignore[operator]
    recipe = recipe_of(run).override({"epochs": 4})
    with expect_error(DataError, "photos"):
        list(train_events(recipe, runs_dir=run.parent, device="cpu", resume=run))
    assert len(read_metrics(run)) == 2


def test_a_state_of_other_images_is_refused(tmp_path: Path) -> None:
    run, _ = moved(tmp_path)
    state = read_state(run)
    assert state is not None
    tensors, facts = state
    write_state(run, tensors, {**facts, "content": "0" * 64})
    with expect_error(DataError, "photos"):
        list(train_events(recipe_of(run), runs_dir=run.parent, device="cpu", resume=run))


def test_weights_of_that_version_are_started_from_with_their_split(tmp_path: Path) -> None:
    recipe = cnnkit.default_recipe("softmax-regression", data=str(PHOTOS), weights=str(RUN), epochs=1)
    assert (recipe.split_by, recipe.split_seed, recipe.test_fraction) == ("path", 3, 0.25)
    events = list(train_events(recipe, runs_dir=tmp_path, device="cpu"))
    assert [event.text for event in events if isinstance(event, Notice) and event.warning] == []
    finished = events[-1]
    assert isinstance(finished, TrainingFinished)
    card = read_checkpoint(finished.checkpoint, "best")[1]
    assert card.pretraining is not None
    assert (card.pretraining.known, card.pretraining.overlap) == (False, {}), "names and sizes prove nothing"
    # Its split by paths means nothing to other images.
    recipe = cnnkit.default_recipe("softmax-regression", data=str(tmp_path / "others"), weights=str(RUN))
    assert (recipe.split_by, recipe.split_seed, recipe.test_fraction) == ("content", 0, 0.2)

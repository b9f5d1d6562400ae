"""Starting from weights that may have seen the images held out here: who knows of it, who refuses, and who says so."""

import csv
import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import cnnkit
from cnnkit.card import ModelCard
from cnnkit.data.results import Pretraining
from cnnkit.data.splits import digest_of_pairs
from cnnkit.errors import OverlapError
from cnnkit.models.networks import read_checkpoint
from cnnkit.progress import Notice
from cnnkit.recipe import Recipe
from cnnkit.training.loop import train_events
from cnnkit.training.results import TrainingEvent, TrainingFinished
from cnnkit.training.runs import recipe_of

FAST: dict[str, Any] = {"model": "softmax-regression", "epochs": 1, "batch_size": 8, "learning_rate": 0.001}
OTHER_SEED = 5


def events_of(runs: Path, **fields: Any) -> list[TrainingEvent]:
    recipe = fields.pop("recipe", None) or Recipe(**{**FAST, **fields})
    return list(train_events(recipe, runs_dir=runs, device="cpu"))


def run_of(events: list[TrainingEvent]) -> Path:
    assert isinstance(events[-1], TrainingFinished)
    return events[-1].run


def card_of(run: Path) -> ModelCard:
    return read_checkpoint(run / "best.safetensors", "best")[1]


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "split.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def listed(run: Path, *parts: str) -> set[str]:
    """Return the names of the images of some splits of a run."""
    return {row["image"] for row in rows(run) if row["split"] in parts}


def warnings_of(events: list[TrainingEvent]) -> list[str]:
    return [event.text for event in events if isinstance(event, Notice) and event.warning]


def draw(folder: Path, seed: int, each: int = 8) -> Path:
    """Draw images that no other seed gives."""
    rng = np.random.default_rng(seed)
    for label, level in (("dark", 50), ("light", 205)):
        (folder / label).mkdir(parents=True)
        for index in range(each):
            pixels = rng.normal(level, 20, (10, 12, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{index}.png")
    return folder


@pytest.fixture(scope="module")
def first(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on `photos` with the split seed 0."""
    return run_of(events_of(tmp_path_factory.mktemp("first"), data=str(photos)))


def refused(runs: Path, weights: Path, data: object, **fields: Any) -> dict[str, list[str]]:
    """Return which images a refusal names, having made sure that nothing is left of the run."""
    with pytest.raises(OverlapError) as caught:
        events_of(runs, data=str(data), weights=str(weights), **fields)
    assert caught.value.code == "overlap"
    assert not runs.exists() or list(runs.iterdir()) == []
    found = caught.value.result
    assert isinstance(found, dict)
    message = str(caught.value)
    assert message.startswith(f"{weights} was trained on ")
    assert "--allow-overlap" in message
    for part in ("validation", "test"):
        names = found[part]
        assert (f" {part} image" in message) == bool(names)
        assert all(name in message for name in names[:3])
    return found


# The list of a run.


def test_a_run_lists_the_content_split_class_and_name_of_every_image(first: Path, photos: Path) -> None:
    found = rows(first)
    assert len(found) == 20
    assert sorted(row["image"] for row in found) == sorted(
        p.relative_to(photos).as_posix() for p in photos.rglob("*.png")
    )
    for row in found:
        assert row["class"] == row["image"].partition("/")[0]
        assert row["sha256"] == hashlib.sha256((photos / row["image"]).read_bytes()).hexdigest()
    card = card_of(first)
    assert card.split is not None
    assert card.split.digest == digest_of_pairs((row["sha256"], row["split"]) for row in found)
    assert card.split.images == {part: len(listed(first, part)) for part in ("train", "validation", "test")}
    assert card.pretraining is None


# Overlap.


def test_another_split_than_that_of_the_weights_is_refused_and_no_run_folder_is_left(
    first: Path, photos: Path, tmp_path: Path
) -> None:
    found = refused(tmp_path / "runs", first, photos, split_seed=OTHER_SEED)
    # What would have been held out is what a run without weights holds out.
    other = run_of(events_of(tmp_path / "other", data=str(photos), split_seed=OTHER_SEED))
    assert set(found["validation"]) == listed(other, "validation") & listed(first, "train")
    # What chose the best epoch of the weights is no fair test.
    assert set(found["test"]) == listed(other, "test") & listed(first, "train", "validation")
    assert found["validation"]
    assert found["test"]


def test_overlap_that_is_allowed_is_told_and_noted_in_the_card(first: Path, photos: Path, tmp_path: Path) -> None:
    found = refused(tmp_path / "runs", first, photos, split_seed=OTHER_SEED)
    events = events_of(tmp_path, data=str(photos), weights=str(first), split_seed=OTHER_SEED, allow_overlap=True)
    card = card_of(run_of(events))
    counts = {part: len(names) for part, names in found.items()}
    assert card.pretraining == Pretraining(str(first), card_of(first).weights_sha256, True, counts)
    assert card.recipe is not None
    assert card.recipe["allow_overlap"]
    (warning,) = warnings_of(events)
    assert warning == (
        f"{first} has seen {counts['validation']} validation images and {counts['test']} test images, so that results "
        "look better than they are"
    )


def test_the_split_of_the_weights_goes_on(first: Path, photos: Path, tmp_path: Path) -> None:
    events = events_of(tmp_path, data=str(photos), weights=str(first))
    run = run_of(events)
    assert warnings_of(events) == []
    assert Notice(f"the split is that of {first}: by content, split seed 0") in events
    assert card_of(run).split == card_of(first).split
    assert card_of(run).pretraining == Pretraining(str(first), card_of(first).weights_sha256, True, {})


def test_a_recipe_takes_over_the_split_of_its_weights(photos: Path, tmp_path: Path) -> None:
    split = {"split_seed": 7, "validation_fraction": 0.3, "test_fraction": 0.3}
    first = run_of(events_of(tmp_path / "first", data=str(photos), **split))
    recipe = cnnkit.default_recipe("softmax-regression", data=str(photos), weights=str(first), epochs=1, batch_size=8)
    assert {name: getattr(recipe, name) for name in split} == split
    assert (recipe.split_by, recipe.seed) == ("content", 0)
    events = events_of(tmp_path / "second", recipe=recipe)
    assert warnings_of(events) == []
    assert card_of(run_of(events)).split == card_of(first).split
    # What a user says of the split counts.
    own = cnnkit.default_recipe(
        "softmax-regression", data=str(photos), weights=str(first), split_seed=1, validation_fraction=None
    )
    assert (own.split_seed, own.validation_fraction) == (1, 0.3)
    # The same through a file, and without weights there is nothing to take over.
    of_file = cnnkit.default_recipe("softmax-regression", data=str(photos), weights=str(first / "best.safetensors"))
    assert of_file.split_seed == 7
    assert cnnkit.default_recipe("softmax-regression", data=str(photos)).split_seed == 0


def test_weights_that_were_copied_away_are_recognised_by_their_data(first: Path, photos: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copy(first / "best.safetensors", tmp_path / "copied.safetensors"))
    with_list = refused(tmp_path / "runs", first, photos, split_seed=OTHER_SEED)
    assert refused(tmp_path / "runs", copied, photos, split_seed=OTHER_SEED) == with_list
    # The folder of this run may lie elsewhere, and have other names.
    moved = tmp_path / "moved"
    for path in photos.rglob("*.png"):
        (moved / path.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, moved / path.parent.name / f"other-{path.name}")
    found = refused(tmp_path / "runs", copied, moved, split_seed=OTHER_SEED)
    assert {part: len(names) for part, names in found.items()} == {part: len(n) for part, n in with_list.items()}


def test_weights_of_which_neither_list_nor_data_are_at_hand_may_have_seen_anything(tmp_path: Path) -> None:
    own = draw(tmp_path / "own", 1)
    first = run_of(events_of(tmp_path / "first", data=str(own)))
    (first / "split.csv").unlink()
    shutil.rmtree(own)
    events = events_of(tmp_path / "runs", data=str(draw(tmp_path / "other", 2)), weights=str(first))
    (warning,) = warnings_of(events)
    assert "pretraining data unknown" in warning
    card = card_of(run_of(events))
    assert card.pretraining == Pretraining(str(first), card_of(first).weights_sha256, False, {})
    found = cnnkit.evaluate(run_of(events))
    assert (found.exposure.known, found.exposure.pretraining, found.exposure.unseen) == (True, "unknown", False)
    assert f"pretraining data unknown: the weights of {first} may have seen these images" in found.warnings


def test_a_list_that_was_changed_is_not_believed(tmp_path: Path) -> None:
    own = draw(tmp_path / "own", 1)
    first = run_of(events_of(tmp_path / "first", data=str(own)))
    whole = (first / "split.csv").read_text("utf-8")
    (first / "split.csv").write_text(whole.replace(",train,", ",test,"), "utf-8", newline="")
    # The data says it.
    assert refused(tmp_path / "runs", first, own, split_seed=OTHER_SEED)["test"]
    elsewhere = Path(shutil.move(own, tmp_path / "elsewhere"))
    assert refused(tmp_path / "runs", first, elsewhere, split_seed=OTHER_SEED)["test"]
    next(elsewhere.rglob("*.png")).unlink()
    events = events_of(tmp_path / "runs", data=str(elsewhere), weights=str(first), split_seed=OTHER_SEED)
    assert "pretraining data unknown" in warnings_of(events)[0]


def test_a_third_run_knows_the_images_of_the_first(first: Path, photos: Path, tmp_path: Path) -> None:
    others = draw(tmp_path / "others", 1)
    events = events_of(tmp_path / "second", data=str(others), weights=str(first))
    assert warnings_of(events) == []
    second = run_of(events)
    pretraining = [row for row in rows(second) if row["split"] == "pretraining"]
    assert {row["sha256"] for row in pretraining} == {row["sha256"] for row in rows(first) if row["split"] == "train"}
    assert {(row["class"], row["image"]) for row in pretraining} == {("", "")}
    # The digest is that of its own images.
    card = card_of(second)
    assert card.split is not None
    assert card.split.digest == digest_of_pairs(
        (row["sha256"], row["split"]) for row in rows(second) if not row["split"].startswith("pretraining")
    )
    assert cnnkit.evaluate(second).exposure.unseen
    found = refused(tmp_path / "third", second, photos, split_seed=OTHER_SEED)
    other = run_of(events_of(tmp_path / "other", data=str(photos), split_seed=OTHER_SEED))
    for part in ("validation", "test"):
        seen = listed(first, "train", *(["validation"] if part == "test" else []))
        assert set(found[part]) == listed(other, part) & seen
    # And the second one on images of the first one counts them.
    exposure = cnnkit.evaluate(second, data=str(photos), split="all").exposure
    seen = len(listed(first, "train")), len(listed(first, "validation"))
    assert (exposure.known, exposure.trained, exposure.validated) == (True, *seen)


def test_without_its_list_a_second_run_does_not_know_the_images_of_the_first(
    first: Path, photos: Path, tmp_path: Path
) -> None:
    second = run_of(events_of(tmp_path / "second", data=str(photos), weights=str(first)))
    copied = Path(shutil.copy(second / "best.safetensors", tmp_path / "copied.safetensors"))
    found = cnnkit.evaluate(copied)
    assert (found.exposure.known, found.exposure.pretraining, found.exposure.unseen) == (True, "unknown", False)
    assert cnnkit.evaluate(second).exposure.unseen


def test_a_run_that_goes_on_keeps_what_its_weights_were(first: Path, photos: Path, tmp_path: Path) -> None:
    run = run_of(events_of(tmp_path, data=str(photos), weights=str(first), split_seed=OTHER_SEED, allow_overlap=True))
    before, listing = card_of(run), (run / "split.csv").read_bytes()
    recipe = recipe_of(run).override({"epochs": 3})
    *_, finished = train_events(recipe, runs_dir=tmp_path, device="cpu", resume=run)
    assert isinstance(finished, TrainingFinished)
    after = card_of(run)  # written again when the run ends, with its test accuracy
    assert after.recipe is not None
    assert after.recipe["epochs"] == 3
    assert (after.pretraining, after.split) == (before.pretraining, before.split)
    assert before.pretraining is not None
    assert before.pretraining.overlap
    assert (run / "split.csv").read_bytes() == listing


@pytest.mark.usefixtures("few_shapes")
def test_images_of_arrays_are_known_by_their_pixels(tiny_run: Path, tmp_path: Path) -> None:
    found = refused(tmp_path, tiny_run, "shapes", model="shapes-cnn", split_seed=OTHER_SEED)
    assert found["test"] == []  # these are given, and the same in every run
    other = run_of(events_of(tmp_path / "other", model="shapes-cnn", data="shapes", split_seed=OTHER_SEED))
    assert set(found["validation"]) == listed(other, "validation") & listed(tiny_run, "train")
    assert all(name.startswith("train[") for name in found["validation"])


def test_the_range_of_deep_images_is_kept_where_the_weights_knew_none(first: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for label, low in (("dark", 0), ("light", 2048)):
        (tmp_path / "deep" / label).mkdir(parents=True)
        for index in range(6):
            pixels = rng.integers(low, low + 2048, (10, 12), np.uint16)
            Image.fromarray(pixels).save(tmp_path / "deep" / label / f"{index}.png")
    run = run_of(events_of(tmp_path / "runs", data=str(tmp_path / "deep"), weights=str(first)))
    assert card_of(first).preprocessing.value_range is None
    assert card_of(run).preprocessing.value_range == (0, 4095)

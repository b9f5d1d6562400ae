"""Where networks are wrong, on images whose labels were made wrong."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import cnnkit
from cnnkit.card import ModelCard
from cnnkit.data.loaded import load
from cnnkit.data.shapes import draw_shapes
from cnnkit.errors import CheckpointError, DataError, UsageError
from cnnkit.evaluation.results import Mistakes
from cnnkit.images import Preprocessing, prepare
from cnnkit.models.networks import TorchNetwork, save_checkpoint
from cnnkit.operation import result_of
from cnnkit.recipe import Recipe
from cnnkit.sources import create_model, find
from tests.expecting import expect_error

FLIPPED = {"light/dark-00.png", "light/dark-01.png", "light/dark-02.png", "dark/light-03.png", "dark/light-04.png"}


@pytest.fixture(scope="module")
def flipped(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The images of `photos`, five of them in the folder of the other class."""
    folder = tmp_path_factory.mktemp("data") / "flipped"
    for file in photos.rglob("*.png"):
        label = file.parent.name
        name = f"{label}-{file.name}"
        other = {"dark": "light", "light": "dark"}[label]
        place = other if f"{other}/{name}" in FLIPPED else label
        (folder / place).mkdir(parents=True, exist_ok=True)
        shutil.copy(file, folder / place / name)
    return folder


@pytest.fixture(scope="module")
def found(photos_run: Path, flipped: Path) -> Mistakes:
    return cnnkit.find_mistakes(photos_run, data=str(flipped), split="all", device="cpu")


def test_flipped_labels_are_found(found: Mistakes) -> None:
    assert {candidate.source for candidate in found.mislabelled} == FLIPPED
    assert found.candidates == 5
    for candidate in found.mislabelled:
        assert candidate.label == candidate.source.split("/")[0]
        assert candidate.suggested == candidate.source.split("/")[1].split("-")[0]
        assert candidate.probability > candidate.label_probability


def test_the_surest_mistakes_come_first(found: Mistakes) -> None:
    assert (found.split, found.images, found.wrong, found.accuracy) == ("all", 20, 5, 0.75)
    assert {mistake.source for mistake in found.worst} == FLIPPED
    sure = [mistake.probability for mistake in found.worst]
    assert sure == sorted(sure, reverse=True)
    assert all(m.probability + m.label_probability == pytest.approx(1) for m in found.worst)
    assert all(m.label != m.predicted for m in found.worst)


def test_pairs_are_counted_in_each_direction(found: Mistakes) -> None:
    pairs = [(p.label, p.predicted, p.images, len(p.examples)) for p in found.confused]
    assert pairs == [("light", "dark", 3, 3), ("dark", "light", 2, 2)]
    assert [p.share for p in found.confused] == pytest.approx([3 / 11, 2 / 9])


def test_pixels_are_those_of_the_named_files(found: Mistakes, flipped: Path, photos: Path, photos_run: Path) -> None:
    form = cnnkit.load(photos_run).card.preprocessing
    for mistake in found.worst:
        assert mistake.nearest is not None
        assert mistake.nearest.source.startswith(mistake.nearest.label)
        for image, path in ((mistake, flipped / mistake.source), (mistake.nearest, photos / mistake.nearest.source)):
            np.testing.assert_array_equal(image.pixels, prepare(path, form).pixels)


def test_the_nearest_training_image_shows_what_the_label_should_be(found: Mistakes) -> None:
    assert found.training_images == 12
    assert found.nearest_by == "the input of the layer fc"
    assert [m.nearest.label for m in found.worst] == [m.predicted for m in found.worst]


def test_no_more_are_kept_than_asked_for(photos_run: Path, flipped: Path, found: Mistakes) -> None:
    fewer = cnnkit.find_mistakes(photos_run, data=str(flipped), split="all", top=2, device="cpu")
    assert [m.source for m in fewer.worst] == [m.source for m in found.worst[:2]]
    assert [m.source for m in fewer.mislabelled] == [m.source for m in found.mislabelled[:2]]
    assert (fewer.wrong, fewer.candidates) == (5, 5)


def test_the_size_of_the_batches_changes_nothing(photos_run: Path, flipped: Path, found: Mistakes) -> None:
    other = cnnkit.find_mistakes(photos_run, data=str(flipped), split="all", batch_size=3, device="cpu")
    assert [m.source for m in other.mislabelled] == [m.source for m in found.mislabelled]
    assert [m.nearest.source for m in other.worst] == [m.nearest.source for m in found.worst]


def test_an_onnx_file_finds_the_same_images(photos_onnx: Path, flipped: Path, found: Mistakes) -> None:
    file = cnnkit.find_mistakes(photos_onnx, data=str(flipped), split="all", device="cpu")
    assert {m.source for m in file.worst} == {m.source for m in found.worst}
    assert {m.source for m in file.mislabelled} == FLIPPED
    assert (file.nearest_by, file.training_images) == ("the logits", 12)
    assert file.engine.startswith("onnxruntime")


def test_a_network_without_mistakes_is_a_result(photos_run: Path) -> None:
    result = cnnkit.find_mistakes(photos_run, split="all", device="cpu")
    assert (result.wrong, result.worst, result.confused, result.accuracy) == (0, (), (), 1.0)
    assert result.no_nearest_because == ""


@pytest.mark.parametrize(("split", "seen"), [("train", True), ("validation", False), ("test", False), ("all", True)])
def test_whether_the_network_was_trained_on_them_is_said(split: str, seen: bool, photos_run: Path) -> None:
    assert cnnkit.find_mistakes(photos_run, split=split, device="cpu").seen == seen


def test_images_of_the_training_are_known_in_other_folders_and_under_other_names(
    found: Mistakes, photos_run: Path, flipped: Path
) -> None:
    assert (found.seen, found.exposure.trained, found.exposure.validated) == (True, 12, 4)
    fair = cnnkit.find_mistakes(photos_run, data=str(flipped), device="cpu")
    assert (fair.split, fair.images) == ("test", 4)
    assert fair.seen == (fair.exposure.trained > 0)


def test_another_folder_was_not_seen(photos_run: Path, tmp_path: Path) -> None:
    for label, level in (("dark", 60), ("light", 190)):
        (tmp_path / "others" / label).mkdir(parents=True)
        for index in range(3):
            Image.new("RGB", (12, 10), (level + index,) * 3).save(tmp_path / "others" / label / f"{index}.png")
    others = cnnkit.find_mistakes(photos_run, data=str(tmp_path / "others"), device="cpu")
    assert (others.split, others.images, others.seen) == ("all", 6, False)
    assert others.exposure.unseen


def test_a_training_image_is_not_its_own_neighbour(photos_run: Path, own_photos: Path) -> None:
    card = cnnkit.load(photos_run).card
    known = result_of(load(Recipe.recorded(card.recipe or {}).data_options(), card.preprocessing)).catalogue
    victim = next(name for name in known.names("train") if name.startswith("dark"))
    for level in range(195, 215):  # its content decides whether it is still a training image
        turn_light(own_photos / victim, level)
        recipe = Recipe.recorded({**(card.recipe or {}), "data": str(own_photos)})
        if victim in result_of(load(recipe.data_options(), card.preprocessing)).catalogue.names("train"):
            break
    result = cnnkit.find_mistakes(photos_run, data=str(own_photos), split="train", device="cpu")
    assert [m.source for m in result.worst] == [victim]
    assert result.worst[0].nearest is not None
    assert result.worst[0].nearest.label == "light"


def turn_light(path: Path, level: int) -> None:
    """Make an image another one that keeps its name and size in bytes, by which a folder is recognised."""
    with Image.open(path) as image:
        light = Image.new(image.mode, image.size, (level,) * 3)
    size = path.stat().st_size
    light.save(path)
    path.write_bytes(path.read_bytes().ljust(size, b"\0"))
    assert path.stat().st_size == size


def test_a_folder_that_was_moved_is_known_by_its_files(photos_run: Path, photos: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(photos, tmp_path / "elsewhere")
    broken = run_with(photos_run, tmp_path / "run", data=str(tmp_path / "gone"))
    classifier = cnnkit.load(broken)
    result = cnnkit.find_mistakes(cnnkit.Classifier(worse(classifier.network), "net"), data=str(moved), split="all")
    assert (result.wrong > 0, result.training_images) == (True, 12)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"data": "nowhere/at/all"}, "the images it was trained on are not at hand: there is no image folder"),
        ({"data": "nowhere"}, "the images it was trained on are not at hand: there is no image folder"),
    ],
)
def test_without_the_training_images_there_is_a_reason(
    change: dict[str, str], reason: str, photos_run: Path, flipped: Path, tmp_path: Path
) -> None:
    run = run_with(photos_run, tmp_path / "run", **change)
    result = cnnkit.find_mistakes(run, data=str(flipped), split="all", device="cpu")
    assert (result.training_images, result.nearest_by, result.worst[0].nearest) == (0, "", None)
    assert result.no_nearest_because.startswith(reason)
    assert not result.no_nearest_because.endswith(".")


def test_a_folder_that_was_changed_since_is_not_what_it_was_trained_on(
    photos_run: Path, own_photos: Path, flipped: Path, tmp_path: Path
) -> None:
    (own_photos / "dark" / "00.png").unlink()
    run = run_with(photos_run, tmp_path / "run", data=str(own_photos))
    result = cnnkit.find_mistakes(run, data=str(flipped), split="all", device="cpu")
    assert "photos was changed since" in result.no_nearest_because


def test_a_network_that_does_not_say_where_it_comes_from_has_no_nearest(photos_run: Path, flipped: Path) -> None:
    network = cnnkit.load(photos_run).network
    network.card = replace(network.card, recipe=None, fingerprint=None)
    result = cnnkit.find_mistakes(cnnkit.Classifier(network, "net"), data=str(flipped))
    assert result.no_nearest_because == "softmax-regression does not say what it was trained on"
    assert result.wrong == 5


def run_with(run: Path, target: Path, **recipe: Any) -> Path:
    """Copy a run, with other fields of the recipe in its card."""
    network, card = find(str(run)).weights()
    target.mkdir()
    save_checkpoint(target / "best.safetensors", network, replace(card, recipe={**card.recipe, **recipe}))
    return target


def worse(network: TorchNetwork) -> TorchNetwork:
    """Make a network take everything for the first class."""
    with torch.no_grad():
        network.module.fc.bias[0] += 1000
    return network


@pytest.mark.usefixtures("few_shapes")
def test_images_of_a_data_set_are_named_by_where_they_stand(tiny_run: Path) -> None:
    whole = cnnkit.find_mistakes(tiny_run, split="all", top=1000, device="cpu")
    train, test = draw_shapes(20, seed=0), draw_shapes(10, seed=1)
    assert whole.wrong > 0
    for mistake in whole.worst:
        part, number = mistake.source.rstrip("]").split("[")
        images, targets = {"train": train, "test": test}[part]
        np.testing.assert_array_equal(mistake.pixels, images[int(number)])
        assert mistake.label == ("circles", "squares", "triangles")[targets[int(number)]]
        assert mistake.nearest.source.startswith("train[")
        assert mistake.nearest.source != mistake.source


def test_scores_that_are_no_numbers_are_an_error(nets: None, flipped: Path) -> None:
    form = Preprocessing(3, 8, 8, (0.0,) * 3, (1.0,) * 3)
    network = TorchNetwork(create_model("tinynets:NotANumber", 2), ModelCard("n", ("dark", "light"), form), "cpu")
    with expect_error(CheckpointError, "finite"):
        cnnkit.find_mistakes(cnnkit.Classifier(network, "n"), data=str(flipped))


def test_images_without_labels_are_an_error(photos_run: Path, photos: Path) -> None:
    with expect_error(DataError, "class folders"):
        cnnkit.find_mistakes(photos_run, data=str(photos / "dark"))


def test_classes_that_do_not_match_are_an_error(tiny_run: Path, photos: Path) -> None:
    with expect_error(DataError, "photos", "dark", "light", "circles"):
        cnnkit.find_mistakes(tiny_run, data=str(photos))


def test_a_split_that_nobody_knows_is_an_error(photos_run: Path) -> None:
    with expect_error(UsageError, "tset"):
        cnnkit.find_mistakes(photos_run, split="tset")


def test_a_folder_is_written_where_one_is_named(photos_run: Path, flipped: Path, tmp_path: Path) -> None:
    cnnkit.find_mistakes(photos_run, data=str(flipped), device="cpu", output=str(tmp_path / "out"))
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["mistakes.html", "mistakes.json", "mistakes.png"]


@pytest.mark.usefixtures("few_shapes")
def test_the_zoo_runs_on_pytorch_whose_layers_can_be_looked_into() -> None:
    assert cnnkit.load("shapes-cnn").engine.startswith("onnxruntime")
    assert cnnkit.load("shapes-cnn", torch=True, device="cpu").engine == "PyTorch CPU"
    assert cnnkit.find_mistakes("shapes-cnn", data="shapes", device="cpu").engine == "PyTorch CPU"

"""Data sets in memory: how they are split and normalised, and what an image folder comes to."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from cnnkit.data import loaded as data
from cnnkit.data import shapes, splits
from cnnkit.errors import DamagedFilesError, DataError, UnknownNameError
from cnnkit.images import Preprocessing, prepare
from cnnkit.operation import result_of
from cnnkit.progress import LoadProgress
from cnnkit.recipe import Recipe

pytestmark = pytest.mark.usefixtures("few_shapes")
GREY, RGB = (1, 28, 28), (3, 28, 28)


def load(name: object = "shapes", form=RGB, *, data_dir: Path | None = None, only=("all",), **recipe) -> data.ImageData:
    return result_of(data.load(Recipe(data=str(name), **recipe).data_options(data_dir), form, only=only))


def contents(split: data.Split) -> list[bytes]:
    return [image.numpy().tobytes() for image in split.images]


def test_the_splits_are_disjoint_and_together_everything() -> None:
    loaded = load()
    drawn = [shapes.draw_shapes(20, seed=0)[0], shapes.draw_shapes(10, seed=1)[0]]
    parts = [contents(split) for split in (loaded.train, loaded.validation, loaded.test)]
    assert [len(part) for part in parts] == [48, 12, 30]
    together = [image for part in parts for image in part]
    assert sorted(together) == sorted(image.tobytes() for images in drawn for image in images)
    assert len(set(together)) == 90
    assert contents(loaded.split("all")) == together


def test_images_keep_their_labels() -> None:
    loaded = load(seed=3)
    images, labels = shapes.draw_shapes(20, seed=0)
    known = {image.tobytes(): int(label) for image, label in zip(images, labels, strict=True)}
    for split in (loaded.train, loaded.validation):
        assert [known[image] for image in contents(split)] == split.targets.tolist()
    assert loaded.classes == ("circles", "squares", "triangles")


def test_the_split_seed_decides_what_is_held_back_and_the_test_split_is_always_the_same() -> None:
    one, same, other = load(split_seed=1), load(split_seed=1, seed=2), load(split_seed=2)
    assert contents(one.validation) == contents(same.validation)
    assert contents(one.train) == contents(same.train)
    assert set(contents(one.validation)) != set(contents(other.validation))
    assert contents(one.test) == contents(other.test)


@pytest.mark.parametrize(("fraction", "held"), [(0.2, 12), (0.5, 30), (0.1, 6), (1e-9, 3)])
def test_the_validation_fraction_is_of_the_training_images_of_each_class(fraction: float, held: int) -> None:
    loaded = load(validation_fraction=fraction)
    assert (len(loaded.validation), len(loaded.train)) == (held, 60 - held)
    assert loaded.validation.targets.bincount().tolist() == [held // 3] * 3


def test_a_validation_fraction_leaves_something_to_train_on() -> None:
    assert sorted(load(validation_fraction=0.9999).train.targets.tolist()) == [0, 1, 2]


def test_splits_that_nobody_asked_for_stay_empty() -> None:
    loaded = load(only=("test",))
    assert (len(loaded.train), len(loaded.validation), len(loaded.test)) == (0, 0, 30)
    assert loaded.train.images.shape == (0, 28, 28, 3)


def test_unit_leaves_the_pixels_and_standard_takes_mean_and_deviation_of_the_training_split() -> None:
    unit, standard = load(), load(normalisation="standard")
    assert (unit.preprocessing.mean, unit.preprocessing.std) == ((0.0,) * 3, (1.0,) * 3)
    pixels = standard.train.images.numpy() / 255
    np.testing.assert_allclose(standard.preprocessing.mean, pixels.mean((0, 1, 2)), atol=5e-5)
    np.testing.assert_allclose(standard.preprocessing.std, pixels.std((0, 1, 2)), atol=5e-5)


def test_a_data_set_comes_in_the_channels_and_the_size_asked_for() -> None:
    loaded = load(form=(1, 14, 20))
    assert loaded.train.images.shape == (48, 14, 20, 1)
    assert loaded.train.images.dtype == torch.uint8
    assert loaded.preprocessing.polarity == "dark-on-light"


def test_the_preprocessing_of_a_card_is_kept() -> None:
    card = Preprocessing(3, 28, 28, (0.25,) * 3, (0.75,) * 3, "stretch")
    assert load(form=card, normalisation="standard").preprocessing == card


def test_two_or_four_channels_are_refused() -> None:
    with pytest.raises(DataError, match="images have 1 or 3 channels; the network expects 2"):
        load(form=(2, 28, 28))


def test_an_unknown_name_gets_the_close_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"no data set 'mnits'\. Did you mean mnist.*given by its path"):
        load("mnits")


def test_a_path_that_is_not_there_is_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no image folder"):
        load(str(tmp_path / "photos"))


def test_an_image_folder_reports_progress_and_takes_the_name_of_the_folder(photos: Path) -> None:
    steps = data.load(Recipe(data=str(photos)).data_options(), RGB)
    progress = []
    try:
        while True:
            progress.append(next(steps))
    except StopIteration as stop:
        loaded = stop.value
    assert progress[-1] == LoadProgress("images", 20, 20)
    assert (loaded.name, loaded.classes) == ("photos", ("dark", "light"))
    assert (len(loaded.train), len(loaded.validation), len(loaded.test)) == (12, 4, 4)
    assert loaded.train.images.float().mean((1, 2, 3)).gt(128).tolist() == loaded.train.targets.bool().tolist()


@pytest.fixture(params=["in memory", "in a file"])
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where the images of a folder are in the end."""
    if request.param == "in a file":
        monkeypatch.setattr(data, "fits_in_memory", lambda _: False)
    return request.param


def files_of(photos: Path, split: str, **recipe) -> list[tuple[Path, int]]:
    """Return the files of a split and their classes, as the contents of all files say."""
    files = sorted(photos.rglob("*.png"))
    contents = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    targets = [int(file.parent.name == "light") for file in files]
    settings = Recipe(**recipe)
    parts = splits.divide(
        contents,
        targets,
        seed=settings.split_seed,
        validation=settings.validation_fraction,
        test=settings.test_fraction,
    )
    return [(files[place], targets[place]) for place in parts[split].tolist()]


def test_the_images_of_a_folder_belong_to_their_targets(place: str, photos: Path) -> None:
    loaded = load(photos, (3, 10, 12), split_seed=3)
    for name in ("train", "validation", "test"):
        split, files = loaded.split(name), files_of(photos, name, split_seed=3)
        assert loaded.catalogue.names(name) == [path.relative_to(photos).as_posix() for path, _ in files]
        assert split.targets.tolist() == [target for _, target in files]
        expected = np.stack([prepare(path, loaded.preprocessing).pixels for path, _ in files])
        np.testing.assert_array_equal(split.take(torch.arange(len(split))), expected)
        assert (split.rows is None) == (place == "in memory")
        assert split.images.shape == (len(split) if place == "in memory" else 20, 10, 12, 3)


def test_images_are_taken_by_their_positions_in_the_split(place: str, photos: Path) -> None:
    train = load(photos).train
    positions = torch.tensor([7, 2, 2])
    taken = train.take(positions)
    assert (taken.shape, taken.dtype) == ((3, 28, 28, 3), torch.uint8)
    assert torch.equal(taken, train.take(torch.arange(12))[positions])
    assert len(train.take(torch.tensor([], dtype=torch.int64))) == 0


@pytest.mark.parametrize(("size", "sizes"), [(5, [5, 5, 2]), (6, [6, 6]), (12, [12]), (99, [12])])
def test_batches_come_in_order_and_hold_everything(size: int, sizes: list[int], place: str, photos: Path) -> None:
    train = load(photos).train
    images, targets = zip(*train.batches(size), strict=True)
    assert list(map(len, images)) == list(map(len, targets)) == sizes
    assert torch.equal(torch.cat(images), train.take(torch.arange(12)))
    assert torch.equal(torch.cat(targets), train.targets)


def test_all_is_the_three_splits_of_a_folder_together(place: str, photos: Path) -> None:
    loaded = load(photos)
    together = loaded.split("all")
    parts = [loaded.train, loaded.validation, loaded.test]
    assert torch.equal(together.take(torch.arange(20)), torch.cat([p.take(torch.arange(len(p))) for p in parts]))
    assert torch.equal(together.targets, torch.cat([p.targets for p in parts]))


def test_of_a_folder_too_only_the_splits_asked_for_come(place: str, photos: Path) -> None:
    loaded = load(photos, only=("test",))
    assert (len(loaded.train), len(loaded.validation), len(loaded.test)) == (0, 0, 4)
    assert list(loaded.train.batches(5)) == []
    assert torch.equal(loaded.split("all").take(torch.arange(4)), loaded.test.take(torch.arange(4)))


@pytest.mark.parametrize("counted", [1, 2000, 1 << 23])
def test_mean_and_deviation_of_a_folder_are_those_of_its_training_images(
    counted: int, place: str, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "_COUNTED", counted)
    form = load(photos, (3, 10, 12), normalisation="standard").preprocessing
    pixels = np.stack([prepare(path, form).pixels for path, _ in files_of(photos, "train")]) / 255
    np.testing.assert_allclose(form.mean, pixels.mean((0, 1, 2)), atol=5e-5)
    np.testing.assert_allclose(form.std, pixels.std((0, 1, 2)), atol=5e-5)


def test_a_damaged_image_of_any_split_is_found(own_photos: Path) -> None:
    (spoiled, _), *_ = files_of(own_photos, "train")
    spoiled.write_bytes(b"not an image")
    with pytest.raises(DamagedFilesError, match=f"1 of 20 files of {own_photos} cannot be decoded: {spoiled} is not"):
        load(own_photos, only=("test",))


# Some images of a split.


def test_images_that_are_drawn_from_a_split_are_of_all_classes_in_proportion(place: str, photos: Path) -> None:
    loaded = load(photos, validation_fraction=0.5, test_fraction=0.5)
    everything = loaded.split("all")
    for count, each in ((2, 1), (4, 2), (10, 5)):
        some = everything.drawn(count)
        assert len(some) == count
        assert some.targets.bincount().tolist() == [each, each]
        for (image, target), known in zip(
            (
                (image, target)
                for images, targets in some.batches(3)
                for image, target in zip(images, targets, strict=True)
            ),
            some.take(torch.arange(count)),
            strict=True,
        ):
            assert torch.equal(image, known)
            assert (image.float().mean() > 128) == bool(target)
    assert everything.drawn(20) is everything.drawn(99) is everything


def test_the_images_that_are_drawn_keep_their_order() -> None:
    images = torch.arange(100, dtype=torch.uint8).reshape(100, 1, 1, 1)
    targets = torch.tensor([0] * 90 + [1] * 10)
    some = data.Split(images, targets).drawn(20)
    drawn = some.images.flatten().tolist()
    assert drawn == sorted(set(drawn))
    assert some.targets.bincount().tolist() == [18, 2]
    assert torch.equal(some.targets, targets[drawn])


def test_a_split_without_images_says_which_ones_have_some(photos: Path) -> None:
    loaded = load(photos, test_fraction=0)
    assert loaded.catalogue.record.images == {"train": 16, "validation": 4, "test": 0}
    with pytest.raises(DataError, match=r"photos has no test images\. Use --split train or validation\."):
        loaded.filled("test")


@pytest.mark.parametrize("split", ["train", "validation", "test", "all"])
def test_every_image_of_a_split_can_be_named(split: str, photos: Path) -> None:
    loaded = load(photos, (3, 10, 12))
    images = loaded.split(split)
    names = [loaded.source(split, place) for place in range(len(images))]
    for name, image in zip(names, images.take(torch.arange(len(images))), strict=True):
        np.testing.assert_array_equal(prepare(photos / name, loaded.preprocessing).pixels, image)
    with pytest.raises(IndexError, match=f"the {split} split of photos has no image {len(images)}"):
        loaded.source(split, len(images))


def test_an_image_of_a_data_set_is_named_by_its_place(few_shapes: object) -> None:
    loaded = load()
    drawn = {"train": shapes.draw_shapes(20, seed=0)[0], "test": shapes.draw_shapes(10, seed=1)[0]}
    for split in ("train", "validation", "test"):
        for place, image in enumerate(loaded.split(split).images):
            which, _, number = loaded.source(split, place).rstrip("]").partition("[")
            np.testing.assert_array_equal(drawn[which][int(number)], image)

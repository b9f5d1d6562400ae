"""Data sets that have a name: read as they are, and what happens when they are absent or damaged."""

import pickle
import struct
from pathlib import Path

import numpy as np
import pytest

from cnnkit.data import loaded as data
from cnnkit.data import sets
from cnnkit.errors import DataError
from cnnkit.images import prepare
from cnnkit.operation import result_of
from cnnkit.recipe import Recipe

GREY, RGB = (1, 28, 28), (3, 28, 28)


def load(name: str, form=RGB, *, data_dir: Path | None = None, **recipe) -> data.ImageData:
    return result_of(data.load(Recipe(data=name, **recipe).data_options(data_dir), form))


def write_idx(folder: Path, name: str, images: np.ndarray, labels: np.ndarray) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}-images-idx3-ubyte").write_bytes(struct.pack(">4i", 2051, *images.shape) + images.tobytes())
    (folder / f"{name}-labels-idx1-ubyte").write_bytes(
        struct.pack(">2i", 2049, len(labels)) + labels.astype(np.uint8).tobytes()
    )


@pytest.fixture
def bars() -> np.ndarray:
    """28×28 images that stand in MNIST's box already, so that they go through unchanged."""
    images = np.zeros((10, 28, 28), np.uint8)
    for index, image in enumerate(images):
        image[4:24, 10:18] = 150 + 10 * index
    return images


@pytest.mark.parametrize(("name", "folder"), [("mnist", "MNIST"), ("fashion-mnist", "FashionMNIST")])
def test_idx_files_are_read_as_they_are(name: str, folder: str, bars: np.ndarray, tmp_path: Path) -> None:
    labels = np.array([3, 3, 3, 8, 8, 8, 0, 1, 2, 9])
    write_idx(tmp_path / folder / "raw", "train", bars[:6], labels[:6])
    write_idx(tmp_path / folder / "raw", "t10k", bars[6:], labels[6:])
    loaded = load(name, GREY, data_dir=tmp_path, validation_fraction=0.34, split_seed=1)
    assert (len(loaded.train), len(loaded.validation), len(loaded.test)) == (4, 2, 4)
    together = loaded.split("all")
    order = together.images.flatten(1).max(1).values.argsort()
    assert together.targets[order].tolist() == labels.tolist()
    np.testing.assert_array_equal(together.images[order, ..., 0].numpy(), bars)
    assert loaded.validation.targets.bincount(minlength=10).tolist() == [0, 0, 0, 1, 0, 0, 0, 0, 1, 0]
    assert loaded.test.targets.tolist() == [0, 1, 2, 9]
    assert loaded.preprocessing.fit == sets.BUILT_IN[name].fit
    assert loaded.fingerprint == name


def test_own_images_are_not_inverted_and_those_from_elsewhere_are(tmp_path: Path) -> None:
    images = np.zeros((8, 28, 28), np.uint8)
    images[:, 8:20, 8:20] = np.arange(100, 108)[:, None, None]
    images[0] = 200  # a bag that fills its frame, with a dark handle
    images[0, 10:14, 10:18] = 0
    for name in ("train", "t10k"):
        write_idx(tmp_path / "FashionMNIST" / "raw", name, images, np.repeat([0, 8], 4))
    loaded = load("fashion-mnist", GREY, data_dir=tmp_path, validation_fraction=0.25)
    for split in ("train", "validation", "test"):
        assert all((images == found.numpy()[..., 0]).all((1, 2)).any() for found in loaded.split(split).images)
    larger = load("fashion-mnist", (1, 56, 56), data_dir=tmp_path, validation_fraction=0.25).test.images
    np.testing.assert_array_equal(larger[:, 0, 0, 0], images[:, 0, 0])
    photo = prepare(255 - images[1], loaded.preprocessing)
    np.testing.assert_array_equal(photo.pixels[..., 0], images[1])
    assert "inverted" in photo.steps


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "cifar10"])
@pytest.mark.parametrize("origin", ["--data-dir", "$CNNKIT_DATA"])
def test_absent_data_names_the_folder_and_the_files(
    name: str, origin: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if origin == "$CNNKIT_DATA":
        monkeypatch.setenv("CNNKIT_DATA", str(tmp_path))
    with pytest.raises(DataError) as caught:
        load(name, RGB, data_dir=tmp_path if origin == "--data-dir" else None)
    message = str(caught.value)
    assert f"{name} is not under {tmp_path} ({origin}) and could not be downloaded" in message
    assert "--data-dir or $CNNKIT_DATA" in message
    assert all(file in message for file in sets.BUILT_IN[name].files)
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(
    "there",
    [
        False,
        True,
    ],
)
def test_a_download_that_fails_leaves_everything_as_it_was(there: bool, tmp_path: Path) -> None:
    if there:
        (tmp_path / "data").mkdir()
    before = list(tmp_path.rglob("*"))
    with pytest.raises(DataError):
        load("mnist", GREY, data_dir=tmp_path / "data")
    assert list(tmp_path.rglob("*")) == before


@pytest.mark.usefixtures("offline")
def test_only_the_missing_files_are_named(bars: np.ndarray, tmp_path: Path) -> None:
    write_idx(tmp_path / "MNIST" / "raw", "train", bars, np.arange(10))
    with pytest.raises(DataError) as caught:
        load("mnist", GREY, data_dir=tmp_path)
    expected = str(caught.value).partition("Expected there: ")[2]
    assert "t10k-labels-idx1-ubyte" in expected
    assert "train-images" not in expected


@pytest.mark.parametrize(
    "damage",
    [lambda content: content[:-9], lambda _: b"", lambda content: b"\xff\xff" + content[2:]],
    ids=["truncated", "empty", "noise"],
)
def test_damaged_idx_files_are_an_error(damage, bars: np.ndarray, tmp_path: Path) -> None:
    folder = tmp_path / "MNIST" / "raw"
    write_idx(folder, "train", bars, np.arange(10))
    write_idx(folder, "t10k", bars, np.arange(10))
    path = folder / "t10k-images-idx3-ubyte"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=f"mnist under {tmp_path} is damaged"):
        load("mnist", GREY, data_dir=tmp_path)


class Trap:
    """What a hostile pickle would do."""

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (Path("sprung"),))


def test_cifar_pickles_of_strangers_are_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for file in sets.BUILT_IN["cifar10"].files:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_bytes(pickle.dumps(Trap()))
    with pytest.raises(DataError, match="is damaged"):
        load("cifar10", (3, 32, 32), data_dir=tmp_path)
    assert not (tmp_path / "sprung").exists()

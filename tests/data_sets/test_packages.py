"""Data sets and augmentations of installed packages: a real distribution on the path, made here."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import cnnkit
from cnnkit import plugins
from cnnkit.data import augmentations
from cnnkit.errors import DataError, UnknownNameError, UsageError
from cnnkit.recipe import Recipe

Cli = Callable[..., Any]

STRIPES = """
import numpy as np
from cnnkit.data.dataset import Dataset, Images

class Stripes(Dataset):
    def open(self, data_dir):
        images = np.zeros((40, 28, 28, 3), np.uint8)
        for number, image in enumerate(images):
            (image if number % 2 else image.swapaxes(0, 1))[number % 7 :: 7] = 100 + number
        return Images.of_arrays(self, ("down", "across"), {"": (images, np.arange(40) % 2)})

stripes = Stripes("stripes")
"""
LEAVES = """
from pathlib import Path
from cnnkit.data.dataset import Dataset, Images

class Leaves(Dataset):
    def open(self, data_dir):
        root = Path(__file__).parent / "leaves"
        parts = {part: [(f"{part}-{n}.png", n % 2) for n in range(6)] for part in ("train", "validation", "test")}
        return Images.of_files(self, ("oak", "beech"), root, parts)

stripes = Leaves("stripes", of_files=True)
"""
DARKER = """
import torch

class Darker:
    def draw(self, images, generator):
        return torch.rand(images, 1, generator=generator)

    def apply(self, images, numbers):
        return (images * numbers.view(-1, 1, 1, 1)).to(images.dtype)

darker = Darker()
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Path]]:
    """Install a distribution whose module registers `stripes` and `darker`, as pip would: its files on the path."""
    site = tmp_path / "site"

    def put(module: str) -> Path:
        info = site / "acme-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
        points = "[cnnkit.datasets]\nstripes = acme_data:stripes\n[cnnkit.augmentations]\ndarker = acme_data:darker\n"
        (info / "entry_points.txt").write_text(points)
        (site / "acme_data.py").write_text(module)
        monkeypatch.syspath_prepend(site)
        plugins.registered.cache_clear()
        return site

    yield put
    plugins.registered.cache_clear()
    sys.modules.pop("acme_data", None)


def test_a_data_set_of_a_package_is_listed_opened_trained_and_measured(
    install: Callable[[str], Path], tmp_path: Path
) -> None:
    install(STRIPES)
    (listed,) = [each for each in cnnkit.list_datasets() if each.name == "stripes"]
    assert listed.present
    assert listed.how_to_get == "in an installed package"
    found = cnnkit.open_dataset("stripes")
    assert {part: len(where) for part, where in found.splits.items()} == {"train": 26, "validation": 6, "test": 8}
    recipe = cnnkit.default_recipe("shapes-cnn", data="stripes", epochs=1, test_fraction=0.3)
    *_, last = cnnkit.train.steps(recipe, runs_dir=tmp_path, device="cpu")
    measured = cnnkit.evaluate(last.run, device="cpu")
    assert (measured.data, measured.split, measured.images) == ("stripes", "test", 12)


def test_a_data_set_of_files_is_decoded_as_a_folder_is(install: Callable[[str], Path], tmp_path: Path) -> None:
    from PIL import Image

    site = install(LEAVES)
    (site / "leaves").mkdir()
    rng = np.random.default_rng(0)
    for part in ("train", "validation", "test"):
        for number in range(6):
            image = rng.integers(0, 256, (30 + number, 40, 3), np.uint8)
            Image.fromarray(image).save(site / "leaves" / f"{part}-{number}.png")
    recipe = cnnkit.default_recipe("shapes-cnn", data="stripes", epochs=1, batch_size=2)
    *_, last = cnnkit.train.steps(recipe, runs_dir=tmp_path, device="cpu")
    assert cnnkit.evaluate(last.run, device="cpu").images == 6
    (site / "leaves" / "train-0.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"1 of 18 files of .*leaves cannot be decoded"):
        cnnkit.evaluate(last.run, device="cpu")


def test_an_augmentation_of_a_package_varies_the_images_of_a_training(
    install: Callable[[str], Path], tmp_path: Path, few_shapes: object
) -> None:
    install(DARKER)
    assert "darker" in augmentations.names()
    weights = []
    for name in ("none", "darker"):
        recipe = cnnkit.default_recipe("shapes-cnn", data="shapes", epochs=1, augmentation=name)
        *_, last = cnnkit.train.steps(recipe, runs_dir=tmp_path / name, device="cpu")
        weights.append(cnnkit.load(last.run, device="cpu").card.weights_sha256)
    assert weights[0] != weights[1]


def test_a_network_is_used_where_the_augmentation_of_its_training_is_not_installed(
    install: Callable[[str], Path], tmp_path: Path, few_shapes: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = install(DARKER)
    recipe = cnnkit.default_recipe("shapes-cnn", data="shapes", epochs=1, augmentation="darker")
    *_, last = cnnkit.train.steps(recipe, runs_dir=tmp_path, device="cpu")
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != str(site)])
    plugins.registered.cache_clear()
    assert cnnkit.evaluate(last.run, device="cpu").images == 30
    with pytest.raises(UsageError, match=r"augmentation: expected none, affine, .*'darker'"):
        Recipe.recorded(recipe.model_dump()).override({"epochs": 2})


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("import nowhere", "cannot be imported: No module named 'nowhere'"),
        ("stripes = darker = 7", "is of the type int; expected an"),
        (STRIPES.replace('Stripes("stripes")', 'Stripes("other")') + "\ndarker = 1", "is of the type"),
    ],
    ids=["import", "type", "name"],
)
def test_a_broken_package_is_named_where_it_is_used_and_nowhere_else(
    module: str, said: str, install: Callable[[str], Path], few_shapes: object, cli: Cli
) -> None:
    install(module)
    for call in (
        cnnkit.list_datasets,
        lambda: cnnkit.open_dataset("stripes"),
        lambda: augmentations.augmentation("darker"),
    ):
        with pytest.raises(UsageError) as caught:
            call()
        assert "acme_data:" in str(caught.value)
        assert said in str(caught.value)
    assert len(cnnkit.open_dataset("shapes")) == 90
    result = cli("datasets")
    assert result.exit_code == 2
    assert "acme_data:stripes" in result.stderr


def test_what_a_package_raises_is_an_error_of_its_data_set(install: Callable[[str], Path]) -> None:
    install(STRIPES.replace("np.arange(40) % 2", "np.arange(40) % 3"))
    with pytest.raises(DataError, match="the data set stripes cannot be opened: ValueError: the labels are 0 to 2"):
        cnnkit.open_dataset("stripes")


def test_an_unknown_augmentation_gets_the_close_ones(install: Callable[[str], Path]) -> None:
    install(DARKER)
    with pytest.raises(UnknownNameError, match="Did you mean darker"):
        augmentations.augmentation("darkr")


@pytest.mark.parametrize("name", augmentations.names()[1:])
def test_every_augmentation_keeps_size_and_type_and_is_decided_by_its_numbers(name: str) -> None:
    vary = augmentations.augmentation(name)
    assert vary is not None
    images = torch.randint(0, 256, (9, 3, 12, 10), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    numbers = vary.draw(9, torch.Generator().manual_seed(1))
    assert len(numbers) == 9
    varied = vary.apply(images, numbers)
    assert (varied.shape, varied.dtype) == (images.shape, torch.uint8)
    assert not torch.equal(varied, images)
    assert torch.equal(vary.apply(images[3:5], numbers[3:5]), varied[3:5])

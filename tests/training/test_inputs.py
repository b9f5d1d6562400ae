"""The size and channels that a run trains on, where nobody says them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cnnkit.data.traits import ImageTraits, traits_of
from cnnkit.errors import UsageError
from cnnkit.operation import result_of
from cnnkit.progress import Notice
from cnnkit.recipe import Recipe
from cnnkit.training import loop
from cnnkit.training.inputs import InputChoice, input_for
from cnnkit.training.results import TrainingStarted

pytestmark = pytest.mark.usefixtures("nets")


def chosen(model: str, channels: int, size: tuple[int, int] | None) -> tuple[int, ...]:
    choice = input_for(Recipe(model=model, data="photos"))
    return choice(ImageTraits(channels, size)) if isinstance(choice, InputChoice) else choice


@pytest.mark.parametrize(
    ("model", "channels", "size", "expected"),
    [
        ("lenet", 3, (32, 32), (3, 32, 32)),
        ("lenet", 1, (28, 28), (1, 28, 28)),
        ("lenet", 3, (64, 64), (3, 64, 64)),
        ("lenet", 3, (20, 48), (3, 20, 48)),
        ("lenet", 3, (65, 64), (3, 28, 28)),
        ("lenet", 3, None, (3, 28, 28)),
        ("lenet", 1, (8, 8), (1, 28, 28)),
        ("mlp", 1, (1, 1), (1, 1, 1)),
        ("cifar-resnet", 1, (28, 28), (1, 28, 28)),
        ("alexnet", 3, (64, 64), (3, 224, 224)),
        ("alexnet", 1, None, (1, 224, 224)),
        ("torchvision/resnet18", 1, (28, 28), (3, 224, 224)),
        ("tinynets:Linear", 1, (28, 28), (3, 8, 8)),
        ("tinynets:shaped", 1, (5, 6), (1, 5, 6)),
        ("tinynets:lazy", 3, (28, 28), (3, 28, 28)),
    ],
)
def test_small_images_keep_their_size_and_all_keep_their_channels(
    model: str, channels: int, size: tuple[int, int] | None, expected: tuple[int, ...]
) -> None:
    assert chosen(model, channels, size) == expected


def test_an_input_that_is_given_is_taken() -> None:
    assert input_for(Recipe(model="lenet", input_shape=(3, 40, 30))) == (3, 40, 30)


def test_an_input_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match=r"its input_shape is \(8, 8\); expected channels, height and width"):
        input_for(Recipe(model="tinynets:WrongShape"))


def test_a_network_that_says_nothing_needs_images_of_one_size() -> None:
    with pytest.raises(UsageError, match=r"tinynets:lazy does not say its input, .* give .* --input 3x32x32"):
        chosen("tinynets:lazy", 3, None)


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """Make a folder of two classes with ten images each."""

    def make(mode: str = "RGB", size: tuple[int, int] = (12, 10), ending: str = ".png") -> Path:
        for label, shade in (("dark", 40), ("light", 200)):
            (tmp_path / "data" / label).mkdir(parents=True, exist_ok=True)
            for number in range(10):
                grey = Image.fromarray(np.full((size[1], size[0]), shade + number, np.uint8))
                grey.convert(mode).save(tmp_path / "data" / label / f"{number}{ending}")
        return tmp_path / "data"

    return make


@pytest.mark.parametrize(
    ("images", "odd", "expected"),
    [
        ({}, None, ImageTraits(3, (10, 12))),
        ({"mode": "L"}, None, ImageTraits(1, (10, 12))),
        ({"mode": "1"}, None, ImageTraits(1, (10, 12))),
        ({"mode": "LA"}, None, ImageTraits(1, (10, 12))),
        ({"mode": "P"}, None, ImageTraits(1, (10, 12))),
        ({"mode": "RGBA"}, None, ImageTraits(3, (10, 12))),
        ({"mode": "CMYK", "ending": ".jpg"}, None, ImageTraits(3, (10, 12))),
        ({"mode": "L", "size": (100, 20)}, None, ImageTraits(1, None)),
        ({"mode": "L"}, ("RGB", (12, 10), 1), ImageTraits(3, (10, 12))),
        ({}, ("RGB", (12, 11), 1), ImageTraits(3, None)),
        ({}, ("RGB", (10, 12), 6), ImageTraits(3, (10, 12))),
        ({"mode": "L"}, ("L", (12, 11), 1), ImageTraits(1, None)),
    ],
    ids=str,
)
def test_headers_say_what_all_images_have_in_common(
    images: dict[str, Any],
    odd: tuple[str, tuple[int, int], int] | None,
    expected: ImageTraits,
    folder: Callable[..., Path],
) -> None:
    place = folder(**images)
    if odd is not None:
        mode, size, orientation = odd
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.new(mode, size).save(place / "dark" / "odd.png", exif=exif)
    (place / "dark" / "damaged.png").write_bytes(b"no image")
    files = [str(path.relative_to(place)) for path in sorted(place.rglob("*.*"))]
    assert result_of(traits_of(place, files)) == expected


def started(data: Path, runs: Path, **fields: Any) -> tuple[TrainingStarted, list[str]]:
    recipe = Recipe(data=str(data), epochs=0, **fields)
    events = list(loop.train_events(recipe, runs_dir=runs, device="cpu"))
    begin = next(event for event in events if isinstance(event, TrainingStarted))
    return begin, [event.text for event in events if isinstance(event, Notice)]


def test_a_folder_of_grey_images_makes_a_network_for_grey_ones(folder: Callable[..., Path], tmp_path: Path) -> None:
    begin, _ = started(folder("L", (28, 28)), tmp_path / "runs", model="lenet")
    assert begin.parameters == 61_706 - 8 * 85  # of two classes instead of ten
    assert begin.preparation == "28×28 grey, as they are"


def test_what_is_known_of_a_folder_is_not_read_again(folder: Callable[..., Path], tmp_path: Path) -> None:
    place = folder("L", (28, 28))
    first, _ = started(place, tmp_path / "runs", model="mlp")
    (place / "dark" / "new.png").write_bytes((place / "dark" / "0.png").read_bytes())
    Image.new("RGB", (28, 28)).save(place / "light" / "new.png")
    second, _ = started(place, tmp_path / "runs", model="mlp")
    assert (first.preparation[:10], second.preparation[:5]) == ("28×28 grey", "28×28")
    assert second.parameters - first.parameters == 2 * 28 * 28 * 256


def test_images_that_are_too_small_are_enlarged_and_that_is_said(folder: Callable[..., Path], tmp_path: Path) -> None:
    _, notes = started(folder("L", (10, 10)), tmp_path / "runs", model="lenet")
    assert any("12×12 or larger" in note and "10×10, are enlarged to 28×28" in note for note in notes)


def test_the_input_of_another_run_is_kept_and_what_these_images_would_get_is_said(
    folder: Callable[..., Path], tmp_path: Path
) -> None:
    """A grey run's run.toml on images in colour: no colour may be lost without a word."""
    grey, _ = started(folder("L", (28, 28)), tmp_path / "runs", model="mlp")
    recipe = Recipe.from_toml(grey.run / "run.toml")
    place = folder("RGB", (20, 20))
    fields = {name: value for name, value in recipe.model_dump().items() if name != "data"}
    again = Recipe.layered(fields, {"data": str(place)}, strict={"data"})
    for given, note in ((again, "the input is 1×28×28 by the recipe file; for these images: --input 3x20x20"),
                        (again.override({"input_shape": (1, 28, 28)}), None)):  # fmt: skip
        events = list(loop.train_events(given, runs_dir=tmp_path / "runs", device="cpu"))
        begin = next(event for event in events if isinstance(event, TrainingStarted))
        assert begin.input_shape == (1, 28, 28)
        notes = [event.text for event in events if isinstance(event, Notice) and "--input" in event.text]
        assert notes == ([note] if note else [])

"""The drawn digits that training mixes in: in the form of MNIST's, seeded, and written as Europeans write them."""

import struct
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnkit.card import ModelCard
from cnnkit.data import loaded as data
from cnnkit.data.digits import LABELS, STYLES, draw_digits
from cnnkit.errors import UsageError
from cnnkit.models.networks import read_checkpoint
from cnnkit.operation import result_of
from cnnkit.recipe import Recipe
from cnnkit.training import loop
from cnnkit.training.results import StartRecord, TrainingFinished


@cache
def ink(label: str, style: str) -> np.ndarray:
    """The mean of 60 drawings in one style, [28, 28] in [0, 1]."""
    return draw_digits(label, 60, seed=1, style=style).mean(0) / 255


@pytest.mark.parametrize("label", LABELS)
def test_drawings_have_the_form_of_mnists(label: str) -> None:
    images = draw_digits(label, 120, seed=3)
    assert images.shape == (120, 28, 28)
    assert images.dtype == np.uint8
    for image in images:
        marked = image > 0
        longer = max(np.ptp(np.flatnonzero(marked.any(axis))) + 1 for axis in (0, 1))
        assert 17 <= longer <= 20
        for axis in (0, 1):
            ink = image.sum(axis, dtype=np.float64)
            where = np.flatnonzero(ink)
            # At the centre, or as near to it as the box of 20x20, which the canvas holds, lets it be.
            assert abs(ink @ np.arange(28) / ink.sum() - 14) <= 0.5 or where[0] == 0 or where[-1] == 27
    assert (images.max((1, 2)) > 200).all()
    share = (images > 128).mean()
    assert 0.03 < share < 0.35  # neither blank nor a blot; of MNIST's images it is 0.10


def test_a_seed_repeats_its_drawings_and_another_gives_others() -> None:
    first = draw_digits("4", 40, seed=5)
    np.testing.assert_array_equal(draw_digits("4", 40, seed=5), first)
    other = draw_digits("4", 40, seed=6)
    assert not any(np.array_equal(a, b) for a, b in zip(first, other, strict=True))
    assert len(np.unique(first, axis=0)) == 40


def test_every_style_of_a_digit_has_drawings_of_its_own() -> None:
    for label in LABELS:
        assert STYLES[label]
        means = [ink(label, style) for style in STYLES[label]]
        for number, mean in enumerate(means):
            assert all(np.abs(mean - other).max() > 0.1 for other in means[:number]), (label, STYLES[label][number])


def test_the_european_forms_have_what_makes_them() -> None:
    middle, left = slice(12, 16), slice(7, 11)
    assert ink("0", "slashed")[middle, middle].mean() > 4 * ink("0", "plain")[middle, middle].mean()
    # The bar of a seven reaches to the right of its stem at half height.
    assert ink("7", "bar")[14, 19:21].mean() > 2 * ink("7", "plain")[14, 19:21].mean()
    # The upstroke of a one lies to the left of the stem's upper half, its foot beside the stem's end.
    assert ink("1", "upstroke")[8:16, left].mean() > 5 * ink("1", "stick")[8:16, left].mean()
    assert ink("1", "foot")[18:25, left].mean() > 3 * ink("1", "stick")[18:25, left].mean()
    # A four that is closed has its sides meet at the top.
    assert ink("4", "closed")[4:7, 12:18].mean() > ink("4", "open")[4:7, 12:18].mean()


def test_nothing_can_be_asked_for_and_nothing_impossible() -> None:
    assert draw_digits("0", 0, seed=0).shape == (0, 28, 28)
    assert draw_digits("0", 1, seed=0).shape == (1, 28, 28)
    for label, style, count, seed in (("x", None, 1, 0), ("7", "flat", 1, 0), ("7", None, -1, 0), ("7", None, 1, -1)):
        with pytest.raises(UsageError):
            draw_digits(label, count, seed=seed, style=style)


@pytest.fixture
def few_of_mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with an MNIST of 80 images, each class a stroke at another height; few drawings are made for it."""
    monkeypatch.setattr(data, "_DRAWN", 20)
    folder, labels = tmp_path / "MNIST" / "raw", np.arange(80, dtype=np.uint8) % 10
    folder.mkdir(parents=True)
    images = np.zeros((80, 28, 28), np.uint8)
    for index, image in enumerate(images):
        image[4 + 2 * labels[index] : 6 + 2 * labels[index], 4:24] = 175 + index
    for name in ("train", "t10k"):
        (folder / f"{name}-images-idx3-ubyte").write_bytes(struct.pack(">4i", 2051, 80, 28, 28) + images.tobytes())
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 2049, 80) + labels.tobytes())
    return tmp_path


def test_a_run_is_trained_on_them_and_validated_without_them(few_of_mnist: Path, tmp_path: Path) -> None:
    def trained(name: str, **changes: Any) -> tuple[StartRecord, ModelCard]:
        """Epoch 0, whose images are those of the validation, and the card."""
        recipe = Recipe(model="softmax-regression", normalisation="standard", epochs=2, batch_size=16, **changes)
        events = list(loop.train_events(recipe, data_dir=few_of_mnist, runs_dir=tmp_path / name, device="cpu"))
        run = next(event.run for event in events if isinstance(event, TrainingFinished))
        card = read_checkpoint((run / "best.safetensors").read_bytes(), name)[1]
        return next(event for event in events if isinstance(event, StartRecord)), card

    plain, drawn, again = trained("a"), trained("b", drawn_digits=0.5), trained("c", drawn_digits=0.5)
    assert plain[0] == drawn[0]
    assert plain[1].split == drawn[1].split
    assert plain[1].preprocessing == drawn[1].preprocessing
    assert plain[1].weights_sha256 != drawn[1].weights_sha256 == again[1].weights_sha256


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 40)])
def test_they_have_the_form_of_the_data(shape: tuple[int, int, int], few_of_mnist: Path) -> None:
    recipe = Recipe(data="mnist", drawn_digits=0.5)
    loaded = result_of(data.load(recipe.data_options(few_of_mnist), shape))
    drawn = data.drawn_for(loaded, seed=recipe.seed)
    assert drawn is not None
    assert drawn.shape == (10, 20, *shape[1:], shape[0])
    assert (drawn[..., 0, 0, :] == 0).all()  # black, as the ground of MNIST's

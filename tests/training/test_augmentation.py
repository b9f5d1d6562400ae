"""Augmentation: seeded for each image on its own, and harmless to what it must not change."""

from dataclasses import fields

import numpy as np
import pytest
import torch

from cnnkit.training import shapes
from cnnkit.training.augmentation import AUGMENTATIONS, Augmentation

NAMES = [name for name, augmentation in AUGMENTATIONS.items() if augmentation is not None]


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    """12 drawings, dark on white, float32 [12, 3, 28, 28] in [0, 1]."""
    return torch.from_numpy(shapes.draw_shapes(4, seed=0)[0]).permute(0, 3, 1, 2).float() / 255


def augmentation(name: str) -> Augmentation:
    found = AUGMENTATIONS[name]
    assert found is not None
    return found


def test_nothing_asked_for_changes_nothing(images: torch.Tensor) -> None:
    still = Augmentation()
    torch.testing.assert_close(still.apply(images, still.draw(12, seed=0, epoch=1)), images, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_an_image_varies_with_seed_epoch_and_index_and_not_with_its_batch(name: str, images: torch.Tensor) -> None:
    vary = augmentation(name)
    numbers = vary.draw(12, seed=3, epoch=2)
    whole = vary.apply(images, numbers)
    order = torch.tensor([7, 2, 11])
    torch.testing.assert_close(vary.apply(images[order], numbers[order]), whole[order], atol=1e-6, rtol=0)
    assert torch.equal(vary.apply(images, vary.draw(12, seed=3, epoch=2)), whole)
    assert not torch.allclose(vary.apply(images, vary.draw(12, seed=3, epoch=3)), whole, atol=0.05)
    assert not torch.allclose(vary.apply(images, vary.draw(12, seed=4, epoch=2)), whole, atol=0.05)


def test_the_same_image_twice_is_varied_in_two_ways(images: torch.Tensor) -> None:
    vary = augmentation("drawings")
    one, other = vary.apply(images[:1].repeat(2, 1, 1, 1), vary.draw(2, seed=0, epoch=1))
    assert not torch.allclose(one, other, atol=0.05)


def test_a_longer_epoch_begins_with_the_numbers_of_a_shorter_one() -> None:
    vary = augmentation("affine")
    assert torch.equal(vary.draw(20, seed=1, epoch=1)[:5], vary.draw(5, seed=1, epoch=1))
    assert vary.draw(5, seed=2**32 - 1, epoch=100_000).abs().max() <= 1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("light", [False, True], ids=["dark on light", "light on dark"])
def test_values_stay_between_zero_and_one(name: str, channels: int, light: bool, images: torch.Tensor) -> None:
    vary = augmentation(name)
    given = (1 - images if light else images)[:, :channels]
    for epoch in range(1, 6):
        varied = vary.apply(given, vary.draw(12, seed=0, epoch=epoch))
        assert varied.shape == given.shape
        assert varied.dtype == torch.float32
        assert torch.isfinite(varied).all()
        assert 0 <= varied.min() <= varied.max() <= 1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("level", [0.0, 1.0], ids=["black", "white"])
def test_blank_paper_stays_blank(name: str, level: float) -> None:
    vary = augmentation(name)
    paper = torch.full((8, 1, 28, 28), level)
    varied = vary.apply(paper, vary.draw(8, seed=0, epoch=1))
    torch.testing.assert_close(varied, paper, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("light", [False, True], ids=["white paper", "black paper"])
def test_the_paper_around_a_drawing_keeps_its_colour(name: str, light: bool, images: torch.Tensor) -> None:
    drawing = torch.ones(6, 1, 28, 28)
    drawing[:, :, 9:19, 13:15] = 0
    given = 1 - drawing if light else drawing
    vary = augmentation(name)
    varied = vary.apply(given, vary.draw(6, seed=0, epoch=1))
    corners = varied[:, :, [0, 0, -1, -1], [0, -1, 0, -1]]
    torch.testing.assert_close(corners, torch.full_like(corners, 0.0 if light else 1.0), atol=1e-5, rtol=0)
    ink = varied.amax((1, 2, 3)) if light else 1 - varied.amin((1, 2, 3))
    assert ink.min() > 0.3


@pytest.mark.parametrize("name", [field.name for field in fields(Augmentation)])
def test_each_kind_of_variation_does_something_on_its_own(name: str, images: torch.Tensor) -> None:
    vary = Augmentation(**{name: True if name == "mirror" else 20.0 if name == "rotation" else 0.3})
    varied = vary.apply(images, vary.draw(12, seed=0, epoch=1))
    assert (varied - images).abs().max() > 0.05


def test_rotation_keeps_within_its_angle() -> None:
    # A bar that leans by the angle itself touches the same columns as the steepest of the varied ones.
    bar = torch.zeros(64, 1, 57, 57)
    bar[:, :, :, 28] = 1
    vary = Augmentation(rotation=12)
    varied = vary.apply(bar, vary.draw(64, seed=0, epoch=1)).squeeze(1).numpy()
    top = (varied[:, 8] * np.arange(57)).sum(1) / varied[:, 8].sum(1) - 28
    angles = np.degrees(np.arctan(top / 20))
    assert np.abs(angles).max() < 13
    assert np.abs(angles).max() > 9
    assert abs(angles.mean()) < 2.5


def test_mirroring_turns_about_half_of_the_images(images: torch.Tensor) -> None:
    vary = Augmentation(mirror=True)
    many = images[:1].repeat(200, 1, 1, 1)
    varied = vary.apply(many, vary.draw(200, seed=0, epoch=1))
    mirrored = sum(torch.allclose(image, images[0].flip(2), atol=1e-4) for image in varied)
    kept = sum(torch.allclose(image, images[0], atol=1e-4) for image in varied)
    assert mirrored + kept == 200
    assert 60 < mirrored < 140

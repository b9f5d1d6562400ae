"""Augmentation: seeded for each image on its own, and harmless to what it must not change."""

import math
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from cnnkit.data import shapes
from cnnkit.data.augmentations import augmentation
from cnnkit.data.warping import Warp
from cnnkit.training.randomness import generator

NAMES = ["affine", "crops", "digits", "drawings"]


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    """12 drawings, dark on white, float32 [12, 3, 28, 28] in [0, 1]."""
    return torch.from_numpy(shapes.draw_shapes(4, seed=0)[0]).permute(0, 3, 1, 2).float() / 255


def test_nothing_asked_for_changes_nothing(images: torch.Tensor) -> None:
    still = Warp()
    torch.testing.assert_close(
        still.apply(images, still.draw(12, generator(0, 1, "augmentation"))), images, atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("name", NAMES)
def test_an_image_varies_with_seed_epoch_and_index_and_not_with_its_batch(name: str, images: torch.Tensor) -> None:
    vary = augmentation(name)
    numbers = vary.draw(12, generator(3, 2, "augmentation"))
    whole = vary.apply(images, numbers)
    order = torch.tensor([7, 2, 11])
    torch.testing.assert_close(vary.apply(images[order], numbers[order]), whole[order], atol=1e-6, rtol=0)
    assert torch.equal(vary.apply(images, vary.draw(12, generator(3, 2, "augmentation"))), whole)
    assert not torch.allclose(vary.apply(images, vary.draw(12, generator(3, 3, "augmentation"))), whole, atol=0.05)
    assert not torch.allclose(vary.apply(images, vary.draw(12, generator(4, 2, "augmentation"))), whole, atol=0.05)


def test_the_same_image_twice_is_varied_in_two_ways(images: torch.Tensor) -> None:
    vary = augmentation("drawings")
    one, other = vary.apply(images[:1].repeat(2, 1, 1, 1), vary.draw(2, generator(0, 1, "augmentation")))
    assert not torch.allclose(one, other, atol=0.05)


def test_a_longer_epoch_begins_with_the_numbers_of_a_shorter_one() -> None:
    vary = augmentation("affine")
    assert torch.equal(
        vary.draw(20, generator(1, 1, "augmentation"))[:5], vary.draw(5, generator(1, 1, "augmentation"))
    )
    assert vary.draw(5, generator(2**32 - 1, 100_000, "augmentation")).abs().max() <= 1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("light", [False, True], ids=["dark on light", "light on dark"])
def test_values_stay_between_zero_and_one(name: str, channels: int, light: bool, images: torch.Tensor) -> None:
    vary = augmentation(name)
    given = (1 - images if light else images)[:, :channels]
    for epoch in range(1, 6):
        varied = vary.apply(given, vary.draw(12, generator(0, epoch, "augmentation")))
        assert varied.shape == given.shape
        assert varied.dtype == torch.float32
        assert torch.isfinite(varied).all()
        assert 0 <= varied.min() <= varied.max() <= 1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("level", [0.0, 1.0], ids=["black", "white"])
def test_blank_paper_stays_blank(name: str, level: float) -> None:
    vary = augmentation(name)
    paper = torch.full((8, 1, 28, 28), level)
    varied = vary.apply(paper, vary.draw(8, generator(0, 1, "augmentation")))
    torch.testing.assert_close(varied, paper, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("light", [False, True], ids=["white paper", "black paper"])
def test_the_paper_around_a_drawing_keeps_its_colour(name: str, light: bool, images: torch.Tensor) -> None:
    drawing = torch.ones(6, 1, 28, 28)
    drawing[:, :, 9:19, 13:15] = 0
    given = 1 - drawing if light else drawing
    vary = augmentation(name)
    varied = vary.apply(given, vary.draw(6, generator(0, 1, "augmentation")))
    corners = varied[:, :, [0, 0, -1, -1], [0, -1, 0, -1]]
    torch.testing.assert_close(corners, torch.full_like(corners, 0.0 if light else 1.0), atol=1e-5, rtol=0)
    ink = varied.amax((1, 2, 3)) if light else 1 - varied.amin((1, 2, 3))
    assert ink.min() > 0.3


@pytest.mark.parametrize("name", [field.name for field in fields(Warp)])
def test_each_kind_of_variation_does_something_on_its_own(name: str, images: torch.Tensor) -> None:
    vary = Warp(**{name: True if name == "hflip" else 20.0 if name == "rotation" else 0.3})
    varied = vary.apply(images, vary.draw(12, generator(0, 1, "augmentation")))
    assert (varied - images).abs().max() > 0.05


def test_rotation_keeps_within_its_angle() -> None:
    # A bar that leans by the angle itself touches the same columns as the steepest of the varied ones.
    bar = torch.zeros(64, 1, 57, 57)
    bar[:, :, :, 28] = 1
    vary = Warp(rotation=12)
    varied = vary.apply(bar, vary.draw(64, generator(0, 1, "augmentation"))).squeeze(1).numpy()
    top = (varied[:, 8] * np.arange(57)).sum(1) / varied[:, 8].sum(1) - 28
    angles = np.degrees(np.arctan(top / 20))
    assert np.abs(angles).max() < 13
    assert np.abs(angles).max() > 9
    assert abs(angles.mean()) < 2.5


def test_mirroring_turns_about_half_of_the_images(images: torch.Tensor) -> None:
    vary = Warp(hflip=True)
    many = images[:1].repeat(200, 1, 1, 1)
    varied = vary.apply(many, vary.draw(200, generator(0, 1, "augmentation")))
    mirrored = sum(torch.allclose(image, images[0].flip(2), atol=1e-4) for image in varied)
    kept = sum(torch.allclose(image, images[0], atol=1e-4) for image in varied)
    assert mirrored + kept == 200
    assert 60 < mirrored < 140


SIZES = [(64, 32), (32, 64), (48, 48)]
COLUMN = {"rotation": 0, "scale": 1, "aspect": 2, "shear": 3, "right": 4, "down": 5, "hflip": 6}


def moved(vary: Warp, size: tuple[int, int], points: np.ndarray, **drawn: float) -> np.ndarray:
    """Return where points end, columns and rows from the centre of the image [N, 2]; `drawn` are the random numbers."""
    y, x = np.mgrid[: size[0], : size[1]] - (np.array(size).reshape(2, 1, 1) - 1) / 2
    far = np.square(x - points[:, :1, None]) + np.square(y - points[:, 1:, None])
    numbers = torch.zeros_like(vary.draw(1, generator(0, 1, "augmentation")))
    for name, number in drawn.items():
        numbers[:, COLUMN[name]] = number
    given = torch.from_numpy(np.exp(-far / 4)).float()[:, None]
    light = vary.apply(given, numbers.expand(len(points), -1)).squeeze(1).double().numpy()
    light /= light.sum((1, 2), keepdims=True)
    return np.stack([(light * x).sum((1, 2)), (light * y).sum((1, 2))], 1)


CROSS = np.array([(8, 0), (0, 8), (-8, 0), (0, -8), (6, 6), (-6, 6)], float)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("angle", [-40.0, 15.0, 90.0])
def test_a_rotation_turns_every_line_by_its_angle_and_keeps_its_length(size: tuple[int, int], angle: float) -> None:
    ends = moved(Warp(rotation=90), size, CROSS, rotation=angle / 90)
    turned = np.degrees(np.arctan2(ends[:, 1], ends[:, 0]) - np.arctan2(CROSS[:, 1], CROSS[:, 0]))
    np.testing.assert_allclose((turned + angle + 180) % 360 - 180, 0, atol=0.5)
    np.testing.assert_allclose(np.linalg.norm(ends, axis=1), np.linalg.norm(CROSS, axis=1), atol=0.05)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_scale_keeps_the_aspect_ratio_and_aspect_and_shear_are_those_of_the_pixels(size: tuple[int, int]) -> None:
    smaller = moved(Warp(scale=1, rotation=60), size, CROSS, scale=1, rotation=0.5)
    np.testing.assert_allclose(np.linalg.norm(smaller, axis=1), np.linalg.norm(CROSS, axis=1) / 2, atol=0.05)
    wide, tall = moved(Warp(aspect=1), size, CROSS[:2], aspect=-1)
    assert (wide[0] / 8, tall[1] / 8) == pytest.approx((math.sqrt(2), 1 / math.sqrt(2)), abs=0.01)
    across, upright = moved(Warp(shear=0.5), size, CROSS[:2], shear=1)
    np.testing.assert_allclose(across, (8, 0), atol=0.05)
    assert upright[0] / upright[1] == pytest.approx(-0.5, abs=0.01)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_shift_is_a_share_of_half_the_width_and_of_half_the_height(size: tuple[int, int]) -> None:
    (found,) = moved(Warp(shift=0.5), size, np.zeros((1, 2)), right=-0.5, down=-1)
    np.testing.assert_allclose(found, (size[1] / 8, size[0] / 4), atol=0.05)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_warp_goes_as_far_across_as_down(size: tuple[int, int]) -> None:
    vary = Warp(warp=0.1)
    numbers = vary.draw(300, generator(0, 1, "augmentation"))
    y, x = torch.meshgrid(torch.linspace(0, 1, size[0]), torch.linspace(0, 1, size[1]), indexing="ij")
    slopes = torch.stack([x, y]).expand(300, 2, *size)  # they show from how far a pixel was taken
    ways = (vary.apply(slopes, numbers) - slopes) * torch.tensor([size[1] - 1, size[0] - 1]).view(2, 1, 1)
    across, down = ways[:, :, 8:-8, 8:-8].square().mean((0, 2, 3)).sqrt().tolist()
    assert across == pytest.approx(down, rel=0.1)
    assert 0.2 < across / (0.1 * min(size) / 2) < 0.6


@pytest.mark.parametrize("name", ["affine", "digits", "drawings"])
def test_square_images_are_varied_as_by_one_matrix_in_shares_of_the_side(name: str, images: torch.Tensor) -> None:
    vary = augmentation(name)
    assert isinstance(vary, Warp)
    numbers = vary.draw(12, generator(5, 1, "augmentation"))
    angle, shear = numbers[:, 0] * math.radians(vary.rotation), numbers[:, 3] * vary.shear
    scale, aspect = (
        torch.exp(numbers[:, 1] * math.log1p(vary.scale)),
        torch.exp(numbers[:, 2] * math.log1p(vary.aspect) / 2),
    )
    across = scale * aspect * (torch.where(numbers[:, 6] < 0, -1.0, 1.0) if vary.hflip else 1)
    down, cos, sin = scale / aspect, angle.cos(), angle.sin()
    rows = [
        [cos * across, (shear * cos - sin) * down, numbers[:, 4] * vary.shift],
        [sin * across, (shear * sin + cos) * down, numbers[:, 5] * vary.shift],
    ]
    theta = torch.stack([torch.stack(row, 1) for row in rows], 1)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    if vary.warp:
        knots = numbers[:, 10:].reshape(-1, 2, 4, 4) * vary.warp
        field = F.interpolate(knots, size=images.shape[2:], mode="bicubic", align_corners=True)
        grid = grid + field.permute(0, 2, 3, 1)
    expected = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    geometry = replace(vary, stroke=0.0, blur=0.0, contrast=0.0)
    assert torch.equal(geometry.apply(images, numbers), expected.clamp(0, 1))

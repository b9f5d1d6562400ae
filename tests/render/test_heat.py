"""Heat: every value is drawn, once, in the colour of its size and sign."""

import io

import numpy as np
import pytest
from PIL import Image

from cnnkit.render import heat


def opened(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    assert image.format == "PNG"
    return image


def test_orange_is_above_zero_blue_below_and_black_at_zero() -> None:
    high, low, zero = heat.colour(np.array([0.6, -0.6, 0], np.float32), 1).astype(int)
    assert high[0] > high[1] > high[2]
    assert low[0] < low[1] < low[2]
    assert zero.max() < 16


def test_the_further_from_zero_the_lighter() -> None:
    values = np.linspace(-1, 1, 255, dtype=np.float32)
    brightness = heat.colour(values, 1).astype(float) @ [0.299, 0.587, 0.114]
    assert (np.diff(brightness[127:]) >= 0).all()
    assert (np.diff(brightness[:128]) <= 0).all()


def test_what_lies_beyond_the_limit_gets_the_last_colour_and_nothing_at_all_is_black() -> None:
    values = np.array([-9, -1, 1, 9], np.float32)
    colours = heat.colour(values, 1).tolist()
    assert colours[0] == colours[1]
    assert colours[2] == colours[3]
    assert heat.limit_of(np.zeros((2, 3, 3), np.float32)) == 0
    assert heat.colour(np.zeros(2, np.float32), 0).max() < 16


def test_a_few_outliers_leave_the_others_their_colours() -> None:
    values = np.ones(10_000, np.float32)
    values[:20] = 1000
    assert heat.limit_of(values) == 1
    late = np.zeros(10_000, np.float32)
    late[3] = -5
    assert heat.limit_of(late) == 5


def test_a_loss_that_does_not_count_is_not_made_to_look_like_much() -> None:
    assert heat.occlusion_limit(np.array([[0.3, -0.5]], np.float32)) == 0.5
    noise = np.array([[1e-6, -1e-7]], np.float32)
    assert heat.colour(noise, heat.occlusion_limit(noise)).max() < 16


def runs(opaque: np.ndarray) -> list[tuple[int, int]]:
    """Return start and end of what is not transparent along an axis."""
    edges = np.flatnonzero(np.diff(np.r_[0, opaque.astype(int), 0]))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]


@pytest.mark.parametrize(
    ("shape", "columns", "across", "down"),
    [
        ((1, 28, 28), None, 1, 1),
        ((6, 5, 4), None, 6, 1),
        ((24, 28, 28), None, 8, 3),
        ((11, 3, 2), None, 5, 3),
        ((64, 1, 1), None, 16, 4),
        ((6, 3, 3), 2, 2, 3),
        ((3, 600, 700), None, 3, 1),
    ],
)
def test_a_grid_holds_every_value_of_every_map_and_nothing_else(
    shape: tuple[int, int, int], columns: int | None, across: int, down: int
) -> None:
    maps = np.random.default_rng(0).normal(0, 1, shape).astype(np.float32)
    picture = np.asarray(opened(heat.grid(maps, limit=2, columns=columns)).convert("RGBA"))
    opaque = picture[..., 3] == 255
    rows, cells = runs(opaque.any(1)), runs(opaque.any(0))
    assert (len(rows), len(cells)) == (down, across)
    scale = (rows[0][1] - rows[0][0]) // shape[1]
    tiles = [picture[top:bottom, left:right] for top, bottom in rows for left, right in cells]
    for tile, values in zip(tiles, maps, strict=False):
        expected = heat.colour(values, 2).repeat(scale, 0).repeat(scale, 1)
        np.testing.assert_array_equal(tile[..., :3], expected)
    assert opaque.sum() == maps.size * scale**2


def test_kernels_of_three_channels_keep_their_colours() -> None:
    tiles = np.random.default_rng(0).integers(0, 256, (4, 3, 3, 3), np.uint8)
    picture = np.asarray(opened(heat.photos(tiles)))
    opaque = picture[..., 3] == 255
    (top, bottom), (left, right) = runs(opaque.any(1))[0], runs(opaque.any(0))[0]
    scale = (bottom - top) // 3
    np.testing.assert_array_equal(picture[top:bottom:scale, left:right:scale, :3], tiles[0])


@pytest.mark.parametrize("paper", [0, 255])
@pytest.mark.parametrize("channels", [1, 3])
def test_an_overlay_shows_the_image_and_where_the_values_are(paper: int, channels: int) -> None:
    pixels = np.full((28, 20, channels), paper, np.uint8)
    pixels[20:24, 4:8] = 255 - paper
    values = np.zeros((28, 20), np.float32)
    values[2:5, 12:15] = 3
    values[10:12, 12:15] = -3
    picture = np.asarray(opened(heat.overlay(pixels, values, limit=3, smooth=False))).astype(int)
    assert picture.shape == (448, 320, 3)
    (warm, cold, drawn, plain) = (picture[16 * y + 8, 16 * x + 8] for y, x in ((3, 13), (11, 13), (22, 6), (1, 1)))
    assert warm[0] > warm[2] + 20
    assert cold[2] > cold[0] + 20
    assert np.ptp(drawn) == np.ptp(plain) == 0
    assert abs(drawn - plain).min() > 50


def test_coarse_values_cover_the_whole_image_smoothly() -> None:
    values = np.array([[1, 0], [0, 0]], np.float32)
    picture = np.asarray(opened(heat.overlay(np.zeros((32, 32, 1), np.uint8), values, limit=1, smooth=True))).astype(
        int
    )
    assert picture[20, 20, 0] > picture[224, 224, 0] > picture[-20, -20, 0]
    assert np.abs(np.diff(picture[:, 100, 0])).max() < 8


def test_without_values_an_overlay_is_the_image_alone() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (28, 28, 1), np.uint8)
    picture = np.asarray(opened(heat.overlay(pixels, np.zeros((28, 28), np.float32), limit=0, smooth=True)))
    assert (np.ptp(picture, 2) == 0).all()

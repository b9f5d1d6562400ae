"""The drawn data set: the same everywhere, balanced, and told apart by eye."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnnkit.data.shapes import CLASSES, draw_shape, draw_shapes
from cnnkit.errors import UnknownNameError, UsageError
from tests.expecting import expect_error

GOLDEN = Path(__file__).parents[1] / "golden" / "shapes.png"


@pytest.fixture(scope="module")
def drawn() -> tuple[np.ndarray, np.ndarray]:
    return draw_shapes(60, seed=5)


def test_the_drawings_are_those_of_the_golden_file() -> None:
    images = draw_shapes(4, seed=0)[0]
    strip = np.concatenate(list(images), axis=1)
    if os.environ.get("CNNKIT_UPDATE_GOLDEN") == "1":
        Image.fromarray(strip).save(GOLDEN)
    assert GOLDEN.is_file(), f"{GOLDEN.name} is missing; CNNKIT_UPDATE_GOLDEN=1 writes it"
    with Image.open(GOLDEN) as golden:
        # Another machine's sine may differ in its last bit, and a pixel then by one.
        assert np.abs(np.asarray(golden, np.int16) - strip).max() <= 1


def test_a_seed_repeats_its_drawings_and_another_gives_others(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    np.testing.assert_array_equal(draw_shapes(60, seed=5)[0], drawn[0])
    other = draw_shapes(60, seed=6)[0]
    assert not any(np.array_equal(a, b) for a, b in zip(drawn[0], other, strict=True))


@pytest.mark.parametrize("per_class", [0, 1, 7])
def test_a_longer_set_begins_with_a_shorter_one(per_class: int, drawn: tuple[np.ndarray, np.ndarray]) -> None:
    images, labels = draw_shapes(per_class, seed=5)
    assert images.shape == (3 * per_class, 28, 28, 3)
    np.testing.assert_array_equal(images, drawn[0][: 3 * per_class])
    np.testing.assert_array_equal(labels, drawn[1][: 3 * per_class])


def test_the_classes_are_balanced_and_interleaved(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    images, labels = drawn
    assert (images.dtype, labels.dtype) == (np.uint8, np.int64)
    assert np.bincount(labels).tolist() == [60, 60, 60]
    assert labels[:4].tolist() == [0, 1, 2, 0]


def test_no_two_drawings_are_the_same(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    assert len({image.tobytes() for image in drawn[0]}) == 180


def test_drawings_are_dark_ink_on_light_paper(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    grey = drawn[0].mean(3)
    assert np.median(grey, axis=(1, 2)).min() > 200
    assert grey.min((1, 2)).max() < 190
    ink = (grey < 180).mean((1, 2))
    assert 0.01 < ink.min() <= ink.max() < 0.5


def hull(points: np.ndarray) -> np.ndarray:
    """The convex hull of points [N, 2], by Andrew's monotone chain."""

    def chain(ordered: list[tuple[float, float]]) -> list[tuple[float, float]]:
        found: list[tuple[float, float]] = []
        for x, y in ordered:
            while len(found) > 1:
                (ax, ay), (bx, by) = found[-2:]
                if (bx - ax) * (y - ay) > (by - ay) * (x - ax):
                    break
                found.pop()
            found.append((x, y))
        return found[:-1]

    ordered = sorted(map(tuple, points.tolist()))
    return np.array(chain(ordered) + chain(ordered[::-1]))


def fullness(image: np.ndarray) -> float:
    """How much of the tightest turned rectangle the shape fills: a triangle half, a circle 79%, a square all."""
    outline = hull(np.argwhere(image.mean(2) < 150).astype(float))
    x, y = outline.T
    area = abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)) / 2
    angles = np.radians(np.arange(0, 90, 3))
    turned = [outline @ np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]) for a in angles]
    return area / min(float(np.prod(np.ptp(points, axis=0))) for points in turned)


def test_the_classes_differ_as_circles_squares_and_triangles_do(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    images, labels = drawn
    circles, squares, triangles = (
        np.median([fullness(image) for image in images[labels == label]]) for label in range(3)
    )
    assert triangles < 0.66 < circles < 0.84 < squares


def test_one_drawing_is_an_rgb_image() -> None:
    image = draw_shape("squares", np.random.default_rng(0))
    assert (image.mode, image.size) == ("RGB", (28, 28))


def test_every_class_can_be_drawn_and_no_other() -> None:
    assert CLASSES == ("circles", "squares", "triangles")
    with expect_error(UnknownNameError, "circle", "circles"):
        draw_shape("circle", np.random.default_rng(0))


@pytest.mark.parametrize(("per_class", "seed"), [(-1, 0), (1, -1)])
def test_negative_numbers_are_refused(per_class: int, seed: int) -> None:
    with expect_error(UsageError):
        draw_shapes(per_class, seed=seed)

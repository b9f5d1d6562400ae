"""Corruptions: what each does, that more is worse, and that the same is always the same."""

import io

import numpy as np
import pytest
from PIL import Image

from cnnkit.robustness.corruptions import KINDS, SEVERITIES, corrupt
from cnnkit.robustness.results import CORRUPTIONS, CorruptionName

SHAPES = [(28, 28, 1), (9, 14, 3), (1, 1, 1), (2, 5, 3)]


def pictures(shape: tuple[int, int, int], count: int = 4) -> np.ndarray:
    """Soft blobs, light on a darker ground."""
    source = np.random.default_rng(0)
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]]
    centres = source.uniform(0.3, 0.7, (count, 2, 1, 1)) * np.array(shape[:2]).reshape(1, 2, 1, 1)
    far = np.square((y - centres[:, 0]) / shape[0]) + np.square((x - centres[:, 1]) / shape[1])
    return np.repeat(60 + 140 * np.exp(-far * 30), shape[2]).reshape(count, *shape).astype(np.uint8)


def at(images: np.ndarray, name: CorruptionName, severity: float, *, seed: int = 0) -> np.ndarray:
    return corrupt(images, name, np.full(len(images), severity), range(len(images)), seed)


def difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(float) - b).mean())


def test_all_have_five_severities_that_rise_or_fall() -> None:
    assert tuple(KINDS) == CORRUPTIONS
    for kind in KINDS.values():
        assert len(kind.amounts) == SEVERITIES + 1
        steps = np.diff(kind.amounts)
        assert (steps > 0).all() or (steps < 0).all()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_images_of_any_size_stay_images_of_that_size(name: CorruptionName, shape: tuple[int, int, int]) -> None:
    images = pictures(shape)
    before = images.copy()
    for severity in (0.01, 2.5, 5):
        changed = at(images, name, severity)
        assert (changed.shape, changed.dtype) == (images.shape, np.uint8)
    np.testing.assert_array_equal(images, before)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_severity_0_is_nothing_and_more_is_more(name: CorruptionName) -> None:
    images = pictures((28, 28, 1))
    np.testing.assert_array_equal(at(images, name, 0), images)
    changes = [difference(at(images, name, severity), images) for severity in range(1, SEVERITIES + 1)]
    assert changes == sorted(changes)
    assert changes[0] > 0


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_an_image_meets_the_same_fate_alone_and_among_others(name: CorruptionName) -> None:
    images, severities = pictures((12, 10, 3)), np.array([0.5, 0, 3.25, 5])
    together = corrupt(images, name, severities, [4, 5, 6, 7], 3)
    for place in range(4):
        alone = corrupt(images[place : place + 1], name, severities[place : place + 1], [4 + place], 3)
        np.testing.assert_array_equal(alone[0], together[place])


@pytest.mark.parametrize("name", ["noise", "rotation", "shift", "elastic"])
def test_what_is_random_depends_on_seed_and_number(name: CorruptionName) -> None:
    images = np.repeat(pictures((28, 28, 1), 1), 40, 0)
    changed = at(images, name, 3)
    assert len(np.unique(changed, axis=0)) > 1
    assert difference(changed, at(images, name, 3, seed=1)) > 0


def test_noise_has_the_deviation_that_it_says() -> None:
    images = np.full((8, 40, 40, 1), 128, np.uint8)
    assert (at(images, "noise", 2).astype(float) - 128).std() == pytest.approx(25.5, rel=0.03)


def test_contrast_shrinks_towards_the_mean_of_the_image_and_brightness_is_added() -> None:
    image = np.array([0, 100, 200, 100], np.uint8).reshape(1, 2, 2, 1)
    assert at(image, "contrast", 2).ravel().tolist() == [50, 100, 150, 100]
    assert at(image, "brightness", 5).ravel().tolist() == [128, 228, 255, 228]
    assert at(image, "brightness", 1.5).ravel().tolist() == [38, 138, 238, 138]  # between 0.1 and 0.2


@pytest.mark.parametrize(("severity", "quality"), [(1, 40), (4, 10), (5, 5), (0.5, 70)])
def test_jpeg_is_that_of_pillow(severity: float, quality: int) -> None:
    images = pictures((16, 24, 3), 1)
    content = io.BytesIO()
    Image.fromarray(images[0]).save(content, "JPEG", quality=quality)
    with Image.open(content) as expected:
        np.testing.assert_array_equal(at(images, "jpeg", severity)[0], np.asarray(expected))


def test_blur_keeps_the_light_and_takes_the_edges() -> None:
    image = np.zeros((1, 28, 28, 1), np.uint8)
    image[0, 10:18, 10:18] = 200
    blurred = at(image, "blur", 3)
    assert blurred.mean() == pytest.approx(image.mean(), rel=0.03)
    assert np.abs(np.diff(blurred[0, 14, :, 0].astype(int))).max() < 100


def centre(image: np.ndarray) -> np.ndarray:
    light = image[..., 0] / image.sum()
    return np.array([light.sum(1) @ np.arange(image.shape[0]), light.sum(0) @ np.arange(image.shape[1])])


def dots(row: int, column: int, count: int = 50) -> np.ndarray:
    images = np.zeros((count, 41, 41, 1), np.uint8)
    images[:, row - 1 : row + 2, column - 1 : column + 2] = 240
    return images


def test_a_shift_moves_by_its_length_in_all_directions() -> None:
    moved = np.array([centre(image) for image in at(dots(20, 20), "shift", 5)]) - 20
    np.testing.assert_allclose(np.linalg.norm(moved, axis=1), 0.2 * 41, atol=0.1)
    assert (moved.max(0) > 7).all()
    assert (moved.min(0) < -7).all()


def test_a_rotation_turns_about_the_centre_either_way() -> None:
    moved = np.array([centre(image) for image in at(dots(20, 34), "rotation", 3)]) - 20
    angles = np.degrees(np.arctan2(moved[:, 0], moved[:, 1]))
    np.testing.assert_allclose(np.abs(angles), 30, atol=0.5)
    assert set(np.sign(angles)) == {-1, 1}
    np.testing.assert_allclose(np.linalg.norm(moved, axis=1), 14, atol=0.1)


@pytest.mark.parametrize("size", [(64, 32), (32, 64)], ids=str)
def test_on_narrow_images_rotations_keep_angles_and_lengths_are_shares_of_the_shorter_side(
    size: tuple[int, int],
) -> None:
    middle = (np.array(size) - 1) / 2
    for way in ((8, 0), (0, 8), (6, -6)):
        images = np.zeros((20, *size, 1), np.uint8)
        row, column = (round(float(place)) for place in middle + way)
        images[:, row - 1 : row + 2, column - 1 : column + 2] = 240
        before = centre(images[0]) - middle
        after = np.array([centre(image) for image in at(images, "rotation", 3)]) - middle
        turned = np.degrees(np.arctan2(after[:, 0], after[:, 1]) - np.arctan2(before[0], before[1]))
        np.testing.assert_allclose(np.abs((turned + 180) % 360 - 180), 30, atol=0.5)
        np.testing.assert_allclose(np.linalg.norm(after, axis=1), np.linalg.norm(before), atol=0.1)
        ways = np.array([centre(image) for image in at(images, "shift", 4)]) - middle - before
        np.testing.assert_allclose(np.linalg.norm(ways, axis=1), 0.16 * 32, atol=0.1)


@pytest.mark.parametrize("size", [(64, 32), (32, 64)], ids=str)
def test_an_elastic_deformation_goes_as_far_across_as_down(size: tuple[int, int]) -> None:
    y, x = (np.linspace(0, 255, side).astype(np.uint8) for side in size)
    slopes = np.stack(np.broadcast_arrays(x, y[:, None]), -1)[None].repeat(30, 0)
    slopes = np.concatenate([slopes, slopes[..., :1]], -1)
    ways = (at(slopes, "elastic", 3).astype(float) - slopes)[:, 5:-5, 5:-5]
    across, down = (np.sqrt(np.square(ways[..., axis] / (255 / (size[1 - axis] - 1))).mean()) for axis in (0, 1))
    assert across == pytest.approx(down, rel=0.15)
    assert np.hypot(across, down) == pytest.approx(0.045 * 32, rel=0.25)


def test_what_comes_in_from_outside_is_the_edge() -> None:
    image = np.full((20, 20, 20, 3), 77, np.uint8)
    for name in ("shift", "rotation", "elastic"):
        np.testing.assert_array_equal(at(image, name, 5), image)


def test_an_elastic_deformation_moves_neighbours_together() -> None:
    image = np.zeros((1, 60, 60, 1), np.uint8)
    image[0] = np.linspace(0, 255, 60).astype(np.uint8)[None, :, None]  # a slope shows how far pixels went
    ways = (at(image, "elastic", 3)[0, ..., 0].astype(float) - image[0, ..., 0]) / (255 / 59)
    inner = ways[5:-5, 5:-5]
    assert 0.5 * 0.045 * 60 < np.sqrt(2 * np.square(inner).mean()) < 1.5 * 0.045 * 60
    assert np.abs(np.diff(inner, axis=0)).mean() < 0.5 * np.abs(inner).mean()

"""From arrays back to image files: read again, they are what they were."""

import numpy as np
import pytest

from cnnkit.pictures import as_picture, decode, encoded


@pytest.mark.parametrize(("shape", "mode"), [((3, 5), "L"), ((3, 5, 1), "L"), ((3, 5, 3), "RGB")])
def test_a_png_holds_every_pixel(shape: tuple[int, ...], mode: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    assert as_picture(pixels).mode == mode
    for compression in (1, 6, 9):
        found = np.asarray(decode(encoded(pixels, compression=compression))[0])
        np.testing.assert_array_equal(found, pixels.reshape(found.shape))


def test_a_jpeg_is_smaller_and_close() -> None:
    smooth = np.linspace(0, 255, 96 * 96 * 3).reshape(96, 96, 3).astype(np.uint8)
    content = encoded(smooth, "JPEG")
    assert content[:2] == b"\xff\xd8"
    assert len(content) < len(encoded(np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)))
    assert np.abs(np.asarray(decode(content)[0]).astype(int) - smooth).mean() < 8

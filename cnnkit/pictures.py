"""The way back from arrays to image files; `cnnkit.images` is the way there."""

import io
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def as_picture(pixels: NDArray[np.uint8]) -> Image.Image:
    """Return pixels, uint8 [H, W], [H, W, 1] or [H, W, 3], as a picture, grey or RGB."""
    return Image.fromarray(pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels)


def encoded(pixels: NDArray[np.uint8], kind: Literal["PNG", "JPEG"] = "PNG", *, compression: int = 6) -> bytes:
    """Return the same as the content of an image file; `compression` of a PNG, 1 is quickest and 9 smallest."""
    file = io.BytesIO()
    as_picture(pixels).save(file, kind, quality=90, compress_level=compression)
    return file.getvalue()

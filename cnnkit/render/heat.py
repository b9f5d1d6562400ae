"""Numbers as colours: orange above zero, blue below, black at zero, the same in every picture. No matplotlib."""

import io
from math import ceil, sqrt

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cnnkit.pictures import Pixels, as_picture, encoded

Floats = NDArray[np.float32]

_DISPLAY = 448
"""Pixels of the longer side of a picture for the eye."""
_GRID_WIDTH = 960
_OPACITY = 0.88

LEAST_LOSS = 0.01
"""Of probability, that is worth the brightest colour."""

_ZERO, _GAP = 127, 255
# From the lowest value over zero to the highest, each part even in lightness to the eye.
_ANCHORS = ((214, 236, 255), (74, 151, 226), (24, 60, 112), (8, 9, 12), (118, 46, 10), (240, 128, 36), (255, 240, 205))


def _colours() -> Pixels:
    places = np.linspace(0, 2 * _ZERO, len(_ANCHORS))
    channels = [np.interp(np.arange(2 * _ZERO + 1), places, values) for values in zip(*_ANCHORS, strict=True)]
    return np.round(np.stack(channels, 1)).astype(np.uint8)


_COLOURS = _colours()
"""Of the numbers -127 … 127, which stand at 0 … 254."""


def limit_of(values: Floats) -> float:
    """Return the magnitude that gets the brightest colour; a few outliers may lie beyond it. Zero for nothing."""
    magnitudes = np.abs(values)
    # Where almost all is zero, as in the maps of a late layer, the quantile is too.
    return float(np.quantile(magnitudes, 0.995)) or float(magnitudes.max())


def occlusion_limit(values: Floats) -> float:
    """Return the same for what occlusion costs: the largest, but no less than counts, lest noise look like much."""
    return max(float(np.abs(values).max()), LEAST_LOSS)


def levels(values: Floats, limit: float) -> Pixels:
    """Return the number of the colour of each value, uint8 in 0 … 254."""
    shares = np.clip(values / limit, -1, 1) if limit > 0 else np.zeros_like(values)
    return np.asarray(np.round(_ZERO + _ZERO * shares), np.uint8)


def colour(values: Floats, limit: float) -> Pixels:
    """Return values [...] as colours, uint8 [..., 3]."""
    return _COLOURS[levels(values, limit)]


def grid(tiles: Floats, *, limit: float, columns: int | None = None) -> bytes:
    """Draw maps [N, h, w] side by side, every value a square, with a transparent line between them; return a PNG.

    Args:
        tiles: the maps.
        limit: the magnitude of the brightest colour, the same for all of them.
        columns: None for about twice as wide as high.
    """
    columns = columns or _columns(len(tiles))
    return _png(_arranged(levels(tiles, limit), columns, gap=_GAP))


def photos(tiles: Pixels) -> bytes:
    """Draw colour images [N, h, w, 3] as `grid` does; return a PNG."""
    opaque = np.concatenate([tiles, np.full_like(tiles[..., :1], 255)], 3)
    return encoded(_arranged(opaque, _columns(len(tiles)), gap=0))


def overlay(pixels: Pixels, values: Floats, *, limit: float, smooth: bool) -> bytes:
    """Draw values [h, w] over the image that they speak of, uint8 [H, W, C], large enough for the eye; return a PNG.

    The image is grey and dim, so that the colours are seen on dark and on light ones alike.

    Args:
        pixels: the image.
        values: of any size; they cover the image as a whole.
        limit: the magnitude of the brightest colour.
        smooth: whether values blend into each other, as where each speaks for more than a pixel.
    """
    height, width = pixels.shape[:2]
    scale = max(1, round(_DISPLAY / max(height, width)))
    size = width * scale, height * scale
    way = Image.Resampling.BICUBIC if smooth else Image.Resampling.NEAREST
    large = np.asarray(Image.fromarray(np.asarray(values, np.float32)).resize(size, way))
    share = np.clip(np.abs(large) / limit, 0, 1) if limit > 0 else np.zeros_like(large)
    base = np.asarray(grey(pixels).resize(size, Image.Resampling.NEAREST), np.float32) * 0.38 + 26
    opacity = _OPACITY * share[..., None] ** 0.75
    blended = base[..., None] * (1 - opacity) + colour(large, limit) * opacity
    return encoded(np.round(blended).astype(np.uint8))


def legend() -> bytes:
    """Draw all colours from the lowest to the highest, 255×12 pixels; return a PNG."""
    return encoded(np.broadcast_to(_COLOURS, (12, *_COLOURS.shape)))


def grey(pixels: Pixels) -> Image.Image:
    """Return uint8 [H, W, C] as a grey image."""
    return as_picture(pixels).convert("L")


def _columns(count: int) -> int:
    """Return how many tiles fit in a row: without a rest where that gives a good shape."""
    wanted = sqrt(2 * count)
    even = [number for number in range(1, count + 1) if count % number == 0 and 0.9 * wanted <= number <= 2 * wanted]
    return even[0] if even else min(count, ceil(wanted))


def _arranged(tiles: Pixels, columns: int, *, gap: int) -> Pixels:
    """Put tiles [N, h, w, …] into rows, enlarged by a whole number."""
    count, height, width = tiles.shape[:3]
    rows = ceil(count / columns)
    scale = max(1, _GRID_WIDTH // (columns * width))
    scale = min(scale, 16) if columns > 1 else scale
    large = tiles.repeat(scale, 1).repeat(scale, 2)
    line = 1 if scale == 1 else max(2, scale // 3)
    step = height * scale + line, width * scale + line
    picture = np.full((rows * step[0] - line, columns * step[1] - line, *tiles.shape[3:]), gap, np.uint8)
    for index, tile in enumerate(large):
        top, left = index // columns * step[0], index % columns * step[1]
        picture[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    return picture


def _png(numbers: Pixels) -> bytes:
    image = Image.fromarray(numbers)
    image.putpalette([*_COLOURS.ravel().tolist(), 0, 0, 0])
    content = io.BytesIO()
    image.save(content, "PNG", transparency=_GAP)
    return content.getvalue()

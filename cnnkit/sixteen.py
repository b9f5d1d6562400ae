"""Colour images of 16 bits a channel. numpy and Pillow only.

Pillow has no mode for them and keeps the upper 8 bits of each value, which are nearly black where a file holds 12 bits.
A file that is decoded again with the order of its bytes swapped gives the lower 8 bits.
"""

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

BITS_PER_SAMPLE, PHOTOMETRIC, _PLANAR, SAMPLE_FORMAT = 258, 262, 284, 339
"""Tags of TIFF."""

_OTHER_BYTE = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
_READ = ("RGB;16", "RGBX;16", "RGBA;16", "R;16", "G;16", "B;16", "A;16")


def is_sixteen_bit(image: Image.Image) -> bool:
    """Tell whether an opened file holds colours of 16 bits, of which Pillow keeps 8; a PNG must not be loaded yet."""
    if image.mode not in {"RGB", "RGBA", "CMYK"}:
        return False
    if image.format == "TIFF":
        bits = tag(image, BITS_PER_SAMPLE)
        return bits is not None and 16 in bits
    return image.format == "PNG" and any(";16" in _raw_mode(tile) for tile in _tiles(image))


def load_upper(image: Image.Image) -> None:
    """Load such an image with the upper 8 bits of each value."""
    # Pillow reads uncompressed planes as if they had 8 bits.
    _set(image, [_of_planes(image, _raw_mode(tile)) for tile in _tiles(image)])
    image.load()


def values(image: Image.Image, again: Image.Image) -> NDArray[np.uint16] | None:
    """Return all 16 bits of a file's values, uint16 [H, W, C] with C from 2, grey and alpha, to 4.

    Args:
        image: the file, opened and not loaded; it is loaded.
        again: the same file, opened once more.

    Returns:
        None where Pillow does not give the lower 8 bits of its kind; then `image` has the upper ones.
    """
    raw = [_of_planes(image, _raw_mode(tile)) for tile in _tiles(image)]
    if raw == ["LA;16B"]:
        # The four bytes of grey and alpha, taken for four channels.
        _set(image, ["RGBA"])
        content = np.asarray(image)
        return _together(content[..., ::2], content[..., 1::2])
    load_upper(image)
    planes_by_libtiff = tag(image, _PLANAR) == 2 and any(tile.codec_name == "libtiff" for tile in _tiles(again))
    if not raw or planes_by_libtiff or not all(mode.startswith(_READ) for mode in raw):
        return None
    _set(again, [mode[:-1] + _OTHER_BYTE[mode[-1]] for mode in raw])
    return _together(np.asarray(image), np.asarray(again))


def _together(upper: NDArray[np.uint8], lower: NDArray[np.uint8]) -> NDArray[np.uint16]:
    result = np.empty(upper.shape, "<u2")
    halves = result.view(np.uint8).reshape(*upper.shape, 2)
    halves[..., 0], halves[..., 1] = lower, upper
    return result.astype(np.uint16, copy=False)


def _tiles(image: Image.Image) -> list[Any]:
    return getattr(image, "tile", [])


def tag(image: Image.Image, number: int) -> Any:
    """Return what a tag of TIFF holds; None where there is none, or no TIFF."""
    return image.tag_v2.get(number) if hasattr(image, "tag_v2") else None


def _raw_mode(tile: Any) -> str:
    first = tile.args if isinstance(tile.args, str) else tile.args[0] if tile.args else ""
    return first if isinstance(first, str) else ""


def _of_planes(image: Image.Image, raw_mode: str) -> str:
    if image.format == "TIFF" and raw_mode in set("RGBA") and hasattr(image, "tag_v2"):
        return f"{raw_mode};16{'L' if image.tag_v2.prefix == b'II' else 'B'}"
    return raw_mode


def _set(image: Image.Image, raw_modes: list[str]) -> None:
    pairs = zip(_tiles(image), raw_modes, strict=True)
    image.tile = [  # type: ignore[attr-defined] # of a file
        tile._replace(args=mode if isinstance(tile.args, str) else (mode, *tile.args[1:])) for tile, mode in pairs
    ]

"""How a picture of one size becomes one of another. numpy and Pillow only."""

from typing import Literal

import numpy as np
from PIL import Image

from cnnkit.resampling import Box, resized

Fit = Literal["stretch", "contain", "cover", "mnist-box"]
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos", "box"]

RESAMPLING: dict[Interpolation, Image.Resampling] = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
}

_LONGEST = 1 << 15
"""Side in pixels of an image that is resized as it is."""


def _resampled(image: Image.Image, size: tuple[int, int], way: Interpolation, box: Box | None = None) -> Image.Image:
    if max(image.size) > _LONGEST:  # averaged first: such narrow images would take Pillow a gigabyte
        across, down = (-(-side // _LONGEST) for side in image.size)
        box = box and (box[0] / across, box[1] / down, box[2] / across, box[3] / down)
        image = image.reduce((across, down))
    return resized(image, size, RESAMPLING[way], box)


def stretched(image: Image.Image, size: tuple[int, int], way: Interpolation) -> Image.Image:
    """Return an image at a width and height, whatever its aspect ratio was."""
    return image if image.size == size else _resampled(image, size, way)


def contained(image: Image.Image, size: tuple[int, int], way: Interpolation) -> Image.Image:
    """Return the whole image within a width and height, padded with the colour of its border."""
    (width, height), (to_width, to_height) = image.size, size
    if width * to_height == height * to_width:
        return stretched(image, size, way)
    # A side of a narrow image would round to 0.
    if width * to_height > height * to_width:
        scaled = to_width, max(1, round(height / width * to_width))
    else:
        scaled = max(1, round(width / height * to_height)), to_height
    whole = _resampled(image, scaled, way)
    if scaled == size:
        return whole
    pixels = np.asarray(image)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    colour = tuple(int(value) for value in np.atleast_1d(np.quantile(border, 0.5, axis=0)))
    padded = Image.new(image.mode, size, colour if len(colour) > 1 else colour[0])
    padded.paste(whole, (round((to_width - scaled[0]) / 2), round((to_height - scaled[1]) / 2)))
    return padded


def covered(
    image: Image.Image, size: tuple[int, int], way: Interpolation, crop: float, resize: int | None
) -> tuple[Image.Image, float]:
    """Return the centre of an image at a width and height, and the share of the image's area that it shows.

    Args:
        image: of any size.
        size: width and height of the result.
        way: the filter.
        crop: share of each side that is kept after the aspect ratio is right.
        resize: side that the shorter side of the image gets before the centre is cut out; None goes by `crop`.
    """
    box = _centre(image.size, size, crop) if resize is None else _centre_of_resized(image.size, size, resize)
    left, top, right, bottom = box
    kept = (right - left) * (bottom - top) / (image.width * image.height)
    # Resizing a part makes the pixels of the whole: the filter still reaches over the edges of the part.
    return _resampled(image, size, way, box), kept


def size_before_crop(size: tuple[int, int], resize: int) -> tuple[int, int]:
    """Return the width and height of an image once its shorter side is `resize`, rounded as torchvision does.

    >>> size_before_crop((500, 375), 256)
    (341, 256)
    """
    width, height = size
    longer = int(resize * max(size) / min(size))
    return (resize, longer) if width <= height else (longer, resize)


def _centre_of_resized(size: tuple[int, int], to: tuple[int, int], resize: int) -> Box:
    """Return the part that torchvision's `Resize` and `CenterCrop` show, in pixels before the resizing."""
    between = size_before_crop(size, resize)
    starts = [round((whole - part) / 2) for whole, part in zip(between, to, strict=True)]
    left, right = (at * size[0] / between[0] for at in (starts[0], starts[0] + to[0]))
    top, bottom = (at * size[1] / between[1] for at in (starts[1], starts[1] + to[1]))
    return left, top, right, bottom


def _centre(size: tuple[int, int], to: tuple[int, int], crop: float) -> Box:
    # Shorter side to size/crop, then the centre, to fractions of a pixel.
    margin = (1 - crop) / 2
    left, top = margin * size[0], margin * size[1]
    width, height = size[0] - left * 2, size[1] - top * 2
    wanted = to[0] / to[1]
    ratio = width / height if height else wanted
    if ratio > wanted:
        left, width = left + (width - wanted * height) * 0.5, wanted * height
    elif ratio < wanted:
        top, height = top + (height - width / wanted) * 0.5, width / wanted
    if min(width, height) < 1:  # as of a narrow image: one pixel at least is taken
        left, top = min(left, (size[0] - 1) / 2), min(top, (size[1] - 1) / 2)
        width, height = max(width, 1), max(height, 1)
    return left, top, left + width, top + height

"""One drawn symbol on a plain ground: find the ink, and put it in the box that MNIST's digits stand in.

MNIST's images are light on black, scaled into a 20×20 box with the aspect ratio kept, and shifted so that the centre
of mass is the centre of 28×28 (LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document
recognition", 1998). People draw dark on white, thin, small and off-centre.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from cnnkit.cautions import Caution
from cnnkit.resampling import resized

SHAPE = (28, 28)
"""Height and width of a boxed symbol in pixels."""

_BOX = 20
_CENTRE = 14.0
# Strokes thinner than this share of the box fade when scaled down; MNIST's own are about an eighth.
_MIN_STROKE = 1.9 / _BOX
# Large drawings are first reduced to this side in pixels: all that follows costs time by the pixel.
_WORKING_SIDE = 400

_TOGETHER = 8
"""Images from which on one call for all costs less than one for each."""

Grey = NDArray[np.uint8]
Ink = NDArray[np.float32]


def is_boxed(images: Grey) -> NDArray[np.bool_]:
    """Tell which images, uint8 [N, H, W], already are light symbols on black, boxed and centred; bool [N]."""
    if images.shape[1:] != SHAPE:
        return np.zeros(len(images), bool)
    marked = np.greater(images, 0)
    (top, height), (left, width) = _extent(np.asarray(marked.any(axis=2))), _extent(np.asarray(marked.any(axis=1)))
    side = np.maximum(height, width)
    # Scale 1 and a shift of less than half a pixel: boxing such an image again would change nothing.
    centred = _stays(images.sum(2, dtype=np.float64), top, height, side)
    centred &= _stays(images.sum(1, dtype=np.float64), left, width, side)
    return np.asarray(centred & ((side == _BOX) | (side == _BOX - 1)))


_MOMENTS = np.stack([np.ones(SHAPE), *np.mgrid[: SHAPE[0], : SHAPE[1]]]).reshape(3, -1).astype(np.float32)
"""What the values of an image are multiplied by and summed up: for its mass, and the moments by row and by column."""


def _is_boxed(image: Grey) -> bool:
    """Tell what `is_boxed` does of one image, uint8 [28, 28], with a few of the calls: each takes a microsecond."""
    values, width = image.tobytes(), SHAPE[1]
    top = (len(values) - len(values.lstrip(b"\0"))) // width
    height = -(-len(values.rstrip(b"\0")) // width) - top
    marked = [column for column in range(width) if values[column::width].strip(b"\0")]
    if not marked:
        return False
    left, wide = marked[0], marked[-1] - marked[0] + 1
    side = max(height, wide)
    if side not in {_BOX, _BOX - 1}:
        return False
    # Whole numbers below 2²⁴, so that the sums are exact.
    mass, down, across = (_MOMENTS @ image.reshape(-1).astype(np.float32)).tolist()
    return _stays_put(down / mass - _CENTRE, top, height, side) and _stays_put(
        across / mass - _CENTRE, left, wide, side
    )


def _stays_put(off: float, first: int, extent: int, side: int) -> bool:
    """Tell what `_stays` does of one image, whose centre of mass is off the middle by so much."""
    faded = _BOX - side if extent == side else 0
    if abs(off) <= 0.5 + 1e-9:
        return True
    return first <= faded if off > 0 else first + extent >= SHAPE[0] - faded


def _stays(
    ink: NDArray[np.float64], first: NDArray[np.int64], extent: NDArray[np.int64], side: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Tell where ink by row or column, [N, 28], is centred by mass, or as near to it as the canvas allows; bool [N]."""
    with np.errstate(invalid="ignore", divide="ignore"):
        off = ink @ np.arange(28, dtype=np.float64) / ink.sum(1) - _CENTRE
    # The outermost line of the box may have faded to black.
    faded = np.where(extent == side, _BOX - side, 0)
    at_start, at_end = first <= faded, first + extent >= ink.shape[1] - faded
    return np.asarray((np.abs(off) <= 0.5 + 1e-9) | ((off > 0) & at_start) | ((off < 0) & at_end))


def is_light_on_dark(grey: Grey) -> bool:
    """Tell whether the ink of a drawing, uint8 [H, W], is lighter than the ground that its border shows."""
    edges = grey[0].tobytes() + grey[-1].tobytes() + grey[:, 0].tobytes() + grey[:, -1].tobytes()
    ground = sorted(edges)[len(edges) // 2]
    if not ground:  # nothing can be darker
        return True
    difference = grey.astype(np.float32) - ground
    strength = np.abs(difference)
    strong = strength > 0.4 * strength.max()
    return bool(difference[strong].sum() >= 0)


def box(image: Grey, *, recolour: bool) -> tuple[Grey, list[str]]:
    """Bring a drawing to MNIST's form.

    Args:
        image: uint8 [H, W] or [H, W, 3].
        recolour: take whatever differs from the ground as ink; otherwise only what is lighter.

    Returns:
        uint8 [28, 28], light on black, and what was done.
    """
    return box_all([image], recolour=recolour)[0]


def box_all(images: Sequence[Grey], *, recolour: bool) -> list[tuple[Grey, list[str]]]:
    """Do what `box` does to drawings of any sizes, faster where most are boxed already."""
    greys = [np.asarray(Image.fromarray(image).convert("L")) if image.ndim == 3 else image for image in images]
    inverted = [recolour and not is_light_on_dark(grey) for grey in greys]
    plain = [255 - grey if dark else grey for grey, dark in zip(greys, inverted, strict=True)]
    # In 28×28 the calls cost more than the pixels, so several are looked at together.
    fitting = [index for index, grey in enumerate(plain) if grey.shape == SHAPE]
    if len(fitting) < _TOGETHER:
        boxed = {index for index in fitting if _is_boxed(plain[index])}
    else:
        marks = is_boxed(np.stack([plain[index] for index in fitting]))
        boxed = {index for index, mark in zip(fitting, marks, strict=True) if mark}
    return [
        (plain[index], ["inverted"] * inverted[index])
        if index in boxed
        else _box(image, recolour, ["inverted"] * inverted[index])
        for index, image in enumerate(images)
    ]


def _box(image: Grey, recolour: bool, steps: list[str]) -> tuple[Grey, list[str]]:
    drawing, stroke = _find_ink(image, recolour)
    if drawing is None:
        return np.zeros(SHAPE, np.uint8), [Caution("blank: nothing is drawn on it", "the picture is blank")]
    if stroke < _MIN_STROKE:
        drawing = _thicken(drawing, stroke)
        steps.append("thin strokes thickened")
    steps.append("cropped to the ink, boxed to 20×20, centred by mass")
    return _centre(_scale(drawing)), steps


def _find_ink(image: Grey, recolour: bool) -> tuple[Ink | None, float]:
    """Return the ink in [0, 1], cropped to itself, and its mean stroke width as a share of the longer side."""
    picture = Image.fromarray(image)
    if max(picture.size) > _WORKING_SIDE:
        # Reducing averages a thin line away; halving what the median would remove keeps it.
        factor = -(-max(picture.size) // _WORKING_SIDE)
        picture = picture.reduce(factor)
    values = np.asarray(picture, np.float32)
    difference = values - _ground(values)
    if difference.ndim == 3:
        # Coloured ink can be as bright as its ground, so the strongest channel counts, not the luminance.
        strongest = np.abs(difference).argmax(-1, keepdims=True)
        difference = np.take_along_axis(difference, strongest, -1)[..., 0]
    strength = np.abs(difference) if recolour else np.maximum(difference, 0)
    # A few hot pixels must not set the scale, unless the drawing has only a few.
    top = strength.size // 1000
    peak = max(float(np.partition(strength, -1 - top, axis=None)[-1 - top]), 0.6 * float(strength.max()))
    noise = float(_median(_border(strength)))
    if peak < 12:
        return None, 0.0
    floor = max(0.2 * peak, min(4 * noise, 0.5 * peak))
    ink = np.clip((strength - floor) / (peak - floor), 0, 1).astype(np.float32)
    mask = _without_specks(ink > 0.25)
    if not mask.any():
        return None, 0.0
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    mask, ink = mask[window], ink[window] * _grown(mask)[window]
    padded = np.pad(mask, 1)
    inner = padded[1:-1, :-2] & padded[1:-1, 2:] & padded[:-2, 1:-1] & padded[2:, 1:-1]
    # A stroke has two edges: its width is twice its area by the length of its outline.
    outline = max(int((mask & ~inner).sum()), 1)
    width = max(2 * float(mask.sum()) / outline - 1, 1.0)
    return ink, width / max(mask.shape)


def _ground(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the plane through the border's values: paper is rarely lit evenly. Same shape as `values`."""
    height, width = values.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    plane = np.stack([np.ones_like(x), x / width, y / height], -1)
    where, seen = _border(plane), _border(values).reshape(-1, *values.shape[2:])
    channels = seen.reshape(len(seen), -1)
    # Ink that touches the border must not tilt the plane, so only what is near the median takes part.
    distance = np.abs(channels - _median(channels)).max(1)
    near = distance <= max(40.0, float(_median(distance)) * 2)
    # Three unknowns: the normal equations do, and spare the start of a thread pool for a general least squares.
    at = where[near].astype(np.float64)
    ridge = 1e-6 * np.eye(3)
    coefficients = np.linalg.solve(at.T @ at + ridge, at.T @ channels[near])
    return np.asarray((plane @ coefficients).reshape(values.shape), np.float32)


def _without_specks(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Drop marks whose neighbourhood holds almost nothing else: dust and compression noise, not strokes."""
    if min(mask.shape) < 40:
        return mask
    reach = max(3, max(mask.shape) // 40 * 2 + 1)
    crowd = Image.fromarray(mask.astype(np.uint8) * 255).filter(ImageFilter.BoxBlur(reach))
    kept = mask & (np.asarray(crowd) > 255 * 3 / (2 * reach + 1) ** 2)
    return kept if kept.sum() > 0.5 * mask.sum() else mask


def _grown(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return np.asarray(Image.fromarray(mask.astype(np.uint8) * 255).filter(ImageFilter.MaxFilter(3))) > 0


def _thicken(ink: Ink, stroke: float) -> Ink:
    """Dilate strokes to a width that survives scaling down; the box grows with them."""
    side = max(ink.shape)
    # Below 80 pixels a dilation by whole pixels would be too coarse.
    factor = max(1.0, 80 / side)
    size = (max(1, round(ink.shape[1] * factor)), max(1, round(ink.shape[0] * factor)))
    picture = resized(Image.fromarray((ink * 255).astype(np.uint8)), size, Image.Resampling.BILINEAR)
    grow = max(1, round((_MIN_STROKE - stroke) * max(size) / 2))
    thick = _dilated(np.pad(np.asarray(picture), grow), grow).astype(np.float32)
    return np.asarray(thick / 255, np.float32)


def _dilated(values: Grey, reach: int) -> Grey:
    """Return the largest of the values within `reach` rows and columns of each, [H, W].

    Pillow's `MaxFilter` gives the same, and takes 0.3 s for a reach of 15 in 360×360.
    """
    for _ in range(2):
        longest = np.pad(values, ((reach, reach), (0, 0)))
        length, wanted = 1, 2 * reach + 1
        while length < wanted:  # the largest of `length` rows from each on becomes that of up to twice as many
            step = min(length, wanted - length)
            longest = np.maximum(longest[: len(longest) - step], longest[step:])
            length += step
        values = np.ascontiguousarray(longest.T)
    return values


def _scale(ink: Ink) -> Ink:
    """Scale so that the longer side is 20 pixels, and the strongest ink is 1 again."""
    height, width = ink.shape
    factor = _BOX / max(height, width)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    small = np.asarray(resized(Image.fromarray(ink, "F"), size, Image.Resampling.BOX if factor < 1 else _SMOOTH))
    top = float(np.partition(small, -4, axis=None)[-4]) if small.size > 100 else float(small.max())
    return np.asarray(np.clip(small / max(top, 1e-6), 0, 1), np.float32)


_SMOOTH = Image.Resampling.BICUBIC


def _centre(ink: Ink) -> Grey:
    """Paste onto 28×28 black so that the centre of mass is at (14, 14)."""
    # Of the values as they are stored, so that `is_boxed` finds the same centre.
    small = np.round(ink * 255).astype(np.uint8)
    mass = max(float(small.sum(dtype=np.float64)), 1e-6)
    height, width = small.shape
    row = float(small.sum(1, dtype=np.float64) @ np.arange(height)) / mass
    column = float(small.sum(0, dtype=np.float64) @ np.arange(width)) / mass
    top = min(max(round(_CENTRE - row), 0), SHAPE[0] - height)
    left = min(max(round(_CENTRE - column), 0), SHAPE[1] - width)
    canvas = np.zeros(SHAPE, np.uint8)
    canvas[top : top + height, left : left + width] = small
    return canvas


def _border(values: NDArray[np.generic]) -> NDArray[np.float32]:
    """Return the outermost rows and columns of [H, W] or [H, W, C] as one list of values."""
    edges = [values[0], values[-1], values[:, 0], values[:, -1]]
    return np.concatenate(edges).astype(np.float32)


def _median(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the upper median over the first axis; numpy's own loads its masked arrays, which takes 10 ms."""
    middle = len(values) // 2
    return np.asarray(np.partition(values, middle, axis=0)[middle])


def _extent(marked: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first True of each row of bool [N, L], and the distance to after the last one; 0 where none is."""
    first = marked.argmax(1)
    length = marked.shape[1] - marked[:, ::-1].argmax(1) - first
    return first, np.where(marked.any(1), length, 0)

"""The embedded data set ``shapes``: hand-like outlines of circles, squares and triangles, drawn by the program.

Nothing is downloaded and nothing is stored: a seed and an index give an image. Each drawing is one pen stroke (a square
may be four), kept as a path of points in pixels and inked by the distance of each pixel to that path.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cnnkit.data.dataset import Dataset, Images
from cnnkit.errors import UnknownNameError, UsageError

__all__ = ["CLASSES", "SHAPES", "draw_shape", "draw_shapes"]

CLASSES = ("circles", "squares", "triangles")

_SIZE = 28
_STEP = 0.35  # pixels between the points of a path; at 0.35 the gaps stay invisible in the ink
_SHORTEST = {"circles": 8.0, "squares": 6.0, "triangles": 8.0}  # below these the three look alike, to people too

_Points = NDArray[np.float64]


def draw_shape(kind: str, rng: np.random.Generator) -> Image.Image:
    """Draw one outline.

    Args:
        kind: one of ``CLASSES``.
        rng: the source of everything that varies: form, size, place, pen and paper.

    Returns:
        A 28×28 image in mode ``RGB``: dark ink on white or light paper, 0–255 per channel.

    Raises:
        UnknownNameError: ``kind`` is not one of ``CLASSES``.
    """
    if kind not in CLASSES:
        raise UnknownNameError("shape", kind, CLASSES)
    unit = _circle(rng) if kind == "circles" else _polygon(kind, rng)
    path = _dense(_place(unit, _SHORTEST[kind], rng))
    if rng.random() < 0.02:  # the pen touched the paper beside the shape
        start = rng.uniform(1, _SIZE - 1, 2)
        path = np.concatenate([path, _dense([np.stack([start, start + rng.normal(0, 1, 2)])])])
    return Image.fromarray(_paint(_coverage(path, rng), rng))


def draw_shapes(per_class: int, *, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Draw a set of outlines, the classes interleaved: circle, square, triangle, circle, …

    Image ``i`` depends on ``(seed, i)`` only, so a longer set starts with the images of a shorter one.

    Args:
        per_class: how many images of each class, at least 0.
        seed: a whole number, at least 0.

    Returns:
        The images, uint8 ``[3·per_class, 28, 28, 3]`` (rows, columns, RGB; 0–255), and their labels, int64
        ``[3·per_class]``, indices into ``CLASSES``.

    Raises:
        UsageError: ``per_class`` or ``seed`` is negative.
    """
    if per_class < 0 or seed < 0:
        raise UsageError(f"per_class and seed must be whole numbers of at least 0; got {per_class} and {seed}.")
    labels = np.arange(len(CLASSES) * per_class, dtype=np.int64) % len(CLASSES)
    images = np.empty((len(labels), _SIZE, _SIZE, 3), dtype=np.uint8)
    for i, label in enumerate(labels):
        images[i] = np.asarray(draw_shape(CLASSES[label], np.random.default_rng([seed, i])))
    return images, labels


def _circle(rng: np.random.Generator) -> list[_Points]:
    """One turn about the origin, lumpy, mostly begun at the top, rarely ending where it began."""
    turn = 1 + (rng.normal(0.01, 0.02) if rng.random() < 0.75 else rng.uniform(-0.12, 0.12))
    t = np.linspace(0, 1, 96)
    angle = rng.normal(-math.pi / 2, 0.5) + rng.choice([-1, 1]) * 2 * math.pi * turn * t
    radius = np.ones_like(t)
    for k, spread in ((2, 0.05), (3, 0.05), (4, 0.025), (5, 0.015)):
        radius += rng.normal(0, spread) * np.cos(k * angle + rng.uniform(0, 2 * math.pi))
    # People aim at the start again: the drift is small, and both ends may rise to a tip.
    radius += rng.normal(0, 0.04) * (t - 0.5)
    if rng.random() < 0.4:
        radius += rng.uniform(0, 0.28) * (np.exp(-t / 0.05) + np.exp((t - 1) / 0.05))
    elif rng.random() < 0.2:
        radius += rng.uniform(0.1, 0.5) * np.exp(rng.choice([-t, t - 1]) / 0.03)
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return [_turned(_stretched(points, rng.normal(0, 0.17)), rng.uniform(0, math.pi))]


def _polygon(kind: str, rng: np.random.Generator) -> list[_Points]:
    """Sides bowed, corners displaced, a little rounded, left open or overshot."""
    n = 4 if kind == "squares" else 3
    corner_angle = -math.pi / 2 - math.pi / n * (n == 4) + 2 * math.pi / n * np.arange(n)
    corners = np.stack([np.cos(corner_angle), np.sin(corner_angle)], axis=1)
    corners = _stretched(corners, rng.normal(0, 0.22)) + rng.normal(0, 0.1 if n == 4 else 0.16, (n, 2))
    if n == 4:
        tilt = rng.normal(0, 0.12) if rng.random() < 0.88 else rng.uniform(-math.pi / 4, math.pi / 4)
    else:  # half stand on a base, the others point anywhere
        tilt = rng.normal(0, 0.12) if rng.random() < 0.5 else rng.uniform(-math.pi, math.pi)
    corners = np.roll(_turned(corners, tilt), rng.integers(n), axis=0)[:: rng.choice([-1, 1])]

    sides = []
    s = np.linspace(0, 1, 24)[:, None]
    for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        across = np.array([a[1] - b[1], b[0] - a[0]])
        bow = rng.normal(0, 0.05) * 4 * s * (1 - s) + rng.normal(0, 0.015) * np.sin(2 * math.pi * s)
        sides.append(a + (b - a) * s + across * bow)
    if rng.random() < 0.06:  # drawn side by side: the strokes miss or cross each other at every corner
        return [_shifted_ends(side, rng.normal(0, 0.06, 2)) for side in sides]

    stroke = np.concatenate(sides)
    rounding = int(rng.integers(0, 4) if rng.random() < 0.7 else rng.integers(4, 7))
    if rounding:
        window = np.ones(2 * rounding + 1) / (2 * rounding + 1)
        padded = np.pad(stroke, ((rounding, rounding), (0, 0)), mode="edge")
        stroke = np.stack([np.convolve(padded[:, axis], window, mode="valid") for axis in (0, 1)], axis=1)
    gap = rng.normal(0, 0.03) if rng.random() < 0.85 else rng.uniform(-0.25, 0.15)
    stroke = _shifted_ends(stroke, np.array([0.0, gap * 24 / len(stroke)]))
    stroke[-16:] += rng.normal(0, 0.04, 2) * np.linspace(0, 1, 16)[:, None]
    return [stroke]


def _shifted_ends(stroke: _Points, by: _Points) -> _Points:
    """Prolong (or, negative, shorten) the two ends of a stroke by fractions of its number of points."""
    position = np.linspace(-by[0], 1 + by[1], len(stroke) + 16) * (len(stroke) - 1)
    index = np.clip(position.astype(int), 0, len(stroke) - 2)
    part = (position - index)[:, None]
    moved: _Points = stroke[index] * (1 - part) + stroke[index + 1] * part
    return moved


def _stretched(points: _Points, log_ratio: float) -> _Points:
    stretched: _Points = points * np.array([math.exp(log_ratio / 2), math.exp(-log_ratio / 2)])
    return stretched


def _turned(points: _Points, angle: float) -> _Points:
    c, s = math.cos(angle), math.sin(angle)
    turned: _Points = points @ np.array([[c, s], [-s, c]])
    return turned


def _place(strokes: list[_Points], shortest: float, rng: np.random.Generator) -> list[_Points]:
    """Scale the strokes to a length of their longer side in pixels, and move them to a place on the paper."""
    low, high = (f([f(stroke, axis=0) for stroke in strokes], axis=0) for f in (np.min, np.max))
    longer = rng.triangular(shortest, 17, 27)
    scale = longer / (high - low).max()
    extent = (high - low) * scale
    margin = 1.0 if rng.random() < 0.95 else -0.12 * longer  # some drawings run over the edge
    room = np.maximum(_SIZE - 2 * margin - extent, 0.0)
    corner = margin + room * rng.beta(1.3, 1.3, 2)
    return [(stroke - low) * scale + corner for stroke in strokes]


def _dense(strokes: list[_Points]) -> _Points:
    """Resample strokes at equal steps, in pixels, into one set of points."""
    dense = []
    for stroke in strokes:
        length = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(stroke, axis=0).T))])
        at = np.linspace(0, length[-1], max(2, math.ceil(length[-1] / _STEP)))
        dense.append(np.stack([np.interp(at, length, stroke[:, axis]) for axis in (0, 1)], axis=1))
    return np.concatenate(dense)


def _coverage(path: _Points, rng: np.random.Generator) -> NDArray[np.float64]:
    """How much ink lies on each pixel, ``[28, 28]``, 0–1, from a pen whose pressure wanders along the path."""
    t = np.linspace(0, 2 * math.pi, len(path))
    phase = rng.uniform(0, 2 * math.pi, 3)
    path = path + rng.uniform(0, 0.15) * np.stack([np.sin(5 * t + phase[0]), np.sin(6 * t + phase[1])], axis=1)
    width = rng.uniform(0.8, 1.3) if rng.random() < 0.75 else rng.uniform(1.3, 2.4)
    radius = width / 2 * (1 + rng.uniform(0, 0.25) * np.sin(rng.uniform(1, 6) * t + phase[2]))

    centre = np.arange(_SIZE) + 0.5
    dx = np.square(centre[:, None] - path[:, 0])
    dy = np.square(centre[:, None] - path[:, 1])
    squared = dy[:, None, :] + dx[None, :, :]
    nearest = squared.argmin(axis=2)
    distance = np.sqrt(np.take_along_axis(squared, nearest[..., None], axis=2)[..., 0])
    soft = rng.uniform(0.45, 0.75)  # a pixel's half width, and the blur of a drawing made small
    ink: NDArray[np.float64] = np.clip((radius[nearest] + soft - distance) / (2 * soft), 0, 1)
    return ink


def _paint(ink: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Colour the ink: mostly near-black on white, sometimes a coloured pen or off-white, grainy paper."""
    paper = np.full(3, 255.0)
    if rng.random() < 0.2:
        paper = rng.uniform(225, 255) - rng.uniform(0, 12, 3)
    pen = np.full(3, rng.uniform(0, 70))
    if rng.random() < 0.25:
        pen = rng.uniform(0, 150, 3)
    image: NDArray[np.float64] = paper + ink[..., None] * (pen - paper)
    if rng.random() < 0.15:
        image = image + rng.normal(0, rng.uniform(1, 6), (_SIZE, _SIZE, 1))
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Shapes(Dataset):
    """The drawings as a data set."""

    def open(self, data_dir: Path | None = None) -> Images:
        """Draw them: `train` with seed 0, and `test` with seed 1."""
        drawn = {
            "train": draw_shapes(self.train // len(CLASSES), seed=0),
            "test": draw_shapes(self.test // len(CLASSES), seed=1),
        }
        return Images.of_arrays(self, CLASSES, drawn)


SHAPES = Shapes("shapes", CLASSES, (28, 28, 3), 1_200, 300, source="drawn by cnnkit", polarity="dark-on-light")

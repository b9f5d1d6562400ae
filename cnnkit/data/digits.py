"""Drawn digits in the form of MNIST's, in the ways that Europeans write them: what MNIST, from America, hardly has.

Nothing is downloaded: a seed gives the images. A way to write a digit is a few knots of the pen, each anywhere in a
rectangle. The pen's path is linear in its knots, so that all images of a way are drawn together, in float64 and by
numpy alone.
"""

from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cnnkit.errors import UsageError

__all__ = ["LABELS", "STYLES", "draw_digits"]

LABELS = tuple("0123456789")

Array = NDArray[np.float64]

# Digit, style, and the pen's knots "x,y" in percent of the digit's height, y downward; "a:b" is anywhere from a to b. A
# smooth curve runs through the knots; "!" makes a corner, "|" lifts the pen.
_WAYS = """
0 plain 45:60,0:4 10:25,8:24 -4:6,45:60 12:25,86:96 36:48,100 62:74,84:95 68:82,44:56 58:72,8:20 36:60,0:8
0 slashed 45:58,0:4 10:25,8:24 -4:6,45:60 12:25,86:96 36:48,100 62:74,84:95 68:82,44:56 58:72,8:20 40:58,0:6 | \
54:72,12:34 8:24,64:86
0 slashed 30:45,0:4 4:16,20:30 -4:6,60:70 16:28,92:98 40:50,100 66:76,76:88 70:82,36:48 56:68,4:12 28:44,0:4 | \
66:86,0:20 -8:12,78:100
0 slashed 45:58,0:4 12:25,8:22 -4:6,45:58 12:25,86:94 36:48,100 62:74,84:95 68:82,44:56 60:72,8:18 40:58,0:6 | \
78:102,-16:4 -24:-2,96:116
0 slashed 40:54,0:4 8:22,10:24 -4:6,46:58 12:24,84:95 34:46,100 60:74,86:95 68:80,46:58 58:70,8:20 38:54,0:6 | \
8:22,16:32 54:70,66:86
1 stick 46:54,0 44:56,100
1 stick 48:58,0 48:54,50 40:54,100
1 flag 26:44,10:30 52:58,0! 48:60,100
1 flag 10:38,14:38 52:58,0! 48:62,100
1 flag 8:30,20:44 53:59,0! 50:62,100
1 flag 14:34,22:42 34:46,7:16 54:60,0! 50:62,100
1 flag 30:42,14:30 46:50,5:9 54:58,0:2 54:60,9:14 50:60,100
1 upstroke 0:32,26:72 54:60,0! 52:64,100
1 upstroke -14:20,58:100 54:60,0! 54:68,100
1 upstroke 2:24,44:74 30:42,22:36 55:60,0! 52:64,100
1 upstroke 0:26,42:80 24:34,20:29 55:60,0! 50:62,100
1 upstroke 2:30,34:74 50:55,2:6 58:60,4:9 54:64,100
1 upstroke -10:14,36:64 54:60,0! 52:64,100
1 upstroke -6:18,30:56 20:34,14:28 55:60,0! 52:64,100
1 foot 46:54,0 46:54,100 | 12:38,97:103 62:92,97:103
1 upstroke-foot 4:34,20:66 54:60,0! 52:60,100 | 16:38,97:103 70:98,97:103
1 upstroke-foot 6:32,24:60 54:60,0! 52:60,100! 22:38,100 72:94,97:102
1 upstroke-foot 24:40,10:24 54:58,0! 52:60,100 | 16:36,97:103 72:96,97:103
1 upstroke-foot -10:16,50:86 54:60,0! 54:62,100 | 22:42,97:103 72:96,97:103
2 plain 0:12,16:32 14:26,2:10 38:50,0 64:76,10:22 58:70,34:46 28:42,64:76 -2:8,97:102! 66:92,93:104
2 plain 4:16,4:14 32:46,0 62:76,12:24 54:68,42:54 24:36,74:84 -2:8,99:101! 26:36,90:98 60:90,96:106
2 loop 2:12,14:30 16:28,2:8 38:52,0 64:76,12:24 56:70,38:52 26:40,74:86 6:14,97:101 0:8,88:95 12:22,81:89 \
40:52,91:99 70:92,90:103
2 curl 18:30,22:36 4:12,16:28 14:24,3:10 40:52,0 64:78,14:26 56:68,40:54 24:36,74:86 -2:8,98:102! 64:90,94:104
3 round 0:12,8:24 22:40,0:2 56:70,8:18 54:66,30:42 28:44,43:51! 58:72,51:62 66:80,68:80 48:62,93:100 22:36,99:102 \
-4:8,82:95
3 round 2:14,6:18 26:42,0 58:70,10:20 50:62,36:44 28:38,46:52 22:30,42:48 34:44,40:46 62:74,54:66 64:76,78:86 \
40:54,100 0:12,88:98
3 flat 2:16,-2:7 56:76,-1:4! 26:44,34:46! 56:70,45:58 64:80,66:80 46:60,94:100 18:32,97:102 -4:8,82:95
4 open 18:40,-2:8 -2:10,54:68! 68:96,52:68 | 48:66,18:46 44:64,94:106
4 open 34:52,0:4 -2:8,62:74! 72:96,58:74 | 50:64,36:52 46:60,98:106
4 open 2:12,0:12 -2:8,42:56 18:32,54:62 56:66,44:54 64:76,46:52 | 62:74,-2:12 56:72,98:104
4 closed 54:60,0 -2:10,54:70! 72:98,53:70 | 55:60,0:4 52:62,96:104
4 closed 52:62,98:104 54:62,0! -4:8,56:70! 74:96,55:68
4 closed 56:62,0 -2:10,56:72! 58:68,54:70 | 56:62,0:3 54:62,98:102
4 closed 60:66,0 8:24,48:62! 74:90,48:60 | 60:66,0:3 56:66,98:102
4 closed 46:56,0:3 -2:10,50:62! 58:66,48:60 | 46:56,0:4 56:64,8:20 55:64,98:102
4 closed 55:62,0 20:32,32:42 -4:6,62:72! 72:94,58:72 | 55:62,0:3 50:62,98:104
5 hat 14:24,0:5 8:18,38:47! 38:52,33:41 64:78,48:60 64:78,70:82 38:52,96:101 14:26,97:102 -2:8,86:95 | 14:26,-1:5 \
60:90,-6:5
5 stroke 64:90,-4:4 18:30,0:4! 12:22,37:47! 40:54,33:42 66:80,50:62 62:76,76:87 36:50,100 -2:8,86:97
5 round 60:84,-2:6 30:44,0:3 16:24,10:18 12:20,36:44 36:50,38:46 64:78,56:66 60:72,84:92 32:46,100 -2:8,86:96
6 plain 46:68,-2:8 18:32,22:36 0:8,56:68 10:20,86:95 34:46,100 60:72,84:94 64:76,64:74 48:62,51:59 26:40,53:61 \
4:16,68:80
6 plain 28:46,0 6:18,40:54 -2:6,72:82 14:26,96:100 40:52,98:101 60:72,78:88 48:62,58:66 24:36,60:68 4:14,76:84
7 plain -2:10,-2:8 60:82,-2:5! 16:42,100
7 plain 0:8,-1:6 62:80,-1:4! 42:56,38:52 26:40,100
7 bar -2:10,-2:8 60:82,-2:5! 18:40,100 | 12:32,42:58 62:88,38:56
7 bar 0:8,-1:7 62:80,-1:4! 43:56,36:50 26:40,100 | 16:32,44:58 66:88,40:54
7 bar -2:6,10:16 10:20,-1:4 36:50,4:10 66:80,-1:4! 20:38,100 | 14:30,46:60 62:84,38:54
7 bar 2:12,0:6 58:74,0:4! 40:54,100 | 26:38,42:56 70:92,40:54
7 serif-bar -4:8,10:28 -2:8,-1:4! 62:84,-1:5! 18:40,100 | 14:32,42:58 62:88,38:56
7 serif-bar -2:6,12:24 0:8,0:4! 62:80,0:4! 44:56,38:50 28:42,100 | 18:32,44:58 66:88,40:54
7 serif -4:8,10:26 -2:8,-1:4! 62:84,-1:5! 18:40,100
8 stroke 58:70,8:18 36:48,0 8:18,12:24 22:34,38:46 52:64,54:62 66:78,72:84 34:46,100 -2:8,74:86 14:26,54:62 \
48:60,34:44 60:72,10:22
8 rings 34:44,47:52 10:20,30:40 10:20,8:16 34:44,0 58:68,8:16 58:68,30:40 36:46,47:52 | 36:46,46:52 2:14,62:72 \
4:14,88:96 36:46,100 66:76,86:94 64:76,60:70 36:46,46:52
9 stem 64:76,12:22 40:52,0 8:20,8:18 0:10,26:38 16:28,49:57 42:56,45:53 64:76,18:30! 58:76,100
9 stem 66:74,8:14 40:52,0 8:20,10:18 2:12,28:40 22:34,50:56 48:60,42:50 66:74,20:30 66:76,45:55 50:68,100
9 hook 64:76,12:22 40:52,0 8:20,8:18 0:10,26:38 16:28,49:57 42:56,45:53 66:76,18:30! 66:78,66:80 44:58,96:101 \
12:28,95:102 -4:8,80:92
9 hook 62:74,8:16 38:50,0 8:18,8:18 0:10,26:38 18:28,48:56 44:56,42:50 66:74,14:24! 68:76,56:68 54:66,86:94 \
16:34,98:102
"""
_ROWS = [row.split(" ", 2) for row in _WAYS.strip().split("\n")]

_STEP = 2.2  # percent of the height between the points of a path; 0.44 pixels, so that gaps stay invisible in the ink
_BOX, _SIDE = 20, 28
_CHUNK = 64
# Farthest turns in degrees, clockwise, and the strongest lean to the right. A one turned right, or whose upstroke is
# made flat by leaning, and a seven turned left become each other.
_POSES = {"1": (-10.0, 0.0, 0.25), "7": (-3.0, 10.0, 0.45)} | dict.fromkeys("02345689", (-10.0, 10.0, 0.45))


@dataclass(frozen=True)
class _Way:
    """A way to write a digit: its knots are in [low, high], [K, 2], and points [P, 2] are `path` [P, K] @ knots."""

    style: str
    low: Array
    high: Array
    path: Array


def _parsed(style: str, text: str) -> _Way:
    strokes = [stroke.split() for stroke in text.split("|")]
    knots = [token for stroke in strokes for token in stroke]
    limits = np.array([[_limits(part) for part in knot.strip("!").split(",")] for knot in knots])
    low, high = limits[..., 0], limits[..., 1]
    rows, first = [], 0
    for stroke in strokes:
        cuts = [0, *(i for i, token in enumerate(stroke) if token.endswith("!")), len(stroke) - 1]
        for start, end in pairwise(cuts):
            rows.append(_curve(np.arange(first + start, first + end + 1), (low + high) / 2))
        first += len(stroke)
    return _Way(style, low, high, np.concatenate(rows))


def _limits(text: str) -> tuple[float, float]:
    low, _, high = text.partition(":")
    return float(low), float(high or low)


def _curve(which: NDArray[np.int64], middle: Array) -> Array:
    """Return the weights of all knots [K, 2] in the points of a Catmull-Rom curve through some of them, [P, K]."""
    one = np.eye(len(middle))[which]
    tangents = np.gradient(one, axis=0)
    pieces = []
    for i in range(len(which) - 1):
        length = np.linalg.norm(middle[which[i + 1]] - middle[which[i]])
        t = np.linspace(0, 1, max(2, int(np.ceil(length / _STEP))))[:, None]
        ease = t**2 * (3 - 2 * t)
        pieces.append(
            (1 - ease) * one[i] + ease * one[i + 1] + t * (1 - t) ** 2 * tangents[i] - t**2 * (1 - t) * tangents[i + 1]
        )
    return np.concatenate(pieces)


@cache
def _ways() -> dict[str, tuple[_Way, ...]]:
    found: dict[str, list[_Way]] = {label: [] for label in LABELS}
    for label, style, text in _ROWS:
        found[label].append(_parsed(style, text))
    return {label: tuple(ways) for label, ways in found.items()}


STYLES = {label: tuple(dict.fromkeys(style for digit, style, _ in _ROWS if digit == label)) for label in LABELS}
"""The styles in which each digit is drawn."""


def draw_digits(label: str, count: int, *, seed: int, style: str | None = None) -> NDArray[np.uint8]:
    """Draw a digit in the ways that it is written, as often in each of them.

    Args:
        label: one of `LABELS`.
        count: how many images, at least 0.
        seed: a whole number, at least 0.
        style: one of the digit's `STYLES`; None for all.

    Returns:
        uint8 [count, 28, 28]: light on black, scaled into a box of 20×20 and centred by mass, as MNIST's.

    Raises:
        UsageError: there is no such digit or style, or a number is negative.
    """
    if label not in LABELS or (style is not None and style not in STYLES[label]):
        known = f"of {label} in {', '.join(STYLES[label])}" if label in LABELS else f"of {', '.join(LABELS)}"
        raise UsageError(f"no drawings of {label!r} in style {style!r}; expected some {known}.")
    if count < 0 or seed < 0:
        raise UsageError(f"count and seed must be whole numbers of at least 0; got {count} and {seed}.")
    ways = [way for way in _ways()[label] if style in {None, way.style}]
    images = np.zeros((count, _SIDE, _SIDE), np.uint8)
    for number, way in enumerate(ways):
        mine = images[number :: len(ways)]
        rng = np.random.default_rng([seed, int(label), number])
        for start in range(0, len(mine), _CHUNK):
            part = mine[start : start + _CHUNK]
            part[:] = _drawn(way, len(part), _POSES[label], rng)
    return images


def _drawn(way: _Way, count: int, pose: tuple[float, float, float], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw images [count, 28, 28] of one way."""
    knots = rng.uniform(way.low, way.high, (count, *way.low.shape)) + rng.normal(0, 0.8, (count, *way.low.shape))
    points = _bent(way.path @ knots, pose, rng)
    radius = np.exp(rng.uniform(np.log(0.75), np.log(2.1), (count, 1)))
    low, high = points.min(1, keepdims=True), points.max(1, keepdims=True)
    scale = (_BOX - 2 * radius[..., None]) / (high - low).max(2, keepdims=True)
    points = (points - (low + high) / 2) * scale + _BOX / 2
    # Pressure that wanders along the path, and edges from those of a sharp pen to those of a drawing made small.
    along = np.linspace(0, 2 * np.pi, points.shape[1])
    swing = rng.uniform(0, 0.25, (count, 1)) * np.sin(
        rng.uniform(0.5, 4, (count, 1)) * along + rng.uniform(0, 6.3, (count, 1))
    )
    ink = _inked(points, radius * (1 + swing), rng.uniform(0.35, 0.8, (count, 1, 1)))
    rough = rng.uniform(0, 0.6, (count, 1, 1)) * (rng.random((count, 1, 1)) < 0.25)
    ink *= 1 - rough * rng.random(ink.shape)
    return _centred(np.rint(255 * ink).astype(np.uint8))


def _bent(points: Array, pose: tuple[float, float, float], rng: np.random.Generator) -> Array:
    """Vary handwriting [n, P, 2] as a whole: narrow or wide, leaning, turned, and on a plane that waves."""
    count, (left, right, lean) = len(points), pose
    x, y = points[..., 0] - 40, points[..., 1] - 50
    x = x * rng.uniform(0.72, 1.25, (count, 1)) - np.clip(rng.normal(0.1, 0.15, (count, 1)), -0.15, lean) * y
    angle = np.radians(np.clip(rng.normal(0, 5, (count, 1)), left, right))
    x, y = np.cos(angle) * x - np.sin(angle) * y, np.sin(angle) * x + np.cos(angle) * y
    for _ in range(2):
        across, down, phase = rng.uniform(-0.06, 0.06, (3, count, 1)) * np.array([1, 1, 52]).reshape(3, 1, 1)
        wave = np.sin(across * x + down * y + phase)
        x, y = x + rng.uniform(-2.2, 2.2, (count, 1)) * wave, y + rng.uniform(-2.2, 2.2, (count, 1)) * wave
    return np.stack([x, y], -1)


def _inked(points: Array, radius: Array, soft: Array) -> Array:
    """Return how much ink of a pen along points [n, P, 2], in pixels, lies on each pixel of the box, [n, 20, 20]."""
    centres = np.arange(_BOX) + 0.5
    across = np.square(centres[:, None] - points[:, None, :, 0])
    down = np.square(centres[:, None] - points[:, None, :, 1])
    reach = np.empty((len(points), _BOX, _BOX))
    for row in range(_BOX):
        distance = np.sqrt(across + down[:, row, None, :])
        reach[:, row] = (radius[:, None, :] - distance).max(2)
    return np.clip(0.5 + reach / (2 * soft), 0, 1)


def _centred(boxes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Put boxes [n, 20, 20] on black, [n, 28, 28], so that the centre of mass is the centre."""
    images = np.zeros((len(boxes), _SIDE, _SIDE), np.uint8)
    place = np.arange(_BOX)
    for image, box in zip(images, boxes.astype(np.int64), strict=True):
        mass = max(1, int(box.sum()))
        corner = [round(_SIDE / 2 - int(box.sum(1 - axis) @ place) / mass) for axis in (0, 1)]
        top, left = np.clip(corner, 0, _SIDE - _BOX)
        image[top : top + _BOX, left : left + _BOX] = box
    return images

"""Seeded drawings of digits as people make them in paint programs, on web canvases, paper, boards and phones.

They test a digit classifier on input that looks nothing like MNIST: `python scripts/draw_digits.py OUT`. With `--styles
european` they are written as in Europe, as often in each style of a digit, which begins the name of a file. Needs numpy
and Pillow only; the same seed gives the same files with the same versions of those two. No network was trained on them:
what training draws, in `cnnkit.data.digits`, has other strokes, pens and distortions.
"""

from __future__ import annotations

import argparse
import io
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Array = NDArray[np.float64]
Colour = tuple[int, int, int]

# Ways to write each digit: the digit, then pen positions "x,y" in percent of a box, y downward. A smooth curve runs
# through them; "!" makes a corner, "|" lifts the pen, ";" begins another way.
_WAYS = """
0 52,0 18,12 1,50 16,88 50,100 84,88 99,50 84,12 52,0 40,3 ; 72,6 40,0 8,28 3,66 32,99 72,93 98,55 86,14 58,2 42,9
0 56,3 22,8 2,48 18,92 50,100 82,90 98,50 86,17 67,6 ; 40,2 80,8 100,48 84,90 48,100 14,86 0,48 14,12 44,1 56,5
0 60,0 24,14 4,60 22,97 58,94 92,58 98,20 76,1 52,2 ; 30,9 8,40 6,70 34,99 74,92 97,56 90,18 60,1 32,5 20,18
1 50,0 50,100 ; 58,0 50,50 47,100 ; 18,27 56,0! 55,100 ; 8,46 56,0! 56,100 ; 20,32 42,18 58,0! 54,100
1 16,25 52,0! 52,100 | 8,100 94,99 ; 8,36 36,21 52,0! 53,98 | 14,99 90,101
2 5,25 24,5 55,0 86,14 86,38 52,70 4,100! 100,98 ; 8,22 35,0 76,5 86,32 56,68 18,97 2,89 18,77 46,89 74,99 100,91
2 6,28 20,5 55,0 90,20 76,50 36,82 3,99! 30,91 62,99 100,91 ; 8,16 45,1 84,7 90,30 50,68 4,98! 98,99
2 24,36 9,28 18,6 55,0 91,18 84,42 48,74 3,99! 55,96 98,100
2 4,22 34,1 80,6 88,34 60,62 20,90 6,97 12,84 30,86 66,98 98,86
3 5,15 35,0 76,6 86,25 68,43 38,48! 75,54 98,75 75,97 35,100 0,85 ; 8,3 90,2! 44,41! 80,48 97,72 75,96 35,100 2,86
3 8,14 45,0 84,14 76,36 44,49 32,46 44,43 86,56 94,80 58,100 4,90 ; 5,10 50,0 86,20 50,45! 93,64 82,93 40,100 0,86
3 10,4 50,6 88,1! 58,26 40,40! 84,46 98,72 66,98 20,99 2,90
3 12,24 16,6 52,0 84,16 74,38 42,47! 84,54 96,78 62,100 18,97 4,78
4 20,0 5,60! 100,57 | 72,22 67,100 ; 64,100 69,0! 0,68! 100,66 ; 66,0 2,66! 100,65 | 70,2 68,100
4 8,2 3,40 12,56 50,57 100,52 | 76,8 72,60 71,100 ; 48,0 3,63! 98,61 | 72,32 66,100
4 30,0 18,32 6,58! 50,61 98,57 | 76,12 68,100 ; 12,4 8,54! 100,52 | 80,0 75,100
5 18,3 14,44! 50,36 88,50 93,77 60,100 5,92 | 17,3 92,0 ; 90,2 20,4! 14,44! 52,36 94,60 84,91 45,100 2,90
5 92,0 30,5! 18,45! 58,36 97,64 72,97 6,93 ; 24,8 16,46! 46,40 90,54 88,86 44,100 6,93 2,82 | 27,4 94,0
5 84,4 24,3! 20,30 16,43! 60,40 96,68 60,99 4,97 ; 14,0 12,42! 60,41 96,62 76,95 30,100 0,88 | 14,1 50,4 88,0
6 75,1 35,22 6,58 12,88 45,100 85,89 92,67 62,52 28,57 8,74 ; 62,0 22,42 4,74 28,98 70,97 90,76 66,56 32,60 8,80
6 90,13 64,0 24,20 4,60 18,92 55,100 93,80 80,56 45,52 11,72 ; 70,0 28,26 5,64 22,95 58,100 90,80 76,57 46,57 26,68
6 82,6 40,8 10,40 4,76 36,100 78,96 94,72 70,51 34,55 13,66 ; 48,0 20,36 6,72 24,97 66,99 92,78 70,58 36,64 22,76
7 4,6 96,2! 34,100 ; 4,5 97,3! 40,100 | 34,50 88,47 ; 6,20 6,4! 94,3! 34,100 ; 8,20 5,5! 96,3! 40,100 | 30,52 86,49
7 2,7 50,6 94,2! 58,45 40,100 ; 2,16 20,3 55,9 97,3! 62,40 42,100 ; 0,4 95,4! 58,48 46,100 | 34,51 84,48
8 84,14 50,0 15,17 28,41 70,57 91,80 50,100 8,80 27,58 70,40 85,16 76,6
8 50,47 20,37 21,9 50,0 80,10 79,37 52,48 44,46 | 48,47 10,60 6,88 48,100 93,90 91,60 54,47 44,48
8 50,48 17,25 50,0 83,22 52,48 10,76 50,100 90,76 48,47
8 80,7 44,0 14,19 34,42 76,60 88,86 48,100 8,84 28,58 74,34 88,12 79,9
8 52,0 86,16 70,40 24,60 10,84 50,100 92,82 74,58 28,40 17,16 50,0 60,3
8 66,3 28,6 20,28 48,46 84,64 80,94 36,100 10,80 36,54 76,34 82,12 60,1
9 88,18 55,0 12,14 10,40 45,52 82,37 89,10! 84,100 ; 86,20 50,0 8,22 30,50 75,40 90,14! 92,50 80,85 45,100 8,92
9 80,6 38,1 8,28 34,52 72,42 90,9! 80,100 ; 85,20 50,0 8,22 38,50 86,24 | 88,9 84,100
9 90,16 52,0 12,18 22,46 64,44 90,16! 82,60 52,100 ; 82,5 36,3 8,30 40,52 80,36 88,12! 90,60 70,94 34,100 14,92
"""
# One way a line, with the name of its style after the digit.
_EUROPEAN = """
0 plain 50,0 14,14 2,52 20,90 52,100 86,88 98,48 82,10 48,1
0 plain 62,2 26,8 4,50 24,95 60,98 94,70 92,26 66,4 54,6
0 slash 52,0 16,12 2,50 18,90 50,100 84,88 98,50 82,12 50,1 | 86,14 14,88
0 slash 60,1 22,10 3,54 22,94 56,99 92,74 94,28 64,2 | 78,26 26,74
0 long-slash 52,0 16,12 2,50 18,90 50,100 84,88 98,50 82,12 50,1 | 112,-8 -10,108
0 long-slash 50,0 14,16 4,52 20,92 54,99 88,84 97,44 80,8 46,2 | 100,0 48,52 -2,102
1 short-flag 28,22 70,0! 68,100
1 short-flag 34,18 52,12 72,0! 70,50 66,100
1 long-upstroke 2,46 72,0! 74,100
1 long-upstroke 0,62 40,30 76,0! 72,100
1 long-upstroke 6,40 44,24 74,0! 76,48 70,100
1 long-upstroke 2,54 70,2 77,12 76,100
1 full-upstroke 0,98 66,0! 70,100
1 full-upstroke 0,80 36,44 70,0! 76,100
1 foot 50,0 50,100 | 12,99 90,100
1 foot 52,0 49,50 50,98 | 20,101 84,97
1 long-upstroke-foot 4,44 58,0! 58,100 | 20,100 98,99
1 long-upstroke-foot 2,58 30,32 60,0! 58,99 | 24,98 99,101
1 long-upstroke-foot 8,38 60,0! 60,100! 24,100 100,98
2 straight-base 4,24 26,3 60,0 88,18 76,48 40,78 2,100! 98,98
2 straight-base 10,14 48,0 84,14 84,38 52,68 4,98! 50,100 96,96
2 looped 6,22 34,1 74,4 88,28 60,62 22,94 4,98 6,86 24,84 56,97 98,96
2 looped 10,18 50,0 88,20 66,58 30,90 8,100 2,90 18,84 60,100 96,90
3 round 8,14 44,0 82,12 78,34 42,47! 84,56 96,78 60,100 6,90
3 round 4,10 48,1 84,20 62,42 36,47 70,50 96,70 76,96 36,100 2,88
3 flat-top 6,2 86,0! 46,38! 86,50 94,76 60,99 8,92
3 flat-top 4,6 40,2 90,3! 42,42! 82,52 92,80 48,101 2,88
4 closed 66,0 2,62! 100,60 | 66,1 64,100
4 closed 70,100 70,0! 4,66! 98,63
4 closed 68,0 38,32 2,70! 70,67 | 68,0 67,99
4 crossed 54,0 28,34 2,70! 100,66 | 66,42 60,100
4 crossed 44,0 4,66! 98,68 | 62,46 62,102
4 open 22,2 8,34 6,58! 52,60 100,55 | 74,18 70,100
4 open 10,0 4,48! 96,50 | 76,2 72,100
5 two-strokes 20,2 16,42! 54,36 92,58 84,88 44,100 4,90 | 20,2 92,0
5 two-strokes 24,3 14,46! 60,40 92,66 62,99 6,94 | 22,3 60,4 96,-2
5 one-stroke 92,1 24,3! 16,44! 58,38 94,64 74,94 34,100 4,92
5 one-stroke 88,0 52,4 26,2! 20,43! 66,42 92,72 58,100 6,92
6 round 72,0 30,24 4,62 18,94 54,100 88,82 84,60 48,52 12,70
6 round 60,0 20,34 4,74 34,100 84,88 84,62 46,54 10,76
7 plain 2,5 96,3! 38,100
7 plain 4,6 50,3 94,5! 62,46 42,100
7 bar 4,4 96,3! 36,100 | 32,53 92,49
7 bar 3,7 95,2! 64,46 44,100 | 34,52 90,50
7 bar 2,5 50,7 96,3! 40,100 | 26,58 88,44
7 serif-bar 3,22 4,4! 95,3! 38,100 | 34,52 90,50
7 serif-bar 0,18 8,3 50,7 97,2! 66,44 44,100 | 36,54 92,47
8 one-stroke 78,12 48,0 18,14 30,40 72,60 90,82 50,100 10,82 30,58 72,36 80,14 70,6
8 one-stroke 50,48 18,26 48,0 82,22 50,48 8,78 52,100 92,74 50,48
8 two-rings 48,46 18,32 24,7 52,0 82,14 76,38 50,47 | 50,47 10,66 14,92 50,100 90,90 88,62 52,47
9 straight 84,16 52,0 12,16 10,42 46,53 80,38 88,12! 82,100
9 straight 82,8 40,0 8,26 32,52 76,40 86,12! 74,100
9 hooked 84,14 50,0 10,18 12,44 48,52 82,34 88,12! 90,60 74,94 40,100 12,92
9 hooked 80,8 40,1 8,26 34,52 74,44 86,10! 84,70 60,99 20,94
"""
EUROPEAN: dict[int, dict[str, list[str]]] = {d: {} for d in range(10)}
"""Ways to write by style by digit."""
for _row in _EUROPEAN.strip().split("\n"):
    _digit, _style, _way = _row.split(" ", 2)
    EUROPEAN[int(_digit)].setdefault(_style, []).append(_way)
VARIANTS = {d: [w for row in _WAYS.split("\n") if row[:1] == str(d) for w in row[2:].split(";")] for d in range(10)}
# Width over height, turn in degrees, least lean to the right. A 1 turned right and a 7 turned left become each other.
POSES = {0: (0.42, 0.85, -12, 12, -0.14), 1: (0.36, 0.58, -12, 4, -0.1), 6: (0.48, 0.95, -12, 12, -0.04)}
POSES |= {7: (0.6, 0.95, -4, 12, 0.02)} | dict.fromkeys((2, 3, 4, 5, 8, 9), (0.48, 0.95, -12, 12, -0.14))


# Ones with a long upstroke are wider, and no flatter.
EUROPEAN_ONE = (0.42, 0.8, -12, 3, -0.1)


@dataclass(frozen=True)
class Scene:
    """Where a drawing is made: (paper, ink) pairs, canvas short side in px, pen width in digit heights."""

    weight: float
    colours: tuple[tuple[Colour, Colour], ...]
    side: tuple[int, int]
    pen: tuple[float, float]
    aliased: float = 0.0  # chance of a pen without antialiasing
    rough: float = 0.0  # 0 an even line, 1 dry chalk
    photo: float = 0.0  # strength of uneven light, texture, noise and blur
    clear: bool = False  # transparent canvas instead of paper


BLACK, WHITE, BLUE, RED, INK = (0, 0, 0), (255, 255, 255), (28, 60, 190), (200, 30, 40), (25, 30, 75)
GREEN, PURPLE, ORANGE, GREY, CREAM = (20, 120, 60), (110, 40, 150), (225, 105, 10), (128, 128, 128), (247, 240, 215)
BOARD, SLATE, NIGHT, NOTE = (38, 84, 62), (50, 54, 58), (24, 26, 34), (253, 232, 120)
YELLOW, PINK, CYAN, SKY, PENCIL = (250, 230, 120), (250, 180, 200), (90, 220, 235), (225, 238, 250), (84, 84, 88)
PALE, KRAFT, STONE, ASH, LEAD = (230, 233, 234), (182, 150, 112), (205, 200, 190), (160, 158, 155), (132, 132, 134)

SCENES = (
    # paint program
    Scene(5, (*[(WHITE, BLACK)] * 5, (WHITE, RED), (WHITE, BLUE), (WHITE, GREEN), (BLACK, WHITE), (YELLOW, BLUE)),
          (120, 640), (0.006, 0.16), aliased=0.7),
    # web canvas
    Scene(4, (*[(BLACK, WHITE), (WHITE, BLACK)] * 2, (NIGHT, CYAN), (WHITE, INK)), (112, 400), (0.03, 0.17)),
    # notes app on a phone or tablet
    Scene(3, ((WHITE, INK), (NOTE, BLACK), (CREAM, PURPLE), (NIGHT, WHITE), (NIGHT, ORANGE), (WHITE, ORANGE),
              (SKY, BLUE)), (90, 400), (0.012, 0.14)),
    # pen or pencil on paper, photographed
    Scene(4, ((CREAM, BLUE), (CREAM, INK), (WHITE, BLUE), (WHITE, PENCIL), (WHITE, LEAD), (STONE, BLACK),
              (WHITE, BLACK), (KRAFT, BLACK)), (80, 300), (0.02, 0.10), rough=0.25, photo=1.0),
    # blackboard, whiteboard
    Scene(2.5, ((BOARD, WHITE), (BOARD, YELLOW), (SLATE, WHITE), (NIGHT, PINK), (BOARD, PALE)),
          (80, 280), (0.05, 0.13), rough=1.0, photo=0.7),
    Scene(2, ((PALE, BLACK), (PALE, BLUE), (PALE, RED), (PALE, GREEN)), (90, 300), (0.04, 0.12), rough=0.1, photo=0.8),
    # mid-grey paper
    Scene(1.5, ((GREY, BLACK), (GREY, WHITE), (ASH, INK), (PENCIL, WHITE), (ASH, BLACK)),
          (60, 260), (0.02, 0.15), aliased=0.2, photo=0.3),
    # transparent canvas; light ink is for dark pages, so it is the rarer one
    Scene(2, (*[(WHITE, BLACK)] * 4, (WHITE, BLUE), (WHITE, INK), (BLACK, WHITE), (BLACK, YELLOW)),
          (60, 400), (0.02, 0.16), aliased=0.15, clear=True),
    # icon-sized canvas
    Scene(2.5, (*[(WHITE, BLACK)] * 2, (BLACK, WHITE), (GREY, WHITE), (CREAM, BLUE)),
          (25, 60), (0.06, 0.12), aliased=0.4, photo=0.15),
)  # fmt: skip


def _spline(knots: Array) -> Array:
    """A smooth curve through knots [N, 2], as points [M, 2] (cubic Hermite, centripetal parameter)."""
    chord = np.diff(knots, axis=0)
    t = np.linspace(0, 1, 30)[:, None]
    if len(knots) == 2:
        return np.asarray(knots[0] + t * chord)
    gap = np.sqrt(np.linalg.norm(chord, axis=1))[:, None] + 1e-6
    slope = chord / gap
    inner = (gap[1:] * slope[:-1] + gap[:-1] * slope[1:]) / (gap[1:] + gap[:-1])
    tangent = np.vstack([2 * slope[:1] - inner[:1], inner, 2 * slope[-1:] - inner[-1:]])
    ease = 3 * t**2 - 2 * t**3
    pieces = zip(knots, chord, gap, pairwise(tangent), strict=False)
    return np.vstack([a + ease * d + h * (t * (1 - t) ** 2 * m + t**2 * (t - 1) * n) for a, d, h, (m, n) in pieces])


def _even(path: Array, step: float) -> Array:
    """The path [N, 2] with points about `step` apart along it."""
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    at = np.linspace(0, along[-1], max(2, round(along[-1] / step) + 1))
    return np.column_stack([np.interp(at, along, path[:, 0]), np.interp(at, along, path[:, 1])])


def _blur(values: Array, sigma: float) -> Array:
    """Values [N] smoothed along their one axis, sigma in samples."""
    reach = int(3 * sigma) + 1
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return np.convolve(np.pad(values, reach, mode="edge"), kernel / kernel.sum(), "valid")


def _drift(n: int, sigma: float, rng: np.random.Generator) -> Array:
    """Smooth noise [n] of about unit size, correlated over sigma samples."""
    return _blur(rng.normal(0, 1.9 * np.sqrt(sigma), n), sigma)


def handwriting(digit: int, rng: np.random.Generator, style: str = "") -> list[Array]:
    """One person's way to write `digit`: pen strokes [N, 2] as (x, y), y downward, the whole 1 high, top left at 0."""
    variants = EUROPEAN[digit][style] if style else VARIANTS[digit]
    variant = variants[rng.integers(len(variants))]
    jitter, tremor, roundness = rng.uniform(0.005, 0.028), 0.014 * rng.beta(0.6, 2.4), rng.uniform(0.5, 2.5)
    narrow, wide, left, right, back = EUROPEAN_ONE if style and digit == 1 else POSES[digit]
    width, bend = rng.uniform(narrow, wide), rng.uniform(-0.22, 0.22, 2)
    strokes = []
    for text in variant.split("|"):
        pen = [token.strip("!").split(",") for token in text.split()]
        knots = np.array(pen, dtype=np.float64) / 100 + rng.normal(0, jitter, (len(pen), 2))
        knots += bend * knots * (1 - knots)  # one loop bigger, the waist higher
        knots[:, 0] *= width
        cuts = [0, *(i for i, token in enumerate(text.split()) if token.endswith("!")), len(knots) - 1]
        strokes.append(_even(np.vstack([_spline(knots[a : b + 1]) for a, b in pairwise(cuts)]), 0.01))
    # The wobble is a bend of the whole plane, so that strokes which meet still meet.
    waves = [(rng.uniform(-1.1, 1.1, 2), rng.uniform(0, 6.3, 2), rng.uniform(-0.018, 0.018, 2)) for _ in range(3)]
    turn = np.radians(np.clip(rng.normal(0, 5), left, right))
    slant = np.clip(rng.normal(0.08, 0.13), back - turn, 0.34 - turn)  # no digit leans twice over
    affine = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ np.array([[1, -slant], [0, 1]])
    for i, path in enumerate(strokes):
        bent = path + sum(size * np.sin(2 * np.pi * (path @ wave)[:, None] + phase) for wave, phase, size in waves)
        bent += tremor * np.column_stack([_drift(len(path), 4, rng), _drift(len(path), 4, rng)])
        strokes[i] = np.column_stack([_blur(axis, roundness) for axis in bent.T]) @ affine.T
    points = np.vstack(strokes)
    return [(path - points.min(0)) / np.ptp(points[:, 1]) for path in strokes]


def _cover(strokes: list[Array], size: tuple[int, int], pen: float, aliased: bool, rng: np.random.Generator) -> Array:
    """How much ink lies on each pixel, 0 to 1, [height, width]; strokes and pen width in px."""
    scale = 1 if aliased else 4 if max(size) < 500 else 2
    sheet = Image.new("L", (size[0] * scale, size[1] * scale))
    draw = ImageDraw.Draw(sheet)
    tool, swing = rng.choice(["round", "pressure", "nib", "square"], p=[0.5, 0.3, 0.1, 0.1]), rng.uniform(0.1, 0.3)
    facet = pen * 0.05 if rng.random() < 0.8 else rng.uniform(0.06, 0.11) * np.ptp(np.vstack(strokes)[:, 1])
    for stroke in strokes:
        path = _even(stroke, max(1.0, facet)) * scale  # long facets: a fast mouse reports few positions
        wide = np.full(len(path), pen * scale)
        if tool == "pressure":
            end = np.minimum(1, np.arange(len(path))[::-1] / max(3, 0.15 * len(path)))
            wide *= (1 + swing * _drift(len(path), len(path) / 8, rng).clip(-1.5, 1.5)) * (0.6 + 0.4 * end)
        elif tool == "nib":
            step = np.gradient(path, axis=0)
            wide *= 0.55 + 0.55 * np.abs(np.sin(np.arctan2(step[:, 1], step[:, 0]) + 0.7))
        wide = np.maximum(wide, scale)
        for (p, q), w in zip(pairwise(path), wide[1:], strict=True):
            draw.line([*p, *q], fill=255, width=round(w))
        for p, w in zip(path, wide, strict=True):
            if w > 2:
                stamp = draw.rectangle if tool == "square" else draw.ellipse
                stamp([*(p - (w - 1) / 2), *(p + (w - 1) / 2)], fill=255)
    return np.asarray(sheet.resize(size, Image.Resampling.BOX), dtype=np.float64) / 255


def _clouds(size: tuple[int, int], cell: float, rng: np.random.Generator) -> Array:
    """Smooth random patches [height, width] of about unit size, `cell` px wide."""
    grid = rng.normal(0, 1, (int(size[1] / cell) + 2, int(size[0] / cell) + 2)).astype(np.float32)
    return np.asarray(Image.fromarray(grid).resize(size, Image.Resampling.BICUBIC), dtype=np.float64)


def _canvas(scene: Scene, strokes: list[Array], rng: np.random.Generator) -> tuple[list[Array], tuple[int, int], float]:
    """Strokes placed in px on a canvas, its (width, height) and the pen width in px."""
    low, high = scene.side
    side = max(28, round(low * (high / low) ** rng.beta(1.1, 1.4)))
    side = int(rng.integers(700, 1001)) if high > 500 and rng.random() < 0.06 else side
    long = side if rng.random() < 0.5 else round(side * rng.uniform(1.15, 2.0 if side < 500 else 1.3))
    size = (side, long) if rng.random() < 0.4 else (long, side)
    span = np.vstack(strokes).max(0)
    room = 0.96 * min(size[0] / (span[0] + 0.2), size[1] / 1.2)
    height = max(room * rng.uniform(0.32, 1.0), min(room, 20.0))
    # The loops of the narrowest digit must stay open under the widest pen.
    widest = min(scene.pen[1], 0.22 * max(float(span[0]), 0.5)) * height
    thinnest = min(max(scene.pen[0] * height, 1.0 if side < 450 else 2.0, 1.7 * (scene.photo > 0)), widest)
    pen = thinnest * (widest / thinnest) ** rng.random()
    slack = np.array(size) - span * height - 1.5 * pen - 2
    corner = np.maximum(slack, 0) * rng.beta(1.6, 1.6, 2) + 0.75 * pen + 1
    return [stroke * height + corner for stroke in strokes], size, pen


def draw(digit: int, rng: np.random.Generator, style: str = "") -> Image.Image:
    """One drawing of `digit` (0 to 9), short side 28 to 1000 px, mode 1, L, P, RGB, LA or RGBA.

    `style` is one of the digit's in EUROPEAN; without one it is written in any of the VARIANTS.

    An image whose `format` is "JPEG" has been through that codec and is meant to be stored as it.
    """
    scene = SCENES[rng.choice(len(SCENES), p=np.array([s.weight for s in SCENES]) / sum(s.weight for s in SCENES))]
    strokes, size, pen = _canvas(scene, handwriting(digit, rng, style), rng)
    aliased = bool(rng.random() < scene.aliased)
    cover = _cover(strokes, size, pen, aliased, rng)
    if scene.rough:
        grain = 0.6 * rng.normal(0, 1, cover.shape) + 0.5 * _clouds(size, max(2.0, pen / 4), rng)
        cover *= 1 - scene.rough * (0.12 + 0.4 * grain).clip(0, 0.75)
    shade = rng.normal(0, 8, 3)  # no two pens, or papers, have quite the same colour
    paper, ink = (np.array(colour, dtype=np.float64) for colour in scene.colours[rng.integers(len(scene.colours))])
    if not np.ptp(paper) == np.ptp(ink) == 0:
        paper, ink = (paper + 0.5 * shade).clip(0, 255), (ink + shade).clip(0, 255)
    if scene.clear:
        layer = Image.new("RGB", size, tuple(ink.round().astype(int).tolist()))
        layer.putalpha(Image.fromarray((255 * cover).round().astype(np.uint8)))
        return layer.convert("LA") if np.ptp(ink) == 0 and rng.random() < 0.3 else layer
    pixels = paper + cover[:, :, None] * (ink - paper)
    photo = scene.photo * rng.uniform(0.4, 1.0)
    if scene.photo:
        y, x = np.mgrid[-1 : 1 : size[1] * 1j, -1 : 1 : size[0] * 1j]
        toward = rng.uniform(0, 2 * np.pi)
        light = 0.22 * (x * np.cos(toward) + y * np.sin(toward) - 0.6) - rng.uniform(0, 0.12) * (x**2 + y**2)
        texture = 0.02 * _clouds(size, max(size) / 6, rng) + 0.012 * _clouds(size, 3.7, rng)
        pixels *= 1 + photo * (light + texture)[:, :, None]
        pixels += rng.normal(0, 6 * photo, cover.shape)[:, :, None]
    image = Image.fromarray(pixels.clip(0, 255).round().astype(np.uint8))
    if not aliased and rng.random() < (0.5 if scene.photo else 0.08):
        image = image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.3, 0.9) * min(1.0, pen / 2.5))))
    return _stored(image, bool(rng.random() < (scene.photo * 1.7 or 0.08)), rng)


def _stored(image: Image.Image, jpeg: bool, rng: np.random.Generator) -> Image.Image:
    """The RGB image in a mode that a program might store it in, with JPEG's artefacts where asked."""
    grey = np.ptp(np.asarray(image), axis=2).max() == 0 and rng.random() < 0.6
    image = image.convert("L" if grey else "RGB")
    if jpeg:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=int(rng.integers(35 if min(image.size) > 80 else 65, 90)))
        image = Image.open(buffer)
        return image.copy() if max(image.size) < 90 and rng.random() < 0.5 else image
    if {colour for _, colour in image.getcolors(2) or ()} == {0, 255} and rng.random() < 0.5:
        return image.convert("1")
    # A palette made for the many shades of noise would have no place for the few pixels of ink.
    few = image.getcolors(2000) is not None and not grey and rng.random() < 0.85
    return image.quantize(48, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE) if few else image


def write(out: Path, per_class: int, seed: int, *, european: bool = False) -> list[Path]:
    """Write OUT/<digit>/<nnn>.png or .jpg, European ones OUT/<digit>/<style>-<nnn>, and return their paths."""
    written = []
    for digit in range(10):
        folder = out / str(digit)
        folder.mkdir(parents=True, exist_ok=True)
        styles = list(EUROPEAN[digit]) if european else [""]
        for index in range(per_class):
            style = styles[index % len(styles)]
            # Its own generator for each, so that drawing 7 stays the same however many are asked for.
            image = draw(digit, np.random.default_rng([seed, digit, index]), style)
            jpeg = image.format == "JPEG"
            path = folder / f"{style}{'-' if style else ''}{index:03d}{'.jpg' if jpeg else '.png'}"
            path.with_suffix(".png" if jpeg else ".jpg").unlink(missing_ok=True)  # of an earlier seed
            image.save(path, **({"quality": "keep"} if jpeg else {"optimize": True}))
            written.append(path)
    return written


def main() -> None:
    """Write the drawings, and say what was written."""
    parser = argparse.ArgumentParser(description="Draw digits as people draw them.")
    parser.add_argument("out", type=Path, help="folder to write into")
    parser.add_argument("--per-class", type=int, default=20, help="drawings of each digit (default 20)")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same drawings (default 0)")
    parser.add_argument("--styles", choices=("any", "european"), default="any", help="ways to write (default any)")
    args = parser.parse_args()
    written = write(args.out, args.per_class, args.seed, european=args.styles == "european")
    total = sum(path.stat().st_size for path in written)
    print(f"{args.out}: {10 * args.per_class} drawings, {args.per_class} of each digit, {total / 1024:.0f} KiB")


if __name__ == "__main__":
    main()

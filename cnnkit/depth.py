"""The range of pixel values of images deeper than 8 bits. numpy only.

A 16-bit file may hold 12 bits, and a floating-point one any numbers. What black and white are is a matter of the data
set, so the values of each image are summed up as a `Span`, spans are joined, and `value_range` gives the range of all.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Range = tuple[float, float]
"""The values that become black and white."""

DEPTHS = (8, 10, 12, 14, 16)
"""Bits that whole numbers are taken to have."""

_TRIMMED, _FEWEST = 0.001, 3
"""Share and number of the values at each end that may be outliers."""

_SQUEEZED = 4
"""Outliers are clipped where they would make the range more than this many times as wide."""

_FILLED = 1 / 16
"""Share of a depth that whole numbers span at least: a narrower band would become a few levels of it."""

_TOLERATED = 0.02
"""Share of a range by which values may leave it without a word."""

_DARK, _FLAT = 1 / 12, 1 / 100
"""Shares of a range that the values of an image hardly stay below, or span, unless they are of another depth."""

_BLOCK = 1 << 20
"""Values that are worked on together."""


class PixelError(ValueError):
    """Pixels that make no picture. The message goes on after the name of the image, and says what to do."""


@dataclass(frozen=True)
class Span:
    """What the values of one image or of many images span.

    Attributes:
        least, most: the extremes.
        low, high: the extremes without outliers: 0.1% of each image's values at each end, at least 3 of them.
        whole: all values are whole numbers.
        floating: some image stores floating-point numbers.
        count: number of values.
    """

    least: float
    most: float
    low: float
    high: float
    whole: bool
    floating: bool
    count: int

    @classmethod
    def of(cls, values: NDArray[np.generic]) -> Self:
        """Sum up the values of one image, integer or floating-point, of any shape.

        Raises:
            PixelError: there are none, or some are not finite.
        """
        flat = values.reshape(-1)
        if not flat.size:
            raise PixelError("has no pixels")
        floating = flat.dtype.kind == "f"
        if floating and not np.isfinite(flat).all():
            raise PixelError("has pixels that are not numbers (NaN or infinity); replace them, for example by 0")
        # An eighth at most: where there are hardly any values, each one counts.
        outside = min(max(_FEWEST, int(flat.size * _TRIMMED)), flat.size // 8)
        ranks = (0, outside, flat.size - 1 - outside, flat.size - 1)
        least, low, high, most = map(float, _at_ranks(flat, ranks))
        return cls(
            least=least,
            most=most,
            low=low,
            high=high,
            whole=not floating or bool((np.floor(flat) == flat).all()),
            floating=floating,
            count=flat.size,
        )

    def merge(self, other: "Span") -> "Span":
        """Return the span of the images of both."""
        return Span(
            least=min(self.least, other.least),
            most=max(self.most, other.most),
            low=min(self.low, other.low),
            high=max(self.high, other.high),
            whole=self.whole and other.whole,
            floating=self.floating or other.floating,
            count=self.count + other.count,
        )

    @staticmethod
    def join(spans: Iterable["Span"]) -> "Span":
        """Return the span of the images of all, in any order.

        Raises:
            ValueError: there are none.
        """
        spans = list(spans)
        if not spans:
            raise ValueError("there are no spans to join")
        return reduce(Span.merge, spans)


def _at_ranks(values: NDArray[Any], ranks: tuple[int, ...]) -> NDArray[Any]:
    """Return the values, of [N], that would be at these places in their order."""
    if values.dtype == np.uint16:
        # By their histogram, which takes a copy of a block in place of one of the whole image.
        counts = sum(
            np.bincount(values[start : start + _BLOCK], minlength=1 << 16) for start in range(0, values.size, _BLOCK)
        )
        return np.searchsorted(np.cumsum(counts), ranks, side="right")
    return np.asarray(np.partition(values, ranks)[list(ranks)])


def value_range(span: Span) -> Range:
    """Return the values that become black and white.

    Whole numbers from 0 on have the fewest of 8, 10, 12, 14 and 16 bits that hold them, unless they are a narrow band
    far from 0; floating-point numbers go from 0 to 1 or, where they fill a good part of it, from 0 to 255. Other values
    go from their smallest to their largest.
    Outliers count only where the rest is constant, or where they would not squeeze it.
    """
    low, high = span.low, span.high
    if low == high:
        low, high = span.least, span.most
    if low >= 0:
        if span.floating and high <= 1 and (high > 1 / 16 or not high):
            return 0.0, 1.0
        if span.whole and (not span.floating or high > 255 / 16):
            bits = next((bits for bits in DEPTHS if high < 2**bits), None)
            if bits is not None and (low == high or low < high / 2 or high - low >= 2**bits * _FILLED):
                return 0.0, 2.0**bits - 1
        if span.floating and 255 / 4 < high <= 255:
            return 0.0, 255.0
    if low == high:
        return (low, 0.0) if low < 0 else (0.0, high or 1.0)
    if span.most - span.least <= _SQUEEZED * (high - low):
        return span.least, span.most
    return low, high


def scaled(values: NDArray[np.generic], values_range: Range) -> NDArray[np.uint8]:
    """Return values of any shape as uint8 of the same shape: those of the range as 0 to 255, others clipped to it."""
    if values.dtype == np.uint16:
        table = _eight_bits(np.arange(65536), values_range)
        return np.asarray(table[values])
    flat = values.reshape(-1)
    result = np.empty(flat.shape, np.uint8)
    for start in range(0, flat.size, _BLOCK):
        result[start : start + _BLOCK] = _eight_bits(flat[start : start + _BLOCK], values_range)
    return result.reshape(values.shape)


def _eight_bits(values: NDArray[Any], values_range: Range) -> NDArray[np.uint8]:
    low, high = values_range
    shares = (values.astype(np.float64) - low) / (high - low)
    return np.asarray(np.round(np.clip(shares, 0, 1) * 255), np.uint8)


def misfit(span: Span, values_range: Range) -> str:
    """Say why a range that was found in other images may be wrong for these; empty where nothing speaks against it."""
    low, high = values_range
    width, own = high - low, ends((span.low, span.high))
    if span.low < low - _TOLERATED * width or span.high > high + _TOLERATED * width:
        return f"its values {own} are clipped"
    if span.high < low + _DARK * width or span.high - span.low < _FLAT * width:
        return f"its values {own} are a small part of it"
    return ""


def ends(values_range: Range) -> str:
    """Write a range as 0–4095, one with negative values as -2.5 to 3."""
    low, high = (
        f"{int(value)}" if value.is_integer() and abs(value) < 1e7 else f"{value:.4g}"
        for value in map(float, values_range)
    )
    return f"{low} to {high}" if values_range[0] < 0 or "e-" in low + high else f"{low}–{high}"


def describe(values_range: Range) -> str:
    """Write a range as 0–4095 (12 bits)."""
    bits = [bits for bits in DEPTHS if values_range == (0, 2**bits - 1)]
    return ends(values_range) + (f" ({bits[0]} bits)" if bits else "")

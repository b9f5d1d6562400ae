"""Charts for pages, drawn by matplotlib as SVG that takes its colours, light or dark, from the page.

No text from outside goes into a chart: names of classes and files stand beside it. Of the same numbers come the same
bytes.
"""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import cycle
from math import isfinite
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cnnkit.evaluation.results import CalibrationBin

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_INK, _SOFT, _LINE, _TRACK, RIGHT, _SECOND, WRONG = (
    "#1b1f24", "#5b6470", "#dfe3e8", "#e6eaef", "#1668b8", "#a34a00", "#b93a0b",
)  # fmt: skip
_VARIABLES = {
    _INK: "ink", _SOFT: "soft", _LINE: "line", _TRACK: "track", RIGHT: "accent", _SECOND: "second", WRONG: "bad",
}  # fmt: skip
"""Colours of the light page, and the names under which page.css has them."""
_WIDTH = 360
"""Of a chart in units of its own; it is scaled to its place on the page."""
_LINES = ((RIGHT, "-"), (_SECOND, "--"), (_SOFT, ":"), (_INK, "-."))
_QUARTERS = (0.0, 0.25, 0.5, 0.75, 1.0)


def lines(
    data: Mapping[str, Sequence[tuple[float, float]]],
    *,
    x: str,
    fractions: bool = False,
    whole: bool = False,
    mark: float | None = None,
    height: int = 220,
) -> str:
    """Return lines over a common x, with their names where there are two; empty where no number is finite.

    Args:
        data: points (x, y) of each line by its name; those that are not finite are left out.
        x: what the horizontal axis is.
        fractions: y is a share, drawn from 0% to 100%.
        whole: x is a whole number, as of epochs.
        mark: an x to point out.
        height: to a width of 360.
    """
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    kept = {name: [place for place in places if all(map(isfinite, place))] for name, places in data.items()}
    if not any(kept.values()):
        return ""
    with _style(kept, x):
        figure = _figure(height)
        axes = figure.subplots()
        axes.grid(axis="y")
        axes.yaxis.set_major_locator(MaxNLocator(5))
        for (name, places), (colour, dash) in zip(kept.items(), cycle(_LINES), strict=False):
            marker = "o" if len(places) <= 30 else ""
            along, up = [place[0] for place in places], [place[1] for place in places]
            axes.plot(along, up, dash, color=colour, marker=marker, label=name, clip_on=False)
        if mark is not None:
            axes.axvline(mark, color=_SOFT, linewidth=1, linestyle=":")
        if fractions:
            axes.set_yticks(_QUARTERS)
            axes.set_ylim(0, 1)
            axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        if whole:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.set_xlabel(x)
        if len(kept) > 1:
            axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(kept), frameon=False, borderpad=0)
        return _svg(figure)


def reliability(bins: Sequence[CalibrationBin]) -> str:
    """Return the share of right answers in each bin of probability, the mean probability, and the number of images.

    Source: Guo et al., 2017.
    """
    from matplotlib.ticker import FuncFormatter, NullLocator, PercentFormatter

    filled = [found for found in bins if found.images]
    low, width = [found.low for found in filled], [0.94 * (found.high - found.low) for found in filled]
    with _style(bins):
        figure = _figure(330, left=58)
        axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
        axes.grid(axis="y")
        axes.bar(low, [found.accuracy for found in filled], width, align="edge", color=RIGHT, alpha=0.75)
        ends = [start + wide for start, wide in zip(low, width, strict=True)]
        axes.hlines([found.confidence for found in filled], low, ends, color=_SECOND, linewidth=2.5)
        axes.axline((0, 0), (1, 1), color=_INK, linewidth=1, linestyle=(0, (4, 3)))
        axes.set_ylim(0, 1)
        axes.set_yticks(_QUARTERS)
        counts = [found.images for found in filled]
        below.bar(low, [count - 0.5 for count in counts], width, bottom=0.5, align="edge", color=_SOFT, alpha=0.6)
        below.set_yscale("log")
        below.set_ylim(0.5, max(counts, default=1) * 1.5)
        below.set_yticks([1, max(counts)] if max(counts, default=1) > 1 else [1])
        below.yaxis.set_minor_locator(NullLocator())
        below.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        below.set_ylabel("images")
        below.set_xlim(0, 1)
        below.set_xticks(_QUARTERS)
        for axis in (axes.yaxis, below.xaxis):
            axis.set_major_formatter(PercentFormatter(1.0))
        below.set_xlabel("probability of the answer")
        return _svg(figure)


def cells(counts: Sequence[Sequence[int]]) -> NDArray[np.float64]:
    """Return the colours of a confusion matrix, red, green, blue and opacity from 0 to 1: float64 [N, N, 4].

    A right cell is as strong as its share of the class, a wrong one as its share of the largest wrong one.
    """
    found = np.asarray(counts, np.float64)
    right = np.eye(len(found), dtype=bool)
    of = np.where(right, found.sum(1, keepdims=True), found[~right].max(initial=0.0))
    strength = np.divide(found, of, out=np.zeros_like(found), where=of > 0)
    colours = np.where(right[..., None], _rgb(RIGHT), _rgb(WRONG))
    shown = np.where(found > 0, np.maximum(strength, 1 / 6), 0)
    return np.concatenate([colours, shown[..., None]], -1)


def matrix(counts: Sequence[Sequence[int]]) -> str:
    """Return a confusion matrix of many classes, rows true and columns predicted, as a picture of a dot a cell."""
    with _style(counts):
        figure = _figure(_WIDTH)
        axes = figure.subplots()
        axes.set_facecolor(_TRACK)
        axes.imshow(cells(counts), interpolation="none")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_xlabel("predicted class")
        axes.set_ylabel("true class")
        return _svg(figure)


def _rgb(colour: str) -> tuple[float, ...]:
    return tuple(int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))


@contextmanager
def _style(*data: object) -> Iterator[None]:
    """Let matplotlib draw as the page looks; of other data come other ids, as all charts of a page share theirs."""
    import matplotlib as mpl

    with mpl.rc_context(
        {
            "svg.fonttype": "none", "svg.hashsalt": repr(data), "font.size": 10.5, "text.color": _SOFT,
            "figure.facecolor": "none", "axes.facecolor": "none", "axes.edgecolor": _LINE, "axes.labelcolor": _SOFT,
            "axes.axisbelow": True, "axes.spines.left": False, "axes.spines.right": False, "axes.spines.top": False,
            "grid.color": _LINE, "xtick.color": _SOFT, "ytick.color": _SOFT, "xtick.major.size": 0,
            "ytick.major.size": 0, "lines.linewidth": 2, "lines.markersize": 4.5,
        }
    ):  # fmt: skip
        yield


def _figure(height: int, left: int = 46) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH / 72, height / 72))
    # Fixed margins: that charts beside each other agree, and no text has to be measured.
    figure.subplots_adjust(left / _WIDTH, 35 / height, 1 - 16 / _WIDTH, 1 - 24 / height, hspace=0.12)
    return figure


def _svg(figure: "Figure") -> str:
    """Return a figure as a part of a page: in its colours and fonts, without a head, a style sheet and a size."""
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    svg = file.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->|\n\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(?<=<g) id="[^"]*"|font-family:[^;]*; | transform="rotate\(-0[^"]*"', "", svg)
    svg = re.sub(r'^.*?<svg[^>]*(viewBox="[^"]*")[^>]*', r"<svg \1", svg)
    for colour, name in _VARIABLES.items():
        svg = svg.replace(colour, f"var(--{name})")
    return svg

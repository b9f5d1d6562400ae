"""Charts for pages, as SVG inside them: in the colours of the page, light or dark, and sharp at any size."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from cnnkit.render import html
from cnnkit.results import CalibrationBin
from cnnkit.words import counted, plain_percent, probability, share

_WIDTH = 360
_LEFT, _RIGHT, _TOP = 46, 18, 14
_TABLE = 20
"""Classes up to which a confusion matrix has its numbers in it."""
_SHADES = 6


@dataclass(frozen=True)
class Line:
    """Points, by x, that belong together; not finite ones are left out."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class _Frame:
    """Where data lies in a chart: `low` and `high` of both axes, and the height of the chart."""

    low: tuple[float, float]
    high: tuple[float, float]
    height: int
    bottom: int = 38

    def x(self, value: float) -> float:
        span = (self.high[0] - self.low[0]) or 1.0
        return round(_LEFT + (value - self.low[0]) / span * (_WIDTH - _LEFT - _RIGHT), 1)

    def y(self, value: float) -> float:
        span = (self.high[1] - self.low[1]) or 1.0
        floor = self.height - self.bottom
        return round(floor - (value - self.low[1]) / span * (floor - _TOP), 1)


def lines(
    data: Sequence[Line],
    *,
    alt: str,
    x: str,
    fractions: bool = False,
    whole: bool = False,
    mark: float | None = None,
    height: int = 220,
) -> Markup:
    """Return lines over a common x, with the names below them where there are several.

    Args:
        data: up to four.
        alt: what it shows, for those who do not see it.
        x: what the horizontal axis is.
        fractions: y is a share, drawn from 0% to 100%.
        whole: x is a whole number, as of epochs.
        mark: an x to point out.
        height: to a width of 360.
    """
    kept = [Line(d.name, [p for p in d.points if math.isfinite(p[0]) and math.isfinite(p[1])]) for d in data]
    places = [point for line in kept for point in line.points]
    if not places:
        return html.note("There is nothing to draw: no number is finite.")
    low, high = min(p[1] for p in places), max(p[1] for p in places)
    up = [0.0, 0.25, 0.5, 0.75, 1.0] if fractions else _ticks(low, high)
    along = _ticks(min(p[0] for p in places), max(p[0] for p in places), whole=whole)
    first, last = min(p[0] for p in places), max(p[0] for p in places)
    frame = _Frame((first, min(low, up[0])), (last, max(high, up[-1])), height)
    pieces = [*_axes(frame, [t for t in along if first <= t <= last], up, x, fractions=fractions)]
    if mark is not None:
        pieces.append(
            Markup('<line class="mark" x1="{0}" x2="{0}" y1="{1}" y2="{2}"/>').format(
                frame.x(mark), _TOP, height - frame.bottom
            )
        )
    pieces += (_line(frame, line, number) for number, line in enumerate(kept, 1))
    drawn = _svg(alt, height, pieces)
    return Markup("<div>{}{}</div>").format(drawn, _keys([line.name for line in kept])) if len(kept) > 1 else drawn


def _line(frame: _Frame, line: Line, number: int) -> Markup:
    places = " ".join(f"{frame.x(a)},{frame.y(b)}" for a, b in line.points)
    dots = Markup("").join(
        Markup('<circle cx="{}" cy="{}" r="2.6"/>').format(frame.x(a), frame.y(b)) for a, b in line.points
    )
    return Markup('<g class="line line-{}"><polyline points="{}"/>{}</g>').format(
        number, places, dots if len(line.points) <= 30 else ""
    )


def reliability(bins: Sequence[CalibrationBin], *, alt: str) -> Markup:
    """Return the accuracy of the images of each bin of confidence against the confidence itself, and their number.

    Source: Guo et al., 2017; the number below each bar is drawn on a logarithmic scale.
    """
    height, strip = 320, 62
    frame = _Frame((0, 0), (1, 1), height, bottom=strip + 38)
    quarters = [0.0, 0.25, 0.5, 0.75, 1.0]
    pieces = [*_axes(frame, [], quarters, "", fractions=True)]
    most = math.log1p(max(found.images for found in bins) or 1)
    floor = height - 38
    for found in bins:
        if not found.images:
            continue
        left, width = frame.x(found.low) + 0.8, frame.x(found.high) - frame.x(found.low) - 1.6
        says = (
            f"{probability(found.low)} to {probability(found.high)}: {counted(found.images, 'image')}, "
            f"{share(found.accuracy, of=found.images)} right"
        )
        top, bar = frame.y(found.accuracy), math.log1p(found.images) / most * (strip - 20)
        pieces.append(
            Markup(
                '<g><title>{}</title><rect class="bin" x="{}" y="{}" width="{}" height="{}"/>'
                '<line class="said" x1="{}" x2="{}" y1="{}" y2="{}"/>'
                '<rect class="count" x="{}" y="{}" width="{}" height="{}"/></g>'
            ).format(
                says, *_rounded(left, top, width, frame.y(0) - top),
                *_rounded(left, left + width, frame.y(found.confidence), frame.y(found.confidence)),
                *_rounded(left, floor - bar, width, bar),
            )
        )  # fmt: skip
    diagonal = (frame.x(0), frame.x(1), frame.y(0), frame.y(1))
    pieces.append(Markup('<line class="ideal" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(*diagonal))
    pieces += (_text(frame.x(q), floor + 14, f"{q:.0%}", "middle") for q in quarters)
    pieces.append(_text((_LEFT + _WIDTH - _RIGHT) / 2, height - 5, "probability of the answer", "middle"))
    pieces.append(_text(_LEFT - 6, floor - 4, "images", "end"))
    return _svg(alt, height, pieces)


def confusion(labels: Sequence[str], counts: Sequence[Sequence[int]], *, caption: str) -> Markup:
    """Return a confusion matrix, rows true and columns predicted: a table, or for many classes a picture of it."""
    wrong = [count for i, row in enumerate(counts) for j, count in enumerate(row) if i != j]
    worst = max(wrong, default=0) or 1
    if len(labels) > _TABLE:
        return html.figure(_matrix(counts, worst, alt=caption), caption)
    turned = Markup(' class="turned"') if max(map(len, labels)) > 3 else Markup("")
    head = Markup("").join(Markup('<th scope="col"{}><span>{}</span></th>').format(turned, label) for label in labels)
    body = Markup("").join(
        Markup('<tr><th scope="row">{}</th>{}</tr>').format(
            labels[i], Markup("").join(_cell(count, i == j, sum(row), worst) for j, count in enumerate(row))
        )
        for i, row in enumerate(counts)
    )
    return Markup(
        '<div class="scroll" tabindex="0" role="region" aria-label="{0}"><table class="confusion">'
        "<caption>{0}</caption><thead><tr><td></td>{1}</tr></thead><tbody>{2}</tbody></table></div>"
    ).format(caption, head, body)


def _cell(count: int, right: bool, of_class: int, worst: int) -> Markup:
    if not count:
        return Markup('<td class="none">·</td>')
    share = count / of_class if right else count / worst
    return Markup('<td class="{}" style="--share:{}">{}</td>').format(
        "hit" if right else "miss", round(share, 3), count
    )


def _matrix(counts: Sequence[Sequence[int]], worst: int, *, alt: str) -> Markup:
    """Return a picture with a square a cell: the shade of a wrong one is its share of the largest wrong one."""
    shades: dict[tuple[str, int], list[str]] = {}
    for i, row in enumerate(counts):
        for j, count in enumerate(row):
            if count:
                share = count / sum(row) if i == j else count / worst
                key = ("hit" if i == j else "miss", max(1, math.ceil(share * _SHADES)))
                shades.setdefault(key, []).append(f"M{j} {i}h1v1h-1z")
    size = len(counts)
    paths = Markup("").join(
        Markup('<path class="{}" opacity="{}" d="{}"/>').format(kind, round(shade / _SHADES, 2), "".join(cells))
        for (kind, shade), cells in shades.items()
    )
    return Markup(
        '<svg class="chart matrix" viewBox="0 0 {0} {0}" role="img" aria-label="{1}" shape-rendering="crispEdges">'
        '<rect class="ground" width="{0}" height="{0}"/>{2}</svg>'
    ).format(size, alt, paths)


def _axes(frame: _Frame, along: Iterable[float], up: Sequence[float], x: str, *, fractions: bool) -> Iterable[Markup]:
    for value in up:
        height = frame.y(value)
        yield Markup('<line class="rule" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(
            _LEFT, _WIDTH - _RIGHT, height, height
        )
        yield _text(_LEFT - 6, height + 4, plain_percent(value) if fractions else f"{value:g}", "end")
    for value in along:
        yield _text(frame.x(value), frame.height - frame.bottom + 15, f"{value:g}", "middle")
    if x:
        yield _text((_LEFT + _WIDTH - _RIGHT) / 2, frame.height - 5, x, "middle")


def _ticks(low: float, high: float, *, whole: bool = False) -> list[float]:
    from matplotlib.ticker import MaxNLocator

    if low == high:
        return [low]
    found = MaxNLocator(5, steps=[1, 2, 2.5, 5, 10], integer=whole).tick_values(low, high)
    return [round(float(value), 10) for value in found]


def _keys(names: Sequence[str]) -> Markup:
    keys = (Markup('<span class="key key-{}">{}</span>').format(number, name) for number, name in enumerate(names, 1))
    return Markup('<p class="keys">{}</p>').format(Markup(" ").join(keys))


def _text(x: float, y: float, words: str, anchor: str) -> Markup:
    return Markup('<text x="{}" y="{}" text-anchor="{}">{}</text>').format(round(x, 1), round(y, 1), anchor, words)


def _svg(alt: str, height: int, pieces: Iterable[Markup]) -> Markup:
    return Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        _WIDTH, height, alt, Markup("").join(pieces)
    )


def _rounded(*values: float) -> list[float]:
    return [round(value, 1) for value in values]

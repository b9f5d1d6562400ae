"""A chart of where the parameters and the work of a network are."""

from collections.abc import Sequence
from pathlib import Path

from cnnkit.inspection.results import GraphSummary, LayerRow, ModelSummary
from cnnkit.render import plots, summaries

# Bars that a page has room for.
_READABLE = 40


def draw(result: ModelSummary | GraphSummary, path: Path) -> None:
    """Draw the parameters and multiply-adds of each layer that has any to a PNG.

    Where there are too many layers to be read, those one level up are drawn in their place. The bar of one that stands
    for several alike is that of all of them.

    Raises:
        OutputError: the file cannot be written.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    drawn_rows = _drawn(result.layers)
    rows = [row for row, _ in drawn_rows]
    names = [f"{row.name} ×{times}" if times > 1 else row.name for row, times in drawn_rows]
    height = 1.3 + 0.24 * max(len(rows), 4)
    figure = Figure(figsize=(10, height), layout="constrained")
    figure.suptitle(f"{result.model}, batch {result.batch}", parse_math=False)
    panels = (
        ("parameters", [row.parameters * times for row, times in drawn_rows], result.parameters),
        ("multiply-adds", [row.multiply_adds * times for row, times in drawn_rows], result.multiply_adds),
    )
    for axes, colour, (title, values, total) in zip(
        figure.subplots(1, 2, sharey=True), ("#1668b8", "#c2410c"), panels, strict=True
    ):
        drawn = axes.barh(range(len(rows)), values, color=colour, height=0.7)
        labels = [_label(value, total) for value in values]
        axes.bar_label(drawn, labels, padding=3, fontsize=8, color="#5a5f68")
        axes.set_title(f"{title}: {summaries.short(total)}", fontsize=10)
        axes.set_xlim(0, 1.28 * max(values, default=0) or 1)
        axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
        axes.grid(axis="x", alpha=0.25)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    axes = figure.axes[0]
    axes.set_yticks(range(len(rows)), names, fontsize=8, parse_math=False)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    plots.save(figure, path)


def _label(value: int, total: int) -> str:
    """Say a value, and its share where it is worth saying."""
    if not value:
        return ""
    return f"{summaries.short(value)} ({value / total:.0%})" if value / total >= 0.005 else summaries.short(value)


def _drawn(rows: Sequence[LayerRow]) -> list[tuple[LayerRow, int]]:
    """Return the rows that a chart has room for, each part of the network once, and how many each stands for."""
    times: dict[str, int] = {"": 1}
    for row in rows:
        times[row.name] = times.get(row.name.rpartition(".")[0], 1) * summaries.repeats_of(row)
    found: list[LayerRow] = []
    for depth in range(max((row.depth for row in rows), default=1), 0, -1):
        found = [
            row
            for row in rows
            if (row.depth == depth or (row.depth < depth and row.is_leaf)) and (row.parameters or row.multiply_adds)
        ]
        if len(found) <= _READABLE:
            break
    return [(row, times[row.name]) for row in found]

"""Plots as PNG files, written atomically. matplotlib is loaded when the first one is drawn."""

import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cnnkit.evaluation.results import Evaluation
from cnnkit.files import write_atomic
from cnnkit.render import charts, fonts
from cnnkit.render.benchmarks import candidate
from cnnkit.runtime.results import Benchmark, Measurement
from cnnkit.training.results import EpochRecord
from cnnkit.words import share

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TRAIN, _VALIDATION = "#8a8f98", "#1668b8"
LINES = ("#1668b8", "#c2410c", "#15803d", "#7e22ce", "#8a8f98", "#b8860b", "#0e7490", "#be185d")
_DASHES = ("-", "--", ":")


def require_matplotlib() -> None:
    """Load matplotlib now, so that its absence is noticed before any long work.

    Raises:
        ModuleNotFoundError: this installation lacks it.
    """
    import matplotlib.figure  # noqa: F401


def save(figure: "Figure", path: Path) -> None:
    """Write a figure to a PNG, atomically.

    Raises:
        OutputError: the file cannot be written.
    """
    content = io.BytesIO()
    with warnings.catch_warnings():
        # What no font has is drawn as boxes; `fonts.note` says so.
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        fonts.apply(figure)
        figure.savefig(content, format="png", dpi=144)
    write_atomic(path, content.getvalue())


def curves(records: Sequence[EpochRecord], path: Path, *, title: str) -> None:
    """Draw loss and accuracy over the epochs to a PNG, the best epoch marked.

    Raises:
        OutputError: the file cannot be written.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    epochs = [record.epoch for record in records]
    best = [record for record in records if record.is_best][-1]
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    figure.suptitle(title, parse_math=False)
    pairs = (
        ("loss", [r.train_loss for r in records], [r.validation_loss for r in records], best.validation_loss),
        (
            "accuracy",
            [r.train_accuracy for r in records],
            [r.validation_accuracy for r in records],
            best.validation_accuracy,
        ),
    )
    for axes, (name, train, validation, at_best) in zip(figure.subplots(1, 2), pairs, strict=True):
        marker = "o" if len(records) < 15 else None
        axes.plot(epochs, train, color=_TRAIN, marker=marker, markersize=4, label="training")
        axes.plot(epochs, validation, color=_VALIDATION, marker=marker, markersize=4, label="validation")
        axes.plot([best.epoch], [at_best], "*", color="#c2410c", markersize=11, label=f"best, epoch {best.epoch}")
        axes.set_xlabel("epoch")
        axes.set_ylabel(name)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.set_xlim(0.5, max(epochs) + 0.5)
        if name == "accuracy":
            axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    save(figure, path)


def confusion(result: Evaluation, path: Path) -> None:
    """Draw the confusion matrix to a PNG, coloured as in the report: what is wrong stands out.

    Raises:
        OutputError: the file cannot be written.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    labels = [row.label for row in result.classes]
    count = len(labels)
    side = max(4.5, 1.6 + 0.5 * count)
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes = figure.subplots()
    cells = charts.cells(result.confusion)
    axes.imshow(cells, interpolation="none")
    right, wrong = "right: a share of its class", "wrong: a share of the most frequent mistake"
    keys = [Patch(color=colour, label=label) for colour, label in ((charts.RIGHT, right), (charts.WRONG, wrong))]
    figure.legend(handles=keys, loc="outside lower center", ncols=2 if count > 4 else 1, frameon=False, fontsize=8)
    axes.set_xticks(
        range(count),
        labels,
        rotation=45 if max(map(len, labels)) > 2 else 0,
        ha="right" if max(map(len, labels)) > 2 else "center",
        parse_math=False,
    )
    axes.set_yticks(range(count), labels, parse_math=False)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(f"{result.model} on {result.data}: {_right(result)}", fontsize=10, parse_math=False)
    if count <= 30:
        for row, line in enumerate(result.confusion):
            for column, cell in enumerate(line):
                colour = "white" if cells[row, column, 3] > 0.5 else "#1b1f24" if cell else "#c8ccd2"
                axes.text(column, row, str(cell), ha="center", va="center", color=colour, fontsize=8)
    save(figure, path)


def _right(result: Evaluation) -> str:
    written = share(result.accuracy, of=result.images)
    return written if result.images < 100 else f"{written} of {result.images:,}"


def benchmark(result: Benchmark, path: Path) -> None:
    """Draw throughput and latency of all candidates over the batch size to a PNG.

    Raises:
        OutputError: the file cannot be written.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    models = len({row.model for row in result.measurements}) > 1
    threads = len({row.threads for row in result.measurements if row.threads is not None}) > 1
    batches = sorted({row.batch for row in result.measurements})
    lines: dict[str, list[Measurement]] = {}
    for row in result.measurements:
        lines.setdefault(candidate(row, model=models, threads=threads), []).append(row)
    figure = Figure(figsize=(10, 4.2 + 0.2 * len(lines)), layout="constrained")
    throughput, latency = figure.subplots(1, 2)
    for index, (name, rows) in enumerate(lines.items()):
        colour, dash = LINES[index % len(LINES)], _DASHES[index // len(LINES) % len(_DASHES)]
        at = [row.batch for row in rows]
        style = {"color": colour, "linestyle": dash, "marker": "o", "markersize": 4}
        throughput.plot(at, [row.images_per_second for row in rows], label=name, **style)
        latency.plot(at, [row.latency_p50_ms for row in rows], **style)
        latency.fill_between(
            at, [row.latency_p50_ms for row in rows], [row.latency_p95_ms for row in rows], color=colour, alpha=0.15
        )
    throughput.set_ylabel("images per second")
    latency.set_ylabel("ms per batch: median, shaded to p95")
    plain = FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}")
    for axes in (throughput, latency):
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xticks(batches, [f"{batch:,}" for batch in batches])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(plain)
        axes.set_xlabel("batch size")
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    title = result.models[0].name if len(result.models) == 1 else "Benchmark"
    figure.suptitle(f"{title} on {result.processor}", parse_math=False)
    figure.legend(loc="outside lower center", ncols=min(3, len(lines)), frameon=False)
    save(figure, path)

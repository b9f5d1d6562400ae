"""A benchmark as tables, as CSV, and while it runs."""

import csv
import dataclasses
import io
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from cnnkit.files import write_atomic
from cnnkit.operation import result_of
from cnnkit.render import console, progress
from cnnkit.runtime.results import Benchmark, BenchmarkStep, Measurement
from cnnkit.words import counted

_STYLES = {"faster": "green", "slower": "red", "no difference": "dim"}

_ANY_WIDTH = 1000

_Column = tuple[str, Callable[[Measurement], str | Text]]


def follow(steps: Generator[BenchmarkStep, None, Benchmark]) -> Benchmark:
    """Run a benchmark to its end under a bar, and return its result."""
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    # A bar that redraws itself in a thread of its own would take its time from what is measured.
    with progress.bar(*columns, auto_refresh=False) as bar:
        task = bar.add_task("opening", total=None)
        return result_of(
            steps,
            lambda step: bar.update(task, description=step.what, completed=step.done, total=step.total, refresh=True),
        )


def tables(result: Benchmark) -> None:
    """Draw one table for each network, or two below each other where the terminal is too narrow for one."""
    out = console.out()
    rows = result.measurements
    for model in result.models:
        own = [row for row in rows if row.model == model.name]
        if own:
            alone = f" on {engine(own[0])}" if _kinds(own) == 1 else ""
            console.say(out, Text(console.printable(f"{model.name}{alone}, input {model.input_type}"), "bold"))
            for table in _fitting(own, rows, out):
                out.print(table)
                out.print()
    for note in result.notes:
        console.say(out, Text(f"{console.printable(note)}.", "yellow"))
    turns = ""
    if len(result.models) > 1:
        turns = f" All took turns; speed is against {engine(rows[0])} of {rows[0].model}, same batch size."
    elif _kinds(rows) > 1:
        turns = " Those of a batch size took turns; speed is against the first of them, round by round."
    versions = ", ".join(f"{name} {version}" for name, version in result.versions.items())
    threads = {row.threads for row in rows if row.threads is not None}
    used = f", {counted(threads.pop(), 'thread')}" if len(threads) == 1 else ""
    said = (
        f"Milliseconds for a whole batch; ± is the 95% confidence interval of the mean.{turns} "
        f"{versions}; {result.processor}{used}."
    )
    console.say(out, Text(console.printable(said), "dim"))


def engine(row: Measurement) -> str:
    """Name a candidate without its model and threads, as in `onnxruntime CPU`."""
    return f"{row.engine} {row.device}"


def candidate(row: Measurement, *, model: bool, threads: bool) -> str:
    """Name a candidate among others, with its model and number of threads where these vary."""
    count = f", {counted(row.threads, 'thread')}" if threads and row.threads is not None else ""
    return f"{row.model}, {engine(row)}{count}" if model else f"{engine(row)}{count}"


def milliseconds(value: float | None) -> str:
    """Write a time with three digits that count: 0.0312, 1.25, 45.6, 1,234."""
    if value is None:
        return "–"
    decimals = next((digits for limit, digits in ((0.1, 4), (1, 3), (10, 2), (100, 1)) if value < limit), 0)
    return f"{value:,.{decimals}f}"


def write_csv(result: Benchmark, path: Path) -> None:
    """Write the measurements to a CSV file, one a row, columns as the fields of `Measurement`.

    Raises:
        OutputError: the file cannot be written.
    """
    text = io.StringIO(newline="")
    names = [field.name for field in dataclasses.fields(Measurement)]
    writer = csv.DictWriter(text, [*names, "verdict"], lineterminator="\n")
    writer.writeheader()
    for row in result.measurements:
        writer.writerow({**dataclasses.asdict(row), "verdict": row.verdict})
    write_atomic(path, text.getvalue().encode())


def _fitting(own: Sequence[Measurement], rows: Sequence[Measurement], out: Console) -> list[Table]:
    many = len({row.threads for row in rows if row.threads is not None}) > 1
    on_gpu = any(row.compute_ms is not None for row in own)
    keys: list[_Column] = [("engine", lambda row: candidate(row, model=False, threads=many))] if _kinds(own) > 1 else []
    times: list[_Column] = [
        ("p50", lambda row: milliseconds(row.latency_p50_ms)),
        ("p95", lambda row: milliseconds(row.latency_p95_ms)),
        ("p99", lambda row: milliseconds(row.latency_p99_ms)),
        ("mean", _mean),
    ]
    copies: list[_Column] = [
        ("copy in", lambda row: milliseconds(row.copy_in_ms)),
        ("compute", lambda row: milliseconds(row.compute_ms)),
        ("copy out", lambda row: milliseconds(row.copy_out_ms)),
    ]
    others: list[_Column] = [
        ("images/s", lambda row: f"{row.images_per_second:,.0f}"),
        ("first run", lambda row: milliseconds(row.first_run_ms)),
        ("memory", lambda row: "–" if row.peak_memory_mb is None else f"{row.peak_memory_mb:,.0f} MB"),
    ]
    if any(row.speed_up is not None for row in own):
        others.append(("speed", _compared))
    tables: list[list[_Column]] = [times]
    for group in ([copies] if on_gpu else []) + [others]:
        joined = _table(own, keys, tables[-1] + group)
        if out.measure(joined, options=out.options.update(max_width=_ANY_WIDTH)).maximum <= out.width:
            tables[-1] = tables[-1] + group
        else:
            tables.append(group)
    return [_table(own, keys, columns) for columns in tables]


def _kinds(rows: Sequence[Measurement]) -> int:
    return len({(row.engine, row.device, row.threads) for row in rows})


def _table(rows: Sequence[Measurement], keys: Sequence[_Column], columns: Sequence[_Column]) -> Table:
    table = console.table()
    table.add_column("batch", justify="right", no_wrap=True)
    for title, _ in keys:
        table.add_column(title, overflow="fold")
    for title, _ in columns:
        table.add_column(title, justify="right", no_wrap=True)
    before = None
    for row in rows:
        cells = [cell(row) for _, cell in (*keys, *columns)]
        table.add_row(f"{row.batch:,}" if row.batch != before else "", *cells)
        before = row.batch
    return table


def _mean(row: Measurement) -> str:
    half = (row.latency_mean_high_ms - row.latency_mean_low_ms) / 2
    share = half / row.latency_mean_ms
    return f"{milliseconds(row.latency_mean_ms)} ±{share:.{1 if share < 0.0995 else 0}%}"


def _compared(row: Measurement) -> Text:
    if row.speed_up is None or row.verdict is None:
        return Text("1", "dim")
    if row.verdict == "no difference":
        return Text(row.verdict, _STYLES[row.verdict])
    times = row.speed_up if row.verdict == "faster" else 1 / row.speed_up
    return Text(f"× {times:.{2 if times < 10 else 0}f} {row.verdict}", _STYLES[row.verdict])

"""The layers of a network, or the nodes of a file, as a table, a tree, CSV, Markdown and a bar chart."""

import csv
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from io import StringIO
from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from cnnkit.errors import UsageError, guess
from cnnkit.inspection.results import GraphSummary, LayerRow, ModelSummary, ModuleRow
from cnnkit.render import console
from cnnkit.render.tables import shape
from cnnkit.words import agree, counted, megabytes


@dataclass(frozen=True)
class _Column:
    """A column of the table; `attribute` is that of a row, and of a summary where it has a total."""

    heading: str
    attribute: str
    kind: Callable[[Any], str]
    modules_only: bool = True

    def cell(self, row: LayerRow) -> str:
        value = getattr(row, self.attribute, None)
        unknown = self.attribute == "receptive_field" and isinstance(row, ModuleRow) and row.receptive_field_lost
        return self.kind(value) if value else "–" if unknown else ""


def _count(value: int) -> str:
    return f"{value:,}"


def short(value: int) -> str:
    """Write a count with three digits, as 46.8M."""
    scaled, unit = float(value), ""
    for unit in ("", "k", "M", "G"):
        if scaled < 999.5 or unit == "G":
            break
        scaled /= 1000
    digits = 0 if not unit or scaled >= 99.95 else 1 if scaled >= 9.995 else 2
    return f"{scaled:,.{digits}f}{unit}"


def _megabytes(value: float) -> str:
    return f"{value:,.2f}" if value >= 0.01 or not value else "< 0.01"


def _window(value: Sequence[int]) -> str:
    """Write a receptive field: one number where it is the same in all directions."""
    return str(value[0]) if len(set(value)) == 1 else shape(value)


_COLUMNS = {
    "kernel": _Column("kernel", "kernel", shape),
    "input": _Column("input shape", "input_shape", shape),
    "output": _Column("output shape", "output_shape", shape, modules_only=False),
    "parameters": _Column("parameters", "parameters", _count, modules_only=False),
    "trainable": _Column("trainable", "trainable_parameters", _count),
    "multiply-adds": _Column("multiply-adds", "multiply_adds", _count, modules_only=False),
    "memory": _Column("memory, MB", "memory_mb", _megabytes),
    "receptive-field": _Column("receptive field", "receptive_field", _window),
}
COLUMNS = tuple(_COLUMNS)
"""Names of all columns."""
OF_FILES = tuple(name for name, column in _COLUMNS.items() if not column.modules_only)
"""Those that nodes of a file have."""
DEFAULT = ("output", "parameters", "multiply-adds")
# In the order in which a narrow terminal does without them.
_LEAST_WANTED = (
    "trainable", "memory", "input", "kernel", "receptive-field", "multiply-adds", "parameters", "output",
)  # fmt: skip


def columns_of(text: str | None, known: Sequence[str] = COLUMNS) -> tuple[str, ...] | None:
    """Parse `kernel,output`, or `all`; None stays what it is.

    Raises:
        UsageError: no such column; with the close matches.
    """
    if text is None:
        return None
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in {*known, "all"}:
            raise UsageError(f"--columns: there is no column {name!r}. {guess(name, [*known, 'all'])}")
    return tuple(known) if "all" in names else tuple(dict.fromkeys(names))


def summary(result: ModelSummary, columns: Sequence[str] = DEFAULT, *, tree: bool = False) -> None:
    """Draw the layers of a network and their totals; of one that failed, the layers that it reached."""
    inputs = f"input {' and '.join(map(shape, result.input_shapes))}" if result.input_shapes else "no input"
    draw_rows(f"{result.model}, {inputs}, batch {result.batch}", "layer", result, columns, tree=tree)
    if result.failure is None:
        for line in _notes(result):
            console.out().print(line)
        lost = dict.fromkeys(row.receptive_field_lost for row in result.layers if row.receptive_field_lost)
        if lost and "receptive-field" in columns:
            console.out().print(f"–: the receptive field is not known after {console.printable('; '.join(lost))}.")


def draw_rows(
    title: str, heading: str, result: ModelSummary | GraphSummary, columns: Sequence[str], *, tree: bool = False
) -> None:
    """Draw a table of layers or nodes under a title, as wide as it is, or as narrow as the terminal.

    Where it is too wide, numbers become short; where it still is, columns are left out, which is said.
    """
    out = console.out()
    unlimited = Console(width=10_000)

    def widths(columns: Sequence[str], number: Callable[[int], str]) -> tuple[Table, Measurement]:
        table = _table(heading, result, columns, tree=tree, number=number)
        return table, Measurement.get(unlimited, unlimited.options, table)

    shown = list(columns)
    table, needs = widths(shown, _count)
    if not out.is_terminal:
        out.width = max(out.width, needs.maximum)
    elif needs.maximum > out.width:
        table, needs = widths(shown, short)
        for name in _LEAST_WANTED:
            if needs.minimum > out.width and name in shown and len(shown) > 1:
                shown.remove(name)
                table, needs = widths(shown, short)
    console.titled(out, console.printable(title), table)
    missing = [name for name in columns if name not in shown]
    if missing:
        out.print(
            f"Too wide for this terminal: {', '.join(missing)}. Choose --columns, or --csv for all.", style="yellow"
        )


def _are(parameters: int) -> str:
    return f"{counted(parameters, 'parameter')} {agree(parameters, 'is', 'are')}"


def _notes(result: ModelSummary) -> list[str]:
    frozen = result.parameters - result.trainable_parameters
    others = f", {frozen:,} {agree(frozen, 'is', 'are')} not" if frozen else ""
    lines = [f"{_are(result.trainable_parameters)} trainable{others}; {megabytes(result.size_mb)} of weights."]
    if result.own_parameters:
        lines.append(f"{_are(result.own_parameters)} the network's own, outside these layers.")
    if result.idle_parameters:
        named = ", ".join(map(console.printable, result.idle[:3])) + (" and others" if len(result.idle) > 3 else "")
        lines.append(f"Not used: {counted(result.idle_parameters, 'parameter')} of {named}.")
    if result.unregistered_parameters:
        lines.append(
            f"{_are(result.unregistered_parameters)} used and in no module, as in a Python list: "
            "training would not change them."
        )
    if any(row.repeats > 1 for row in result.layers):
        lines.append("×N: N layers alike, one after another; the numbers are of one.")
    if result.device != "meta":
        lines.append("This network goes by the values that it sees: it ran on zeros, another input may go another way.")
    return lines


def _table(
    heading: str,
    result: ModelSummary | GraphSummary,
    columns: Sequence[str],
    *,
    tree: bool,
    number: Callable[[int], str],
) -> Table:
    """Return the table, with a line of totals where the network ran to its end."""
    chosen = [_COLUMNS[name] for name in columns]
    if number is short:
        chosen = [replace(column, kind=number) if column.kind is _count else column for column in chosen]
    names = _names(result.layers, tree=tree)
    table = console.table()
    table.add_column(heading, overflow="fold", min_width=min(20, max(map(len, names), default=0)))
    longest = max((len(row.kind) for row in result.layers), default=0)
    table.add_column("type", overflow="fold", min_width=min(11, longest))
    for column in chosen:
        broken = column.heading.replace(" ", "\n").replace("multiply-", "multiply-\n")
        table.add_column(broken if number is short else column.heading, justify="right", no_wrap=True)
    totals = _totals(result, chosen)
    if tree:
        table.add_row(console.printable(result.model), "", *totals, style="bold")
    for row, name in zip(result.layers, names, strict=True):
        failed = isinstance(row, ModuleRow) and row.failed
        cells = ["failed" if failed and c.attribute == "output_shape" else c.cell(row) for c in chosen]
        style = "bold red" if failed else "" if row.is_leaf else "bold"
        table.add_row(name, console.printable(row.kind), *cells, style=style)
    if not tree and not _failed(result):
        table.add_section()
        table.add_row("total", "", *totals, style="bold")
    return table


def _totals(result: ModelSummary | GraphSummary, columns: Sequence[_Column]) -> list[str]:
    return [column.kind(getattr(result, column.attribute)) if column.attribute in _SUMMED else "" for column in columns]


def _failed(result: ModelSummary | GraphSummary) -> bool:
    return isinstance(result, ModelSummary) and result.failure is not None


_SUMMED = {"parameters", "trainable_parameters", "multiply_adds", "memory_mb"}


def repeats_of(row: LayerRow) -> int:
    """Return how many layers alike a row stands for."""
    return row.repeats if isinstance(row, ModuleRow) else 1


def _names(rows: Sequence[LayerRow], *, tree: bool) -> list[str]:
    """Return what the first column says: the last part of each name, indented or with the lines of a tree."""
    found = []
    ahead: list[bool] = []  # for each depth, whether another row of it follows under the same parent
    for place, row in enumerate(rows):
        name = console.printable(row.name.rpartition(".")[2] if row.depth > 1 else row.name)
        name += f" ×{repeats_of(row)}" if repeats_of(row) > 1 else ""
        if isinstance(row, ModuleRow):
            name += f" ({row.calls} calls)" if row.calls > 1 else ""
        if not tree:
            found.append("  " * (row.depth - 1) + name)
            continue
        after = next((other.depth for other in rows[place + 1 :] if other.depth <= row.depth), 0)
        ahead = [*ahead[: row.depth - 1], after == row.depth]
        found.append("".join("│ " if more else "  " for more in ahead[:-1]) + ("├─" if ahead[-1] else "└─") + name)
    return found


def write_csv(result: ModelSummary | GraphSummary, columns: Sequence[str] | None = None) -> None:
    """Print one line a layer, for programs: numbers as they are, shapes as 6x28x28; all columns unless chosen."""
    chosen = _chosen(result, columns)
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    folded = any(repeats_of(row) > 1 for row in result.layers)
    writer.writerow(["layer", "type", "depth", *(["repeats"] if folded else []), *(c.attribute for c in chosen)])
    for row in result.layers:
        values = [getattr(row, column.attribute) for column in chosen]
        plain = ["x".join(map(str, value)) if isinstance(value, tuple) else value for value in values]
        repeats = [repeats_of(row)] if folded else []
        writer.writerow([row.name, row.kind, row.depth, *repeats, *plain])
    sys.stdout.write(text.getvalue())


def write_markdown(result: ModelSummary | GraphSummary, columns: Sequence[str] | None = None) -> None:
    """Print a table for a README, with the totals in its last line."""
    chosen = [_COLUMNS[name] for name in columns or DEFAULT]
    lines = [
        ["layer", "type", *(column.heading for column in chosen)],
        ["---", "---", *("---:" for _ in chosen)],
    ]
    names = _names(result.layers, tree=False)
    for row, name in zip(result.layers, names, strict=True):
        indented = "&nbsp;&nbsp;" * (row.depth - 1) + _escaped(name.strip())
        lines.append([indented, _escaped(row.kind), *(column.cell(row) for column in chosen)])
    if not _failed(result):
        lines.append(["**total**", "", *(f"**{total}**" if total else "" for total in _totals(result, chosen))])
    sys.stdout.write("".join(f"| {' | '.join(line)} |\n" for line in lines))


def _escaped(text: str) -> str:
    """Keep Markdown from reading a name as its own signs."""
    return "".join(f"\\{sign}" if sign in "\\`*_[]<>|#" else sign for sign in console.printable(text))


def _chosen(result: ModelSummary | GraphSummary, columns: Sequence[str] | None) -> list[_Column]:
    default = COLUMNS if isinstance(result, ModelSummary) else OF_FILES
    return [_COLUMNS[name] for name in columns or default]

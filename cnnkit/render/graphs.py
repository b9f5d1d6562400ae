"""ONNX graphs as Rich tables on standard output: their nodes, beside PyTorch layers, and the time they take."""

from collections.abc import Sequence
from dataclasses import replace

from rich.text import Text

from cnnkit.inspection.results import ComparedRow, GraphComparison, GraphSummary, LayerRow
from cnnkit.render import console, summaries, tables
from cnnkit.runtime.results import GraphProfile
from cnnkit.words import counted, megabytes


def summary(result: GraphSummary, columns: Sequence[str] = summaries.DEFAULT) -> None:
    """Draw whatever was found out about an ONNX file; `columns` of its nodes, by their names on the command line."""
    out = console.out()
    inputs = ", ".join(f"{given.name} {given.dtype} {tables.shape(given.shape)}" for given in result.inputs)
    title = console.printable(f"{result.model}, input {inputs}, batch {result.batch}")
    if result.comparison is None:
        summaries.draw_rows(title, "node", result, columns)
    else:
        _comparison(title, result, result.comparison)
    written = f", by {console.printable(result.producer)}" if result.producer else ""
    out.print(
        f"{counted(len(result.layers), 'node')}, {megabytes(result.size_mb)} of weights; "
        f"ONNX IR {result.ir_version}, opset {result.opset}{written}."
    )
    console.assumed(out, result.assumptions)
    if result.profile is not None:
        _profile(result.profile)


def _printable(row: LayerRow) -> LayerRow:
    return replace(row, name=console.printable(row.name), kind=console.printable(row.kind))


def _comparison(title: str, result: GraphSummary, found: GraphComparison) -> None:
    table = console.table()
    longest = max((len(row.layer.name) for row in found.rows if row.layer), default=0)
    table.add_column("layer", overflow="fold", min_width=min(longest, 24))
    table.add_column("type", no_wrap=True)
    table.add_column("node", overflow="fold")
    table.add_column("type", no_wrap=True)
    table.add_column("output shape", justify="right", no_wrap=True)
    for row in found.rows:
        layer = row.layer
        left = (layer.name, layer.kind) if layer else ("", "")
        style = "red" if not row.agrees else "bold" if layer and not layer.is_leaf else ""
        for index, cells in enumerate(_nodes(row)):
            table.add_row(*(left if index == 0 else ("", "")), *cells, style=style)
    out = console.out()
    console.titled(out, f"{title}\nbeside {console.printable(found.reference)}", table)
    totals = console.table()
    for name in ("", "PyTorch", "ONNX"):
        totals.add_column(name, justify="right" if name else "left")
    totals.add_row("parameters", f"{found.parameters:,}", f"{result.parameters:,}")
    totals.add_row("multiply-adds", f"{found.multiply_adds:,}", f"{result.multiply_adds:,}")
    out.print(totals)
    out.print()
    different = [row.layer.name if row.layer else row.nodes[0].name for row in found.rows if not row.agrees]
    if different:
        out.print(Text(console.printable(f"Shapes or multiply-adds differ in {', '.join(different)}."), "red"))
    else:
        out.print(Text("Every layer has the shape and the multiply-adds of its nodes.", "green"))
    if any(row.fused for row in found.rows):
        out.print("↑: part of the node above, whose weights a normalisation was folded into.")
    if any(row.layer and not row.nodes for row in found.rows):
        out.print("–: no node of the file, as a dropout has none.")


def _nodes(row: ComparedRow) -> list[tuple[str, str, str]]:
    """Return name, type and shape of each node of a row."""
    layer = row.layer
    if layer is not None and (row.fused or not row.nodes):
        return [("↑" if row.fused else "–", "", tables.shape(layer.output_shape))]
    cells = []
    for node in map(_printable, row.nodes):
        found = tables.shape(node.output_shape)
        # Several nodes may lead to the shape of a layer; the last one has to have it.
        different = layer is not None and node.name == row.nodes[-1].name and node.output_shape != layer.output_shape
        cells.append(
            (node.name, node.kind, f"{tables.shape(layer.output_shape)} ≠ {found}" if different and layer else found)
        )
    return cells


def _profile(found: GraphProfile) -> None:
    table = console.table()
    table.add_column("node that ran", overflow="fold")
    table.add_column("type")
    table.add_column("provider")
    table.add_column("ms", justify="right", no_wrap=True)
    table.add_column("share", justify="right", no_wrap=True)
    table.add_column("made from", overflow="fold")
    slowest = max((node.time_ms for node in found.nodes), default=0.0)
    for node in found.nodes:
        name = console.printable(node.name)
        files = Text(console.printable(", ".join(node.file_nodes)) or "–")
        if node.file_nodes == (node.name,):
            files = Text("itself", "dim")
        numbers = f"{node.time_ms:.3f}", f"{node.share:.1%}"
        style = "bold" if node.time_ms == slowest else ""
        table.add_row(name, console.printable(node.kind), node.provider, *numbers, files, style=style)
    table.add_section()
    total = sum(node.time_ms for node in found.nodes)
    table.add_row("all nodes", "", "", f"{total:.3f}", "100.0%", "", style="bold")
    out = console.out()
    out.print()
    console.titled(
        out, f"Mean of {counted(found.runs, 'run')}, as onnxruntime optimised the graph and measured itself", table
    )
    out.print(f"A run took {found.run_ms:.3f} ms with what lies between the nodes, and with the profiler on.")
    if any(node.provider != "CPU" for node in found.nodes):
        out.print("On a GPU a node only starts the work: its time is that of the start.", style="yellow")

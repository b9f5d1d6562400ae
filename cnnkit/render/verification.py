"""Whether a file is its network: the figures by batch, the certificate, and where the two part."""

import math

from rich.text import Text

from cnnkit.exporting.results import Divergence, Verification
from cnnkit.render import console
from cnnkit.words import percent, points

_SHOWN_BEFORE, _SHOWN_AFTER = 3, 2
"""Layers of the table around the first one that differs."""


def show(result: Verification) -> None:
    """Draw how the file and its network compare, and what became of the certificate."""
    out = console.out()
    found = result.certificate
    table = console.table()
    for name in ("batch", "images", "largest difference", "mean difference", "same top-1 class"):
        table.add_column(name, justify="right")
    for row in result.batches:
        table.add_row(
            str(row.batch_size),
            f"{row.images:,}",
            _difference(row.max_absolute_difference),
            _difference(row.mean_absolute_difference),
            percent(row.top1_agreement, of=row.images),
        )
    table.add_section()
    table.add_row(
        "before it failed" if result.run_error else "all",
        f"{found.images_count:,}",
        _difference(found.max_absolute_difference),
        _difference(found.mean_absolute_difference),
        Text(percent(found.top1_agreement, of=found.images_count), "green" if found.top1_agreement == 1 else "red"),
        style="bold",
    )
    console.titled(out, f"{result.file} against {result.reference}, {result.data}, {result.split}", table)
    table = console.table()
    table.add_column("engine", style="cyan")
    table.add_column("accuracy", justify="right")
    for engine, accuracy in zip(result.engines, (found.torch_accuracy, found.onnx_accuracy), strict=True):
        table.add_row(engine, percent(accuracy, of=found.images_count))
    out.print(table)
    out.print()
    if result.divergence is not None:
        _divergence(result.divergence)
    if result.graph_changed:
        console.say(
            out, Text("The graph in this file is not the one that was exported: it was changed since.", "yellow")
        )
    if result.passed:
        judged = (
            f"the logits differ by at most {found.max_tolerance_ratio:.0%} of what is allowed"
            if found.precision == "fp32"
            else f"as {found.precision}, by its accuracy and top-1 classes"
        )
        line = Text.assemble(("passed", "bold green"), f": {judged}; ")
        line.append("the certificate is in the card" if result.stored else f"not stored: {result.not_stored_because}")
        console.say(out, line)


def _divergence(found: Divergence) -> None:
    out = console.out()
    place = next(
        (index for index, row in enumerate(found.layers) if row.layer == found.layer and row.agrees is not True), 0
    )
    rows = found.layers[max(0, place - _SHOWN_BEFORE) : place + _SHOWN_AFTER + 1]
    table = console.table()
    table.add_column("layer", overflow="fold")
    table.add_column("type")
    table.add_column("in the file", overflow="fold")
    table.add_column("difference", justify="right")
    table.add_column("largest value", justify="right")
    for row in rows:
        style = "" if row.agrees else "bold red" if row.layer in {found.layer, *found.folded} else "dim"
        shown = _difference(row.max_absolute_difference) if row.value else "–"
        table.add_row(row.layer, row.kind, row.value or "–", shown, f"{row.largest:.3g}", style=style)
    if rows:
        console.titled(out, f"Layers around {found.layer}, the first that differs", table)


def failure(result: Verification) -> str:
    """Say in a sentence or two where a file and its network part, and why."""
    certificate, found = result.certificate, result.divergence
    allowed = (
        f"{certificate.max_tolerance_ratio:.1f} times what is allowed, " if certificate.precision == "fp32" else ""
    )
    text = (
        f"{result.file} is not {result.reference}: logits differ by up to "
        f"{_difference(certificate.max_absolute_difference)}, {allowed}"
        f"the top-1 class agrees on {percent(certificate.top1_agreement, of=certificate.images_count)}."
    )
    lost = certificate.accuracy_loss_points or 0.0
    if certificate.precision != "fp32" and lost > certificate.accuracy_budget_points:
        text += (
            f" It loses {points(lost, of=certificate.images_count)} points of accuracy, and the budget of its card is "
            f"{certificate.accuracy_budget_points:g}."
        )
    if result.run_error:
        text = f"{result.file} does not run as {result.reference} does: {result.run_error}."
    return text if found is None else f"{text} {found}"


def _difference(value: float | None) -> str:
    return "other shape" if value is None else f"{value:.1e}" if math.isfinite(value) else "no number"

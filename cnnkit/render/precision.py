"""What a reduced precision costs and brings, as a table."""

from collections import Counter

from rich.text import Text

from cnnkit.exporting.results import PrecisionReport
from cnnkit.render import console
from cnnkit.words import counted, megabytes, percent

_LAYERS = 5
"""Layers shown; `--json` has them all."""


def report(found: PrecisionReport) -> None:
    """Draw float32 beside the reduced precision, the layers with the largest errors, and the test accuracy."""
    out = console.out()
    table = console.table()
    table.add_column("precision", style="bold")
    for name in ("size", "accuracy", "latency p50", "speed-up (95% interval)"):
        table.add_column(name, justify="right", no_wrap=True)
    low, high = found.speed_up_interval
    for name, measured, ratio in (
        ("fp32", found.fp32, Text("1")),
        (found.precision, found.reduced, Text(f"{found.speed_up:.2f} ({low:.2f}–{high:.2f})")),
    ):
        if measured is found.reduced:
            ratio.stylize("green" if low > 1 else "yellow")
        latency = f"{measured.latency_p50_ms:.3g} ms"
        table.add_row(name, megabytes(measured.size_mb), percent(measured.accuracy, of=found.images), latency, ratio)
    images = counted(found.images, f"{found.split} image")
    console.titled(out, f"Against fp32: {images} of {found.data}, batch {found.batch}, {found.engine}", table)
    shown = found.layers[:_LAYERS]
    if shown:
        table = console.table()
        table.add_column("layer", style="bold", overflow="fold")
        table.add_column("operator")
        table.add_column("alone", justify="right", no_wrap=True)
        table.add_column("after the others", justify="right", no_wrap=True)
        for layer in shown:
            table.add_row(layer.name, layer.operator, f"{layer.alone_snr_db:.1f} dB", f"{layer.together_snr_db:.1f} dB")
        title = (
            f"Largest quantisation errors ({len(shown)} of {counted(len(found.layers), 'layer')}), as signal to noise"
        )
        console.titled(out, title, table)
    if found.out_of_range:
        table = console.table()
        table.add_column("operator", style="bold", overflow="fold")
        table.add_column("what")
        table.add_column("largest", justify="right", no_wrap=True)
        for entry in found.out_of_range[:_LAYERS]:
            table.add_row(_operator(entry.operator, entry.layer), entry.what, f"{entry.largest:.3g}")
        count = len(found.out_of_range)
        # Of weights the table may have very small ones.
        title = f"{found.precision} cannot hold, or keep the digits of ({min(count, _LAYERS)} of {count})"
        console.titled(out, title, table)
    if found.rounded_accuracy is not None and found.rounded_agreement is not None:
        rounded, agreed = (percent(x, of=found.images) for x in (found.rounded_accuracy, found.rounded_agreement))
        how = (
            f"With all values rounded to {found.precision}, as on a GPU: accuracy {rounded}, same top-1 class {agreed}."
        )
        out.print(Text(how, "dim"))
    if found.kept_fp32:
        counts = Counter(name.split()[0] for name in found.kept_fp32)
        names = ", ".join(name if count == 1 else f"{count} {name}" for name, count in counts.items())
        out.print(Text(f"Kept in fp32: {names}.", "dim"))
    plain, reduced = found.fp32.test_accuracy, found.reduced.test_accuracy
    if plain is not None and reduced is not None:
        tested = [percent(accuracy, of=found.test_images) for accuracy in (plain, reduced)]
        figures = f"{tested[0]} in fp32, {tested[1]} in {found.precision}"
        out.print(Text(f"Reported only, on {counted(found.test_images, 'test image')}: {figures}.", "dim"))
    if not found.trained_on:
        out.print(Text(f"The network was not trained on {found.data}.", "yellow"))
    if found.calibration:
        out.print(Text(f"Calibrated on {found.calibration}.", "dim"))


def _operator(operator: str, layer: str) -> str:
    return f"{operator} {layer}" if operator not in layer else layer

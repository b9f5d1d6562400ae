"""Results as Rich tables on standard output."""

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from cnnkit.render import console
from cnnkit.results import DatasetInfo, Evaluation, ExportResult, ModelInfo, ModelSummary

_WIDE_CONFUSION = 24


def shape(dimensions: Sequence[int]) -> str:
    """Write a shape as 6×28×28."""
    return "×".join(map(str, dimensions)) or "–"


def percent(fraction: float | None) -> str:
    """Write a fraction as 98.64%, an absent one as a dash."""
    return "–" if fraction is None else f"{fraction:.2%}"


def summary(result: ModelSummary) -> None:
    """Draw the layers of a network and their totals."""
    table = console.table(f"{result.model}  input {shape(result.input_shape)}, batch {result.batch}")
    table.add_column("layer", overflow="fold")
    table.add_column("type")
    for name in ("output shape", "parameters", "multiply-adds"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in result.layers:
        style = "" if row.is_leaf else "bold"
        table.add_row(
            "  " * (row.depth - 1) + row.name.rpartition(".")[2],
            row.kind,
            shape(row.output_shape),
            f"{row.parameters:,}" if row.parameters else "",
            f"{row.multiply_adds:,}" if row.multiply_adds else "",
            style=style,
        )
    table.add_section()
    table.add_row("total", "", "", f"{result.parameters:,}", f"{result.multiply_adds:,}", style="bold")
    frozen = result.parameters - result.trainable_parameters
    out = console.out()
    out.print(table)
    out.print(
        f"{result.trainable_parameters:,} parameters are trainable{f', {frozen:,} are not' if frozen else ''}; "
        f"{result.size_mb:.2f} MB of weights."
    )


def models(found: list[ModelInfo]) -> None:
    """Draw the list of networks."""
    table = console.table()
    table.add_column("name", style="bold", no_wrap=True)
    table.add_column("input", justify="right", no_wrap=True)
    table.add_column("parameters", justify="right", no_wrap=True)
    table.add_column("data")
    table.add_column("zoo entry", overflow="fold")
    table.add_column("accuracy", justify="right")
    table.add_column("reference", justify="right")
    for model in found:
        table.add_row(
            model.name,
            shape(model.input_shape),
            f"{model.parameters:,}",
            model.dataset,
            ", ".join(model.zoo_entries) or "–",
            percent(model.zoo_accuracy),
            percent(model.reference_accuracy),
        )
    out = console.out()
    out.print(table)
    out.print("accuracy: of the zoo entry, on its test split. reference: as its course or article reports it.", style="dim")
    out.print("Also: torchvision/NAME, package.module:factory, a run folder, a .safetensors or .onnx file.", style="dim")


def datasets(found: list[DatasetInfo]) -> None:
    """Draw the list of data sets."""
    table = console.table()
    table.add_column("name", style="bold", no_wrap=True)
    table.add_column("images", no_wrap=True)
    table.add_column("classes", justify="right")
    table.add_column("train", justify="right")
    table.add_column("test", justify="right")
    table.add_column("present", no_wrap=True)
    table.add_column("how to get it")
    for data in found:
        present = Text("yes", "green") if data.present else Text("no", "yellow")
        numbers = f"{data.train:,}", f"{data.test:,}"
        table.add_row(data.name, shape(data.image_shape), str(data.classes), *numbers, present, data.how_to_get)
    out = console.out()
    out.print(table)
    for folder in sorted({str(data.folder) for data in found if data.folder is not None}):
        out.print(f"Looked in {folder}.", style="dim", soft_wrap=True)
    out.print("Also: any image folder, DIR/<class>/… or DIR/train and DIR/test, by its path.", style="dim")


def evaluation(result: Evaluation) -> None:
    """Draw the scores, the classes and the confusion matrix of an evaluation."""
    out = console.out()
    table = console.table(f"{result.model} on {result.data} ({result.split}: {result.images:,} images, {result.engine})")
    for name in ("accuracy", f"top-{result.top_k}", "loss", "calibration error"):
        table.add_column(name, justify="right")
    table.add_row(
        Text(percent(result.accuracy), "bold green"),
        percent(result.top_k_accuracy),
        f"{result.loss:.4f}",
        percent(result.calibration_error),
    )
    out.print(table)
    table = console.table()
    table.add_column("class", style="bold", overflow="fold")
    for name in ("precision", "recall", "F1", "images"):
        table.add_column(name, justify="right")
    for row in result.classes:
        table.add_row(row.label, percent(row.precision), percent(row.recall), percent(row.f1), f"{row.support:,}")
    out.print(table)
    _confusion(result, out)


def _confusion(result: Evaluation, out: Console) -> None:
    labels = [row.label for row in result.classes]
    cells = max(len(str(max(map(max, result.confusion)))), max(map(len, labels)))
    columns = labels if len(labels) * (cells + 2) <= out.width - 20 else [str(i) for i in range(len(labels))]
    cells = max(len(str(max(map(max, result.confusion)))), max(map(len, columns)))
    if len(labels) > _WIDE_CONFUSION or len(labels) * (cells + 2) > out.width - max(map(len, labels)) - 8:
        out.print("The confusion matrix is too wide for this terminal: --plot FILE.png draws it.", style="dim")
        return
    table = console.table("rows: true class, columns: predicted")
    table.add_column("", style="bold", no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    for index, row in enumerate(result.confusion):
        name = labels[index] if columns is labels else f"{index} {labels[index]}" if columns[index] != labels[index] else labels[index]
        cells_drawn = [
            Text(str(count) if count else "·", "green" if i == index else "red" if count else "dim")
            for i, count in enumerate(row)
        ]
        table.add_row(name, *cells_drawn)
    out.print(table)


def export(result: ExportResult) -> None:
    """Draw what was written and its certificate."""
    found = result.certificate
    table = console.table(f"{result.path}  {result.size_mb:.2f} MB, opset {result.opset}, input {result.input_type}")
    for name in ("parity on", "batches", "largest difference", "relative", "top-1 agreement"):
        table.add_column(name, justify="right" if name != "parity on" else "left")
    table.add_row(
        found.images,
        ", ".join(map(str, found.batch_sizes)),
        f"{found.max_absolute_difference:.2g} ({found.tolerance:g} allowed)",
        f"{found.max_relative_difference:.2g}",
        Text(f"{found.top1_agreement:.0%}", "bold green"),
    )
    out = console.out()
    out.print(table)
    if not result.trained:
        out.print(Text("The weights are random: this network was never trained.", "yellow"))

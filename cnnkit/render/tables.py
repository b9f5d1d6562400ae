"""Results as Rich tables on standard output."""

from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console
from rich.text import Text

from cnnkit.data.results import DatasetInfo, Exposure
from cnnkit.evaluation.results import ClassMetrics, Evaluation
from cnnkit.exporting.results import ExportResult, TritonModel
from cnnkit.render import console
from cnnkit.sources.results import ModelInfo
from cnnkit.words import counted, megabytes, percent, plain_percent, share


def shape(dimensions: Sequence[int]) -> str:
    """Write a shape as 6×28×28."""
    return "×".join(map(str, dimensions)) or "–"


def models(found: list[ModelInfo]) -> None:
    """Draw the list of networks, each with its entries in the zoo below it."""
    table = console.table()
    table.add_column("name", no_wrap=True)
    table.add_column("input", justify="right", no_wrap=True)
    table.add_column("parameters", justify="right", no_wrap=True)
    table.add_column("data", no_wrap=True)
    table.add_column("accuracy", justify="right", no_wrap=True)
    for model in found:
        reported = "–" if model.reference_accuracy is None else plain_percent(model.reference_accuracy)
        name = Text(model.name, "bold")
        table.add_row(name, shape(model.input_shape), f"{model.parameters:,}", model.dataset, Text(reported, "dim"))
        for entry in model.zoo:
            accuracy = Text(percent(entry.accuracy, of=entry.test_images), "green")
            table.add_row(f"  {entry.name}", "", "", entry.dataset, accuracy)
    out = console.out()
    out.print(table)
    out.print(
        "\nIndented: zoo entries, trained, with their accuracy on the test split.\n"
        "Above them: architectures, with their recipe's data and the accuracy that its source reports.\n"
        "Also: torchvision/NAME, package.module:factory, run folders, .safetensors, .onnx files.",
        style="dim",
    )


def datasets(found: list[DatasetInfo]) -> None:
    """Draw the list of data sets."""
    table = console.table()
    table.add_column("name", style="bold", no_wrap=True)
    table.add_column("images", no_wrap=True)
    table.add_column("classes", justify="right")
    table.add_column("train", justify="right")
    table.add_column("test", justify="right")
    table.add_column("here", no_wrap=True)
    table.add_column("how to get it")
    for data in found:
        present = Text("yes", "green") if data.present else Text("no", "yellow")
        size = "various" if data.image_shape is None else shape(data.image_shape)
        numbers = (f"{number:,}" if number else "–" for number in (data.classes, data.train, data.test))
        table.add_row(data.name, size, *numbers, present, data.how_to_get)
    out = console.out()
    out.print(table)
    for folder in sorted({str(data.folder) for data in found if data.folder is not None}):
        out.print(f"\nLooked in {folder}", style="dim", soft_wrap=True)
    out.print("Also: any image folder by its path, DIR/<class>/… or DIR/train and DIR/test.", style="dim")


def evaluation(result: Evaluation) -> None:
    """Draw the scores, the classes and the confusion matrix of an evaluation."""
    out = console.out()
    table = console.table()
    top_k = {} if result.top_k is None else {f"top-{result.top_k}": share(result.top_k_accuracy, of=result.images)}
    scores: dict[str, str | Text] = {
        "accuracy": Text(share(result.accuracy, of=result.images), "bold green"),
        **top_k,
        "loss": f"{result.loss:.4f}",
        "calibration error": percent(result.calibration_error, of=result.images),
    }
    for name in scores:
        table.add_column(name, justify="right")
    table.add_row(*scores.values())
    measured = f"{result.data}, {result.split}: {counted(result.images, 'image')}, {result.engine}"
    console.titled(out, f"{result.model} on {measured}{_exposed(result.exposure)}", table)
    table = console.table()
    table.add_column("class", style="bold", overflow="fold")
    for name in ("precision", "recall", "F1", "images"):
        table.add_column(name, justify="right")
    for cells in by_class(result, result.classes):
        table.add_row(*cells)
    console.titled(out, "By class", table)
    _confusion(result, out)
    console.assumed(out, result.assumptions)


def _exposed(found: Exposure) -> str:
    """Say that the network has not seen the images, where that is proven."""
    return ", none of them seen in training" if found.unseen else ""


def by_class(result: Evaluation, listed: Iterable[ClassMetrics]) -> Iterator[tuple[str, ...]]:
    """Yield label, precision, recall, F1 and number of images of classes of an evaluation.

    All have the decimals that the smallest of their denominators allows, so that they can be compared.
    """
    totals = (*map(sum, result.confusion), *map(sum, zip(*result.confusion, strict=True)))
    least = min(filter(None, totals), default=0)
    for row in listed:
        yield (
            row.label, *(percent(score, of=least) for score in (row.precision, row.recall, row.f1)), f"{row.support:,}"
        )  # fmt: skip


def _confusion(result: Evaluation, out: Console) -> None:
    labels = [row.label for row in result.classes]
    numbers = [str(index) for index in range(len(labels))]
    widest_count = max(len(str(count)) for row in result.confusion for count in row)

    def fits(names: list[str], heads: list[str]) -> bool:
        cells = max(widest_count, *map(len, heads)) + 2
        return max(map(len, names)) + len(heads) * cells <= out.width

    # Labels head the columns where they fit; otherwise their numbers do, and the rows say which is which.
    named = [f"{number} {label}" for number, label in zip(numbers, labels, strict=True)]
    for rows, heads in ((labels, labels), (named, numbers)):
        if fits(rows, heads):
            break
    else:
        out.print("The confusion matrix is too wide for this terminal: --plot FILE.png draws it.", style="dim")
        return
    table = console.table()
    table.add_column("", style="bold", no_wrap=True)
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    for index, (name, row) in enumerate(zip(rows, result.confusion, strict=True)):
        cells = [
            Text(str(count) if count else "·", "green" if i == index else "red" if count else "dim")
            for i, count in enumerate(row)
        ]
        table.add_row(name, *cells)
    console.titled(out, "Confusion matrix: rows are true classes, columns predicted ones", table)


def export(result: ExportResult) -> None:
    """Draw what was written and its certificate."""
    found = result.certificate
    table = console.table()
    table.show_header = False
    table.add_column(style="cyan")
    table.add_column(overflow="fold")
    table.add_row("size", f"{megabytes(result.size_mb)}, opset {result.opset}")
    table.add_row("weights", result.weights)
    table.add_row("input", f"image: {result.input_type}")
    table.add_row("compared on", f"{found.images}, in batches of {', '.join(map(str, found.batch_sizes))}")
    table.add_row("engines", ", ".join(f"{name} {version}" for name, version in found.versions.items()))
    exact = found.precision == "fp32"
    judged = f"{found.max_tolerance_ratio:.0%} of what is allowed" if exact else f"as {found.precision} against float32"
    table.add_row("logits differ by", f"at most {found.max_absolute_difference:.2g}, {judged}")
    agreement = percent(found.top1_agreement, of=found.images_count)
    table.add_row("same top-1 class", Text(agreement, "bold green" if found.passed else "bold yellow"))
    out = console.out()
    console.titled(out, str(result.path), table)
    if not result.trained:
        out.print(Text("The weights are random: this network was never trained.", "yellow"))


def triton(result: TritonModel) -> None:
    """Draw what became of a file in a Triton model repository, and how to serve it."""
    found = result.certificate
    table = console.table()
    table.show_header = False
    table.add_column(style="cyan")
    table.add_column(overflow="fold")
    table.add_row("model", f"{result.name}, version {result.version}: {_OUTCOMES[result.outcome]}")
    for index, path in enumerate(result.written):
        table.add_row("" if index else "written", path)
    if found is not None:
        table.add_row("compared on", found.images)
        agreement = percent(found.top1_agreement, of=found.images_count)
        table.add_row("same top-1 class", Text(agreement, "bold green" if found.passed else "bold red"))
    out = console.out()
    console.titled(out, str(result.repository), table)
    if found is not None and not found.passed:
        out.print(Text("The certificate of this file did not pass: it was forced.", "yellow"))
    out.print(f"Serve it by: tritonserver --model-repository {result.repository}", style="dim", soft_wrap=True)
    if not result.trained:
        out.print(Text("The weights are random: this network was never trained.", "yellow"))


_OUTCOMES = {
    "new model": "a new model",
    "new version": "a new version; its config.pbtxt and labels.txt are as they were",
    "unchanged": "this file was there already",
}

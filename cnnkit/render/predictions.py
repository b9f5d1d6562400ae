"""Predictions as they come: one table for one image, a row an image for many."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from cnnkit.cautions import Caution
from cnnkit.errors import ImageError
from cnnkit.render import console
from cnnkit.runtime.prediction import Prediction
from cnnkit.words import counted, probability

if TYPE_CHECKING:
    from cnnkit.render.records import PredictionFile

_BAR = 24
_WAYS = 10
"""Ways in which images were seen that are written out."""

_EIGHTHS = " ▏▎▍▌▋▊▉"


def bar(fraction: float, width: int = _BAR) -> str:
    """Draw a fraction as a bar of block characters, an eighth of a character exact."""
    eighths = round(fraction * width * 8)
    full, rest = divmod(eighths, 8)
    return "█" * full + (_EIGHTHS[rest] if rest else "")


def collect(results: Iterable[Prediction | ImageError], total: int) -> tuple[list[Prediction], list[ImageError]]:
    """Gather predictions under a progress bar; bad images are kept apart."""
    found: list[Prediction] = []
    bad: list[ImageError] = []
    for result in results if total == 1 else with_bar(results, total):
        if isinstance(result, ImageError):
            bad.append(result)
        else:
            found.append(result)
    return found, bad


def with_bar(results: Iterable[Prediction | ImageError], total: int) -> Iterator[Prediction | ImageError]:
    """Pass results on under a progress bar."""
    from cnnkit.render import progress  # a single image is done before a bar would be loaded

    with progress.bar() as shown:
        task = shown.add_task("predicting", total=total)
        for result in results:
            yield result
            shown.advance(task)


def show(
    found: Sequence[Prediction], model: str, engine: str, assumptions: Sequence[str], *, trained: bool = True
) -> None:
    """Draw predictions, the model that made them, and what was assumed of it."""
    if len(found) == 1:
        _one(found[0])
    elif found:
        _many(found)
    _origin(model, engine, assumptions, trained=trained)


def saved(
    written: "PredictionFile", model: str, engine: str, assumptions: Sequence[str], *, trained: bool = True
) -> None:
    """Say what was written to a file, by which model, and what was assumed of it."""
    images = counted(written.images, "image")
    errors = f" and {written.errors:,} that could not be read" if written.errors else ""
    console.say(console.out(), Text(console.printable(f"{written.path}: {images}{errors}"), "bold"))
    _origin(model, engine, assumptions, trained=trained)


def _origin(model: str, engine: str, assumptions: Sequence[str], *, trained: bool) -> None:
    out = console.out()
    console.say(out, Text(f"model {model}, {engine}", "dim"))
    if not trained:
        out.print(Text("The weights are random: this network was never trained.", "yellow"))
    console.assumed(out, assumptions)


def _one(prediction: Prediction) -> None:
    table = console.table()
    table.add_column("class", overflow="fold")
    table.add_column("probability", justify="right")
    table.add_column("", width=_BAR)
    for rank, score in enumerate(prediction.scores):
        style = "bold green" if rank == 0 else ""
        table.add_row(score.label, probability(score.probability), bar(score.probability), style=style)
    out = console.out()
    console.titled(out, _name(prediction), table)
    if prediction.steps:
        console.say(out, _seen_as("seen as", prediction))


def _many(found: Sequence[Prediction]) -> None:
    ways = {steps: number for number, steps in enumerate(dict.fromkeys(each.steps for each in found), 1)}
    table = console.table()
    table.add_column("image", overflow="fold")
    table.add_column("class", style="bold", overflow="fold")
    table.add_column("probability", justify="right")
    table.add_column("", width=10)
    if len(ways) > 1:
        table.add_column("seen", justify="right")
    if len(found[0].scores) > 1:
        table.add_column("next", style="dim")
    for prediction in found:
        rest = ", ".join(f"{s.label} {s.probability:.1%}" for s in prediction.scores[1:3] if s.probability >= 0.001)
        cells = [
            _name(prediction),
            prediction.label,
            probability(prediction.probability),
            bar(prediction.probability, 10),
        ]
        number = ways[prediction.steps]
        seen = Text(str(number) if number <= _WAYS else "…", "yellow" if prediction.warnings else "dim")
        table.add_row(*cells, *([seen] if len(ways) > 1 else []), *([rest] if len(prediction.scores) > 1 else []))
    out = console.out()
    console.titled(out, counted(len(found), "image"), table)
    shown = {prediction.steps: prediction for prediction in reversed(found)}
    for steps, number in islice(ways.items(), _WAYS):
        if len(ways) > 1:
            console.say(out, _seen_as(f"seen {number}", shown[steps]))
        elif steps:
            console.say(out, _seen_as("all seen as", shown[steps]))
    if len(ways) > _WAYS:
        console.say(out, Text(f"and {counted(len(ways) - _WAYS, 'more way')} (--json has all)", "dim"))


def _seen_as(start: str, prediction: Prediction) -> Text:
    """Write what was done to an image, with what may have made the prediction wrong in yellow."""
    text = Text(f"{start}: ", "dim")
    for index, step in enumerate(prediction.steps):
        text.append("; " if index else "", "dim").append(step, "not dim yellow" if isinstance(step, Caution) else "dim")
    return text if prediction.steps else text.append("as it is", "dim")


def _name(prediction: Prediction) -> str:
    path = Path(prediction.source)
    here = Path.cwd()
    shown = path.relative_to(here) if path.is_absolute() and path.is_relative_to(here) else path
    return console.printable(str(shown))

"""Where a network is wrong: tables in the terminal, and a folder with a page, a contact sheet and JSON."""

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table
from rich.text import Text

from cnnkit.evaluation.results import Mistake, Mistakes
from cnnkit.files import write_atomic
from cnnkit.render import console, contact_sheet, envelope, pages
from cnnkit.words import counted, percent, probability, shown_of

PAGE, SHEET, DATA = "mistakes.html", "mistakes.png", "mistakes.json"

_ROWS = 10
"""Of a table in the terminal."""

_SEEN = "The network was trained on some of these images, and believes their labels: fewer wrong ones are found."


def write(result: Mistakes, folder: Path) -> tuple[Path, ...]:
    """Write the page, the contact sheet and the JSON into a folder, and return their paths.

    Raises:
        OutputError: one of them cannot be written.
    """
    write_atomic(folder / DATA, envelope.text("mistakes", result).encode())
    contact_sheet.write(folder / SHEET, headline(result), _sheet_line(result), [_tile(m) for m in result.worst])
    pages.write(folder / PAGE, page(result))
    return folder / PAGE, folder / SHEET, folder / DATA


def headline(result: Mistakes) -> str:
    """Say in a line how much is wrong."""
    images = counted(result.images, "image")
    wrong = f"{result.wrong:,} of {images} wrong" if result.wrong else f"no mistake in {images}"
    return f"{result.model} on {result.data}, {result.split}: {wrong}"


def show(result: Mistakes) -> None:
    """Draw the first of everything as tables."""
    out = console.out()
    console.say(out, Text(console.printable(headline(result)), "bold"))
    console.say(out, Text(f"{percent(result.accuracy, of=result.images)} right, {result.engine}", "dim"))
    if result.seen and not result.exposure.trained:
        console.say(out, Text(_SEEN, "yellow"))
    out.print()
    if result.worst:
        console.titled(out, f"Confident and wrong{_of(len(result.worst), result.wrong)}", _worst_table(result))
        console.titled(out, "Most confused", _pairs_table(result))
    if result.mislabelled:
        listed = _of(len(result.mislabelled), result.candidates)
        console.titled(out, f"Labels to check{listed}", _labels_table(result))
    if result.training_images and result.worst:
        near = f"nearest: the training image most like it, by {console.printable(result.nearest_by)}"
        console.say(out, Text(near, "dim"))
    if result.no_nearest_because:
        console.say(out, Text(console.printable(f"no nearest training images: {result.no_nearest_because}"), "dim"))
    console.assumed(out, result.assumptions)


def _table(names: Sequence[str], numbers: Sequence[str]) -> Table:
    table = console.table()
    for name in names:
        table.add_column(name, overflow="fold")
    for name in numbers:
        table.add_column(name, justify="right")
    return table


def _worst_table(result: Mistakes) -> Table:
    table = _table(("image", "is", "taken for"), ("probability",))
    if result.training_images:
        table.add_column("nearest", overflow="fold")
    for mistake in result.worst[:_ROWS]:
        near = mistake.nearest
        table.add_row(
            console.printable(mistake.source),
            mistake.label,
            Text(mistake.predicted, "bold red"),
            probability(mistake.probability),
            *([f"{near.label} ({near.similarity:.2f})"] if near else []),
        )
    return table


def _pairs_table(result: Mistakes) -> Table:
    table = _table(("is", "taken for"), ("images of the class",))
    for pair in result.confused:
        # Of few images a share alone says too little.
        of_class = f"{pair.images:,} of {round(pair.images / pair.share):,}"
        table.add_row(pair.label, Text(pair.predicted, "bold red"), of_class)
    return table


def _labels_table(result: Mistakes) -> Table:
    table = _table(("image", "labelled", "seems to be"), ("probability",))
    for candidate in result.mislabelled[:_ROWS]:
        table.add_row(
            console.printable(candidate.source),
            candidate.label,
            Text(candidate.suggested, "bold yellow"),
            probability(candidate.probability),
        )
    return table


def page(result: Mistakes) -> str:
    """Return the whole as a page."""
    return pages.render(
        "mistakes.html.j2",
        title=f"Mistakes of {result.model}",
        kind="cnnkit mistakes",
        subtitle=f"{result.data}, {result.split}: {counted(result.images, 'image')}",
        versions=result.versions,
        result=result,
        seen=_SEEN if result.seen and not result.exposure.trained else "",
    )


def _tile(mistake: Mistake) -> contact_sheet.Tile:
    images = [(mistake.pixels, probability(mistake.probability))]
    if mistake.nearest is not None:
        images = [*images, (mistake.nearest.pixels, mistake.nearest.label)]
    return contact_sheet.Tile(f"{mistake.label}\ntaken for {mistake.predicted}", images)


def _sheet_line(result: Mistakes) -> str:
    if not result.worst:
        return f"{percent(result.accuracy, of=result.images)} right"
    beside = " On the right: the training image most like it." if result.training_images else ""
    return f"{shown_of(len(result.worst), result.wrong, 'mistake', 'mistakes')} The surest come first.{beside}"


def _of(listed: int, total: int) -> str:
    shown = min(listed, _ROWS)
    return f": the first {shown} of {total:,}" if shown < total else ""

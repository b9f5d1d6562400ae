"""Where a network is wrong: tables in the terminal, and a folder with a page, a contact sheet and JSON."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from markupsafe import Markup
from rich.table import Table
from rich.text import Text

from cnnkit.files import write_atomic
from cnnkit.pictures import Pixels
from cnnkit.render import console, contact_sheet, envelope, html
from cnnkit.results import ConfusedPair, LabelCandidate, Mistake, Mistakes, TrainingImage
from cnnkit.words import counted, percent, probability, sentence

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
    html.write(folder / PAGE, page(result))
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
        table.add_row(pair.label, Text(pair.predicted, "bold red"), _images_of(pair))
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
    return html.page(
        f"Mistakes of {result.model}",
        html.section("At a glance", _facts(result), *_remarks(result)),
        html.section("Confident and wrong", *worst_cards(result)),
        html.section("Most confused classes", *confused_pairs(result)),
        html.section("Labels to check", *_labels(result)),
        kind="cnnkit mistakes",
        subtitle=f"{result.data}, {result.split}: {counted(result.images, 'image')}",
        versions=result.versions,
    )


def _facts(result: Mistakes) -> Markup:
    return html.facts(
        {
            "Wrong": f"{result.wrong:,} of {result.images:,}",
            "Accuracy": percent(result.accuracy, of=result.images),
            "Labels to check": f"{result.candidates:,}",
            "Training images": f"{result.training_images:,}" if result.training_images else "–",
            "Engine": result.engine,
        }
    )


def _remarks(result: Mistakes) -> Iterable[Markup]:
    yield from (html.warning(sentence(text)) for text in result.warnings)
    yield from html.assumptions(result.assumptions)
    if result.seen and not result.exposure.trained:
        yield html.warning(_SEEN)
    if result.no_nearest_because:
        yield html.note(f"There are no nearest training images: {result.no_nearest_because}.")


def worst_cards(result: Mistakes) -> Iterable[Markup]:
    """Yield the surest mistakes, a card each, with what they are."""
    if not result.worst:
        yield html.paragraph(html.good("None."), f" The network has all {counted(result.images, 'image')} right.")
        return
    nearest = (
        f" Beside each stands the training image whose features, {result.nearest_by}, are most like its own: the "
        "similarity is the cosine of the angle between them."
    )
    yield html.paragraph(
        _shown_of(len(result.worst), result.wrong, "mistake", "mistakes"),
        " The surest come first.",
        nearest if result.training_images else "",
    )
    yield html.grid((_mistake_card(mistake) for mistake in result.worst), wide=True)


def confused_pairs(result: Mistakes) -> Iterable[Markup]:
    """Yield the table of the classes that are taken for one another."""
    if not result.confused:
        yield html.paragraph("No class was taken for another.")
        return
    rows = [
        (
            pair.label,
            html.bad(pair.predicted),
            _images_of(pair),
            html.strip(html.image(image, f"{pair.label} taken for {pair.predicted}") for image in pair.examples),
        )
        for pair in result.confused
    ]
    columns = ("Is", "Taken for", "Images of the class", "The surest")
    yield html.table("Pairs of classes with the most mistakes", columns, rows, align="llrl")


def _images_of(pair: ConfusedPair) -> str:
    """Write how many images of the class they are: of few images, a share alone says too little."""
    return f"{pair.images:,} of {round(pair.images / pair.share):,}"


def _labels(result: Mistakes) -> Iterable[Markup]:
    if not result.mislabelled:
        yield html.paragraph("No image has a label that the network firmly contradicts.")
        return
    yield html.paragraph(
        _shown_of(len(result.mislabelled), result.candidates, "label that may be wrong", "labels that may be wrong"),
        " An image is among them if the network finds another class at least as probable as it finds that class, on "
        "average, in the images labelled with it: confident learning (Northcutt, Jiang and Chuang, 2021). Which is "
        "wrong, the label or the network, only looking decides.",
    )
    yield html.grid((_label_card(candidate) for candidate in result.mislabelled), wide=True)


def _mistake_card(mistake: Mistake) -> Markup:
    return html.card(
        html.card_heading(mistake.label, " taken for ", html.bad(mistake.predicted)),
        _pictures(mistake.pixels, mistake.source, mistake.label, mistake.nearest),
        html.bars(
            [(mistake.predicted, mistake.probability), (mistake.label, mistake.label_probability)], right=mistake.label
        ),
    )


def _label_card(candidate: LabelCandidate) -> Markup:
    return html.card(
        html.card_heading("labelled ", candidate.label, ", seems to be ", html.bad(candidate.suggested)),
        _pictures(candidate.pixels, candidate.source, candidate.label, candidate.nearest),
        html.bars(
            [
                (candidate.suggested, candidate.probability),
                (candidate.label, candidate.label_probability),
            ]
        ),
    )


def _pictures(pixels: Pixels, source: str, label: str, nearest: TrainingImage | None) -> Markup:
    own = html.figure(
        html.image(pixels, f"{source}, labelled {label}"), html.lines(html.code(source), f"labelled {label}")
    )
    if nearest is None:
        return own
    beside = html.figure(
        html.image(nearest.pixels, f"nearest training image {nearest.source}, labelled {nearest.label}"),
        html.lines(html.code(nearest.source), f"labelled {nearest.label}, similarity {nearest.similarity:.2f}"),
    )
    return html.side_by_side(own, beside)


def _tile(mistake: Mistake) -> contact_sheet.Tile:
    images: Sequence[tuple[Pixels, str]] = [(mistake.pixels, probability(mistake.probability))]
    if mistake.nearest is not None:
        images = [*images, (mistake.nearest.pixels, mistake.nearest.label)]
    return contact_sheet.Tile(f"{mistake.label}\ntaken for {mistake.predicted}", images)


def _sheet_line(result: Mistakes) -> str:
    if not result.worst:
        return f"{percent(result.accuracy, of=result.images)} right"
    beside = " On the right: the training image most like it." if result.training_images else ""
    return f"{_shown_of(len(result.worst), result.wrong, 'mistake', 'mistakes')} The surest come first.{beside}"


def _shown_of(shown: int, total: int, one: str, many: str) -> str:
    things = counted(total, one, many)
    if shown < total:
        return f"The first {shown:,} of {things}."
    return f"All {things}." if total > 1 else f"{things}."


def _of(listed: int, total: int) -> str:
    shown = min(listed, _ROWS)
    return f": the first {shown} of {total:,}" if shown < total else ""

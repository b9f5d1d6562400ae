"""All that is known of a run as one page, and in the terminal what it comes to."""

from collections.abc import Callable, Iterable
from pathlib import Path

from rich.text import Text

from cnnkit.errors import OutputError
from cnnkit.files import require_writable
from cnnkit.registry import short_name
from cnnkit.render import console, html, notices
from cnnkit.render.html import Content
from cnnkit.render.report_measured import attacks, benchmark, corruptions, evaluation, layers, mistakes, parity
from cnnkit.render.report_origin import curves, training, usage
from cnnkit.render.report_words import reference, sentences, title, warnings
from cnnkit.results import Report
from cnnkit.results.report import SectionName
from cnnkit.words import counted, megabytes, sentence, share

Section = tuple[SectionName, str, Callable[[Report], Iterable[Content]]]

_SECTIONS: tuple[Section, ...] = (
    ("training", "Network and data", training),
    ("curves", "The training", curves),
    ("evaluation", "How well it does", evaluation),
    ("mistakes", "Its worst mistakes", mistakes),
    ("corruptions", "What bad images do to it", corruptions),
    ("attacks", "What an attacker can do", attacks),
    ("parity", "Is the ONNX file the same network?", parity),
    ("benchmark", "How fast it is", benchmark),
    ("layers", "Its layers", layers),
    ("usage", "How to use it", usage),
)
_NOT_ASKED = "it was not asked for"


def default_place(model: str) -> Path:
    """Return where the page of a run goes, in its folder, or that of another reference, here."""
    path = Path(model).expanduser()
    return path / "report.html" if path.is_dir() else Path(f"report-{short_name(model)}.html")


def require_place(path: Path) -> None:
    """Make sure, before any long work, that a page can be written.

    Raises:
        OutputError: it cannot.
    """
    if path.is_dir():
        raise OutputError(f"{path} is a folder; name the file to write, as in -o {path / 'report.html'}.")
    require_writable(path.parent)


def write(found: Report, path: Path) -> None:
    """Write the page, atomically.

    Raises:
        OutputError: it cannot be written.
    """
    html.write(path, page(found))


def show(found: Report) -> None:
    """Say in the terminal what the report comes to, and what is missing in it."""
    out = console.out()
    console.say(out, Text(console.printable(title(found)), "bold"))
    said = set(map(sentence, notices.shown()))
    for warning in warnings(found):
        if warning not in said:
            console.say(out, Text(console.printable(warning), "yellow"))
    for text in sentences(found):
        console.say(out, Text(console.printable(text)))
    for reason in dict.fromkeys(missing.reason for missing in found.left_out if missing.reason != _NOT_ASKED):
        names = ", ".join(missing.section for missing in found.left_out if missing.reason == reason)
        console.say(out, Text(console.printable(f"without {names}: {reason}."), "yellow"))


def page(found: Report) -> str:
    """Return the page."""
    kept = [section for section in _SECTIONS if found.reason(section[0]) != _NOT_ASKED]
    sections = [html.section("In short", *_short(found), html.contents(heading for _, heading, _ in kept))]
    said: dict[str, str] = {}
    for name, heading, content in kept:
        reason = found.reason(name)
        body = content(found) if reason is None else [_missing(reason, said.setdefault(reason, heading), heading)]
        sections.append(html.section(heading, *body))
    unasked = [missing.section for missing in found.left_out if missing.reason == _NOT_ASKED]
    if unasked:
        sections.append(html.section("Left out", html.note(f"Not asked for: {', '.join(unasked)}.")))
    return html.page(
        title(found),
        *sections,
        kind="cnnkit report",
        subtitle=" · ".join(_subtitle(found)),
        versions=found.versions,
    )


def _missing(reason: str, first: str, heading: str) -> Content:
    if first != heading:
        return html.note(f"This part is missing for the same reason as “{first}”.")
    return html.warning(f"This part is missing: {reason}.")


def _subtitle(found: Report) -> Iterable[str]:
    yield f"{'Run ' if found.is_run else ''}{reference(found)}"
    if found.origin.saved:
        yield f"weights of {found.origin.saved}"
    yield f"report of {found.made}"


def _short(found: Report) -> Iterable[Content]:
    numbers: dict[str, Content] = {}
    if found.evaluation is not None:
        dry = " (dry run)" if found.origin.recipe.get("limit_batches") else ""
        numbers[f"Accuracy{dry}"] = share(found.evaluation.accuracy, of=found.evaluation.images)
        numbers["Measured on"] = f"{counted(found.evaluation.images, 'image')}, {found.evaluation.split}"
    if found.parameters:
        numbers["Parameters"] = f"{found.parameters:,}"
    numbers["Weights"] = megabytes(found.origin.size_mb)
    if found.onnx_mb is not None:
        numbers["ONNX file"] = megabytes(found.onnx_mb)
    yield html.facts(numbers)
    yield from (html.warning(warning) for warning in warnings(found))
    yield html.lead(" ".join(sentences(found)))

"""All that is known of a run as one page, and in the terminal what it comes to."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from rich.text import Text

from cnnkit.errors import OutputError
from cnnkit.files import require_writable
from cnnkit.registry import short_name
from cnnkit.render import console, notices, pages, report_parts
from cnnkit.render.report_words import findings, lead, reference, sentences, title, warnings
from cnnkit.reporting.results import Report, SectionName
from cnnkit.words import sentence

_SECTIONS: dict[SectionName, tuple[str, Callable[[Report], dict[str, Any] | None]]] = {
    "training": ("Network and data", report_parts.training),
    "curves": ("The training", report_parts.curves),
    "evaluation": ("How well it does", report_parts.evaluation),
    "mistakes": ("Its worst mistakes", report_parts.mistakes),
    "corruptions": ("What bad images do to it", report_parts.corruptions),
    "attacks": ("What an attacker can do", report_parts.attacks),
    "parity": ("Is the ONNX file the same network?", report_parts.parity),
    "benchmark": ("How fast it is", report_parts.benchmark),
    "layers": ("Its layers", report_parts.layers),
    "usage": ("How to use it", report_parts.usage),
}
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
    pages.write(path, page(found))


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
    unasked = [missing.section for missing in found.left_out if missing.reason == _NOT_ASKED]
    return pages.render(
        "report.html.j2",
        title=title(found),
        kind="cnnkit report",
        subtitle=" · ".join(_subtitle(found)),
        versions=found.versions,
        found=found,
        warnings=list(warnings(found)),
        lead=" ".join(lead(found)),
        findings=list(findings(found)),
        sections=[_section(found, name) for name in _SECTIONS if name not in unasked],
        unasked=unasked,
    )


def _section(found: Report, name: SectionName) -> dict[str, Any]:
    """Return what a section's template needs, or why the section is missing and which one says so first."""
    heading, part = _SECTIONS[name]
    reason = found.reason(name)
    first = next((other for other in _SECTIONS if found.reason(other) == reason), name)
    return {
        "name": name,
        "heading": heading,
        "missing": reason,
        "first": _SECTIONS[first][0],
        "part": None if reason else part(found),
    }


def _subtitle(found: Report) -> Iterable[str]:
    yield f"{'Run ' if found.is_run else ''}{reference(found)}"
    if found.origin.saved:
        yield f"weights of {found.origin.saved}"
    yield f"report of {found.made}"

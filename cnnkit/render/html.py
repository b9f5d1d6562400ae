"""Pages that are one file: no script, no request, images inside. Whatever is not made here is escaped.

Each function returns a piece of HTML, and pieces go into pieces; text comes from outside and is never markup:

>>> print(section("Classes", paragraph("a < b"), note("few images")))
<section id="classes"><h2>Classes</h2><p>a &lt; b</p><p class="note">few images</p></section>
"""

import base64
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path

from markupsafe import Markup
from PIL import Image

from cnnkit.files import write_atomic
from cnnkit.pictures import Pixels, encoded
from cnnkit.words import probability

Content = Markup | str
"""A piece of HTML, or text that is escaped."""

_LARGE = 96
"""Pixels of the longer side from which an image is smoothed where it is scaled; smaller ones show their pixels."""

# The browser itself refuses whatever would leave the page, and all scripts.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"

_PAGE = Markup("""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<header><p class="kind">{kind}</p><h1>{title}</h1>{subtitle}</header>
<main>
{content}
</main>
<footer>{versions}</footer>
</body>
</html>
""")


def page(title: str, *content: Content, kind: str, subtitle: Content = "", versions: Mapping[str, str]) -> str:
    """Return a whole page.

    Args:
        title: its heading.
        content: sections.
        kind: what made it, above the title, such as `cnnkit mistakes`.
        subtitle: a line below the title.
        versions: of the software, for the footer.
    """
    style = resources.files("cnnkit.render").joinpath("page.css").read_text("utf-8")
    return _PAGE.format(
        policy=_POLICY,
        title=title,
        style=Markup(style),  # noqa: S704 - our own file
        kind=kind,
        subtitle=_tag("p", 'class="subtitle"', subtitle) if subtitle else "",
        content=Markup("\n").join(content),
        versions=" · ".join(f"{name} {version}" for name, version in versions.items()),
    )


def write(path: Path, text: str) -> None:
    """Write a page to a file, atomically.

    Raises:
        OutputError: it cannot be written.
    """
    write_atomic(path, text.encode(errors="replace"))  # names of files need not be UTF-8


def section(heading: str, *content: Content) -> Markup:
    """Return content under a heading, which can be linked to by its words in lower case with hyphens."""
    return Markup('<section id="{}"><h2>{}</h2>{}</section>').format(_anchor(heading), heading, _joined(content))


def contents(headings: Iterable[str]) -> Markup:
    """Return links to sections, by their headings."""
    links = (Markup('<li><a href="#{}">{}</a></li>').format(_anchor(heading), heading) for heading in headings)
    return Markup('<nav aria-label="Contents"><ul>{}</ul></nav>').format(_joined(links))


def _anchor(heading: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", heading.lower()).strip("-")


def subsection(heading: str, *content: Content) -> Markup:
    """Return content under a heading one level below a section's."""
    return Markup('<div class="subsection"><h3>{}</h3>{}</div>').format(heading, _joined(content))


def paragraph(*content: Content) -> Markup:
    """Return a paragraph."""
    return _tag("p", "", *content)


def lead(*content: Content) -> Markup:
    """Return the paragraph that says it all in a few sentences."""
    return _tag("p", 'class="lead"', *content)


def note(*content: Content) -> Markup:
    """Return a remark, less prominent than a paragraph."""
    return _tag("p", 'class="note"', *content)


def assumptions(found: Iterable[str]) -> Iterable[Markup]:
    """Return remarks on what was assumed of an ONNX file without a card."""
    return (note(f"Assumed: {each}.") for each in found)


def warning(*content: Content) -> Markup:
    """Return something that the reader should not overlook."""
    return _tag("p", 'class="warning" role="note"', *content)


def good(text: str) -> Markup:
    """Mark words, as in a cell or a caption, as what was wanted."""
    return _tag("span", 'class="good"', text)


def bad(text: str) -> Markup:
    """Mark words as what was not wanted."""
    return _tag("span", 'class="bad"', text)


def faint(text: str) -> Markup:
    """Mark words as less important than those around them."""
    return _tag("span", 'class="faint"', text)


def code(text: str) -> Markup:
    """Mark words as something to type, or the name of a file."""
    return _tag("code", "", text)


def lines(*content: Content) -> Markup:
    """Return words in lines below one another, as for a caption."""
    return Markup("<br>").join(content)


def facts(pairs: Mapping[str, Content]) -> Markup:
    """Return names with their values."""
    rows = (Markup("<div><dt>{}</dt><dd>{}</dd></div>").format(name, value) for name, value in pairs.items())
    return _tag("dl", 'class="facts"', *rows)


def table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[Content]], *, align: str = "") -> Markup:
    """Return a table that scrolls in a box of its own where the page is too narrow.

    Args:
        caption: what it shows; read out, and shown above it.
        columns: their headings.
        rows: cells; the first of a row names it.
        align: one letter a column, `l` or `r`; numbers go to the right. All to the left unless told otherwise.
    """
    classes = [Markup(' class="right"') if side == "r" else Markup("") for side in align.ljust(len(columns), "l")]
    head = _joined(
        Markup('<th scope="col"{}>{}</th>').format(c, name) for c, name in zip(classes, columns, strict=True)
    )
    body = _joined(_row(row, classes) for row in rows)
    return Markup(
        '<div class="scroll" tabindex="0" role="region" aria-label="{caption}"><table><caption>{caption}</caption>'
        "<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    ).format(caption=caption, head=head, body=body)


def glossary(caption: str, columns: Sequence[str], rows: Iterable[Sequence[Content]]) -> Markup:
    """Return a table whose last column is prose, which goes below the others where the page is narrow."""
    return _tag("div", 'class="glossary"', table(caption, columns, rows))


def image(source: Pixels | bytes, alt: str) -> Markup:
    """Return an image: as large as it is, a small one larger, and in a grid as wide as its place.

    Args:
        source: uint8 [H, W], [H, W, 1] or [H, W, 3], or the content of a PNG file. Large pixels become a JPEG, of a
            fifth of the size.
        alt: what it shows, for those who do not see it.
    """
    content = source if isinstance(source, bytes) else encoded(source, "JPEG" if _is_large(source) else "PNG")
    with Image.open(io.BytesIO(content), formats=("PNG", "JPEG")) as opened:
        (width, height), kind = opened.size, str(opened.format).lower()
    return Markup('<img src="data:image/{};base64,{}" width="{}" height="{}" alt="{}"{}>').format(
        kind,
        base64.b64encode(content).decode(),
        width,
        height,
        alt,
        Markup("") if max(width, height) >= _LARGE else Markup(' class="small"'),
    )


def _is_large(pixels: Pixels) -> bool:
    return bool(max(pixels.shape[:2]) >= _LARGE)


def figure(content: Content, caption: Content) -> Markup:
    """Return an image, or anything else, with a caption."""
    return Markup("<figure>{}<figcaption>{}</figcaption></figure>").format(content, caption)


def grid(items: Iterable[Content], *, wide: bool = False) -> Markup:
    """Return figures or cards side by side, as many as fit; `wide` ones get twice the width."""
    cells = (_tag("li", "", item) for item in items)
    return _tag("ul", 'class="grid wide"' if wide else 'class="grid"', *cells)


def card(*content: Content) -> Markup:
    """Return content in a frame, for a grid."""
    return _tag("article", 'class="card"', *content)


def card_heading(*content: Content) -> Markup:
    """Return the heading of a card."""
    return _tag("h3", "", *content)


def side_by_side(*content: Content) -> Markup:
    """Return content, such as two images of a card, in equal columns."""
    return _tag("div", 'class="pair"', *content)


def columns(*content: Content) -> Markup:
    """Return pieces side by side where there is room for them, each as wide as it needs."""
    return _tag("div", 'class="columns"', *content)


def strip(images: Iterable[Content]) -> Markup:
    """Return images in a row, each as high as two lines of text."""
    return _tag("div", 'class="strip"', *images)


def bars(scores: Iterable[tuple[str, float]], *, right: str | None = None) -> Markup:
    """Return probabilities, or other fractions of one, as bars with their labels.

    Args:
        scores: label and fraction, in the order to show.
        right: the label of the true class, which is coloured; None where nothing is known of it.
    """
    rows = (
        Markup('<li{}><span>{}</span><span class="bar" style="--share:{}"></span><span>{}</span></li>').format(
            Markup(' class="right-one"') if label == right else "", label, round(fraction, 4), probability(fraction)
        )
        for label, fraction in scores
    )
    return _tag("ul", 'class="bars"', *rows)


def _row(cells: Sequence[Content], classes: Sequence[Markup]) -> Markup:
    first, *others = zip(cells, classes, strict=True)
    named = Markup('<th scope="row"{1}>{0}</th>').format(*first)
    return Markup("<tr>{}{}</tr>").format(named, _joined(Markup("<td{1}>{0}</td>").format(*cell) for cell in others))


def _tag(name: str, attributes: str, *content: Content) -> Markup:
    opening = f"{name} {attributes}" if attributes else name
    return Markup("<{}>{}</{}>").format(Markup(opening), _joined(content), name)  # noqa: S704 - ours


def _joined(content: Iterable[Content]) -> Markup:
    return Markup("").join(content)

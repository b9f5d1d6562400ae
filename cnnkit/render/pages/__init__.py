"""Pages that are one file: no script, no request, pictures inside. The templates are beside this file.

A template gets results and says what they mean. Whatever it prints is escaped, so that no name from outside is markup:

>>> "a &lt; b" in render("base.html.j2", title="a < b", kind="", subtitle="", versions={})
True
"""

import base64
import io
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from cnnkit import words
from cnnkit.files import write_atomic
from cnnkit.pictures import Pixels, encoded
from cnnkit.render.benchmarks import milliseconds
from cnnkit.render.tables import shape

_LARGE = 96
"""Pixels of the longer side from which an image is smoothed where it is scaled; smaller ones show their pixels."""


@dataclass(frozen=True)
class Picture:
    """An image that a page holds: a `data:` address, and its size in pixels."""

    address: str
    width: int
    height: int
    is_small: bool


def render(template: str, **values: object) -> str:
    """Return a page by its template.

    Args:
        template: its name in this folder.
        values: its names; each must be given. All pages have `title`, `kind` (what made the page, above the title),
            `subtitle` and `versions` (of the software, for the footer).
    """
    return _environment().get_template(template).render(values)


def write(path: Path, text: str) -> None:
    """Write a page to a file, atomically.

    Raises:
        OutputError: it cannot be written.
    """
    write_atomic(path, text.encode(errors="replace"))  # names of files need not be UTF-8


def picture(source: Pixels | bytes) -> Picture:
    """Return an image for a page.

    Args:
        source: uint8 [H, W], [H, W, 1] or [H, W, 3], or the content of a PNG file. Large pixels become a JPEG, of a
            fifth of the size.
    """
    content = (
        source if isinstance(source, bytes) else encoded(source, "JPEG" if _is_large(*source.shape[:2]) else "PNG")
    )
    with Image.open(io.BytesIO(content), formats=("PNG", "JPEG")) as opened:
        (width, height), kind = opened.size, str(opened.format).lower()
    address = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
    return Picture(address, width, height, not _is_large(width, height))


def _is_large(*sides: int) -> bool:
    return max(sides) >= _LARGE


@cache
def _environment() -> Environment:
    found = Environment(
        loader=PackageLoader(__name__, ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    writers = (
        words.counted, words.part_of, words.percent, words.share, words.probability, words.megabytes, words.sentence,
        words.shown_of, words.duration, milliseconds, shape, picture,
    )  # fmt: skip
    found.filters.update({writer.__name__: writer for writer in writers}, grouped="{:,}".format)
    return found

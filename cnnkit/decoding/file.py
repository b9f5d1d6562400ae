"""An image file as it comes from outside: its bytes, the format that they show, and what decoding them may cost."""

import struct
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from cnnkit.decoding.bounds import Work
from cnnkit.decoding.cost import work
from cnnkit.errors import ImageError, ImageFormatError, ImageTooLargeError
from cnnkit.formats import FORMATS, format_of, how_to_convert, is_heic
from cnnkit.words import listed

MAX_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True)
class File:
    """The content of an image file that is small enough and of a known format.

    Attributes:
        data: the content.
        name: for messages.
        kind: the format that the first bytes show, by Pillow's name.
        formats: those that were allowed.
        max_pixels: that it may have.
        work: what decoding it takes at most.
    """

    data: bytes
    name: str
    kind: str
    formats: tuple[str, ...]
    max_pixels: int
    work: Work

    def takes(self, seconds: float) -> bool:
        """Whether decoding it takes no longer than this."""
        return self.work.seconds <= seconds


def read(source: bytes | Path, formats: tuple[str, ...], max_pixels: int) -> File:
    """Read an image file, and see what it is; nothing is decoded.

    Args:
        source: its content, or where it is.
        formats: that are allowed.
        max_pixels: that it may have.

    Raises:
        ImageFormatError: of none of these formats.
        ImageTooLargeError: of more than `MAX_BYTES`, or more pixels than it may have.
        ImageError: it cannot be read, or is empty.
    """
    name = str(source) if isinstance(source, Path) else "the image"
    data = source if isinstance(source, bytes) else _content(source)
    if not data:
        raise ImageError(f"{name} is empty.")
    if len(data) > MAX_BYTES:
        raise ImageTooLargeError(f"{name} has more than {MAX_BYTES // 2**20} MiB.")
    if is_heic(data):
        raise ImageFormatError(f"{name} is a HEIC image. {how_to_convert(['.heic'])}", "HEIC")
    kind = _kind(data[:16], formats)
    if not kind:
        if known := format_of(data, formats):
            raise unreadable(name, known, formats)
        what = name if isinstance(source, Path) else "the data"
        if other := format_of(data, FORMATS):
            said = f"{what} is a {other} file; expected {listed(formats, len(formats))}. Convert it to PNG or JPEG."
            raise ImageFormatError(said, other)
        raise ImageFormatError(f"{what} is not an image in one of the formats {', '.join(formats)}.")
    cost = work(data, kind)
    if cost.pixels > max_pixels:  # before Pillow reads what stands before the pixels
        raise ImageTooLargeError(f"{name} has {cost.pixels:,} pixels, more than {max_pixels:,}. Make it smaller.")
    return File(data, name, kind, formats, max_pixels, cost)


def unreadable(name: str, known: str, formats: tuple[str, ...]) -> ImageFormatError:
    """Return the error of a file that has the first bytes of a format, and that Pillow cannot read all the same."""
    return ImageFormatError(
        f"{name} is {'an' if known == 'AVIF' else 'a'} {known} file of a kind that cnnkit does not read, or a "
        f"damaged one. Save it as a PNG{' or TIFF' if 'TIFF' in formats else ''} of 8 or 16 bits a channel."
    )


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise ImageError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}.") from error


def _kind(start: bytes, formats: tuple[str, ...]) -> str:
    """Return the format that Pillow would take a file for, which is the first that accepts its start."""
    Image.preinit()
    for name in formats:
        if name not in Image.OPEN:
            Image.init()
        accept = Image.OPEN[name][1] if name in Image.OPEN else None
        with suppress(IndexError, struct.error):  # of a start that is too short
            if accept is not None and accept(start) is True:
                return name
    return ""

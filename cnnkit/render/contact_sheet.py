"""Images side by side with captions, as one PNG that reads on light and dark pages alike."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from cnnkit.files import write_atomic
from cnnkit.pictures import Pixels, as_picture

_PAPER, _INK, _SOFT, _BRIGHT = "#31363d", "#f3f5f7", "#b9c1cb", "#ffb387"
_SIDE = 112
"""Of an image on the sheet."""
_GAP, _MARGIN, _LINE = 8, 28, 20
_SIZES = {"title": 22, "caption": 15, "small": 13}


@dataclass(frozen=True)
class Tile:
    """One place on the sheet: images uint8 [H, W, C] in a row, each with a caption, and a heading for all of them.

    A heading that is too long for one line is broken where it says so.
    """

    heading: str
    images: Sequence[tuple[Pixels, str]]


def write(path: Path, title: str, explanation: str, tiles: Sequence[Tile], *, columns: int = 6) -> None:
    """Draw a sheet.

    Args:
        path: of the PNG, written atomically.
        title, explanation: two lines at its top.
        tiles: in reading order, all with as many images.
        columns: how many tiles stand side by side.

    Raises:
        OutputError: the file cannot be written.
    """
    abreast = max((len(tile.images) for tile in tiles), default=1)
    width = abreast * _SIDE + (abreast - 1) * _GAP
    headings = [_wrapped(tile.heading, width) for tile in tiles]
    above = _LINE * max(map(len, headings), default=1)
    height = above + _LINE + _SIDE + _GAP
    columns = max(1, min(columns, len(tiles)))
    rows = -(-len(tiles) // columns)
    text_width = max(_font("title").getlength(title), _font("caption").getlength(explanation))
    sheet_width = 2 * _MARGIN + max(columns * width + (columns - 1) * _MARGIN, int(text_width) + 1)
    top = _MARGIN + 34 + _LINE + _MARGIN
    sheet = Image.new("RGB", (sheet_width, top + rows * (height + _MARGIN)), _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((_MARGIN, _MARGIN), title, _INK, _font("title"))
    draw.text((_MARGIN, _MARGIN + 34), explanation, _SOFT, _font("caption"))
    for index, tile in enumerate(tiles):
        row, column = divmod(index, columns)
        left, upper = _MARGIN + column * (width + _MARGIN), top + row * (height + _MARGIN)
        for line, text in enumerate(headings[index]):
            draw.text((left, upper + line * _LINE), text, _BRIGHT, _font("caption"))
        for place, (pixels, caption) in enumerate(tile.images):
            x, y = left + place * (_SIDE + _GAP), upper + above + _GAP // 2
            image = fitted(pixels, _SIDE)
            sheet.paste(image, (x + (_SIDE - image.width) // 2, y + (_SIDE - image.height) // 2))
            draw.text((x, y + _SIDE + 3), _shortened(caption, "small", _SIDE), _SOFT, _font("small"))
    content = io.BytesIO()
    sheet.save(content, "PNG")
    write_atomic(path, content.getvalue())


def fitted(pixels: Pixels, side: int) -> Image.Image:
    """Return an image as large as fits into a square: pixels stay sharp where it grows, and are averaged otherwise."""
    image = as_picture(pixels)
    scale = side / max(image.size)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS)


def _wrapped(text: str, width: int) -> list[str]:
    """Return a heading in one line where it fits, or in its own lines; what is too long for these is shortened."""
    joined = text.replace("\n", " ")
    fits = _font("caption").getlength(joined) <= width
    return [joined] if fits else [_shortened(line, "caption", width) for line in text.split("\n")]


def _shortened(text: str, size: str, width: int) -> str:
    font = _font(size)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"


@cache
def _font(size: str) -> ImageFont.FreeTypeFont:
    from matplotlib import get_data_path  # its font knows more scripts than the one inside Pillow

    return ImageFont.truetype(Path(get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", _SIZES[size])

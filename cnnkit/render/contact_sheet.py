"""Images side by side with captions, as one PNG that reads on light and dark pages alike."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from cnnkit.files import write_atomic
from cnnkit.pictures import Pixels, as_picture
from cnnkit.render import fonts

_PAPER, _INK, _SOFT, _BRIGHT = "#31363d", "#f3f5f7", "#b9c1cb", "#ffb387"
_SIDE = 112
"""Of an image on the sheet."""
_GAP, _MARGIN, _LINE = 8, 28, 20
_ABOVE = 20
"""Between a row and the heading of the next one."""
_MOST_LINES = 4
"""Of a caption."""
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
    columns = max(1, min(columns, len(tiles)))
    rows = [_row(tiles[start : start + columns], width) for start in range(0, len(tiles), columns)]
    text_width = max(_font("title", title).getlength(title), _font("caption", explanation).getlength(explanation))
    sheet_width = 2 * _MARGIN + max(columns * width + (columns - 1) * _MARGIN, int(text_width) + 1)
    upper = _MARGIN + 34 + _LINE
    sheet = Image.new("RGB", (sheet_width, upper + sum(row.height for row in rows) + _MARGIN), _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((_MARGIN, _MARGIN), title, _INK, _font("title", title))
    draw.text((_MARGIN, _MARGIN + 34), explanation, _SOFT, _font("caption", explanation))
    for row in rows:
        for column, tile in enumerate(row.tiles):
            left = _MARGIN + column * (width + _MARGIN)
            for line, text in enumerate(row.headings[column]):
                draw.text((left, upper + _ABOVE + line * _LINE), text, _BRIGHT, _font("caption", text))
            for place, (pixels, _) in enumerate(tile.images):
                x, y = left + place * (_SIDE + _GAP), upper + row.above
                image = fitted(pixels, _SIDE)
                sheet.paste(image, (x + (_SIDE - image.width) // 2, y + (_SIDE - image.height) // 2))
                for line, text in enumerate(row.captions[column][place]):
                    draw.text((x, y + _SIDE + 3 + line * _LINE), text, _SOFT, _font("small", text))
        upper += row.height
    content = io.BytesIO()
    sheet.save(content, "PNG")
    write_atomic(path, content.getvalue())


@dataclass(frozen=True)
class _Row:
    """Tiles side by side, with the lines of their headings and of their images' captions, and the room for all."""

    tiles: Sequence[Tile]
    headings: list[list[str]]
    captions: list[list[list[str]]]
    above: int
    height: int


def _row(tiles: Sequence[Tile], width: int) -> _Row:
    headings = [_wrapped(tile.heading, width) if tile.heading else [] for tile in tiles]
    captions = [[_broken(caption, "small", _SIDE) for _, caption in tile.images] for tile in tiles]
    lines = max(map(len, headings))
    above = _ABOVE + _LINE * lines + _GAP // 2 if lines else 0
    below = _LINE * max((len(each) for tile in captions for each in tile), default=1)
    return _Row(tiles, headings, captions, above, above + _SIDE + below + _GAP)


def fitted(pixels: Pixels, side: int) -> Image.Image:
    """Return an image as large as fits into a square: pixels stay sharp where it grows, and are averaged otherwise."""
    image = as_picture(pixels)
    scale = side / max(image.size)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS)


def _wrapped(text: str, width: int) -> list[str]:
    """Return a heading in one line where it fits, or in its own lines; what is too long for these is shortened."""
    joined = text.replace("\n", " ")
    fits = _font("caption", joined).getlength(joined) <= width
    return [joined] if fits else [_shortened(line, "caption", width) for line in text.split("\n")]


def _broken(text: str, size: str, width: int) -> list[str]:
    """Return a text in as many lines as it needs, up to a few: between words, and in a word that is too long."""
    font, lines = _font(size, text), [""]
    for word in text.split():
        if font.getlength(f"{lines[-1]} {word}".strip()) <= width:
            lines[-1] = f"{lines[-1]} {word}".strip()
            continue
        lines.append("")
        for character in word:
            if font.getlength(lines[-1] + character) > width:
                lines.append("")
            lines[-1] += character
    lines = [line for line in lines if line]
    return (
        lines
        if len(lines) <= _MOST_LINES
        else [*lines[: _MOST_LINES - 1], _shortened(f"{lines[_MOST_LINES - 1]}…", size, width)]
    )


def _shortened(text: str, size: str, width: int) -> str:
    font = _font(size, text)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"


def _font(size: str, text: str) -> ImageFont.FreeTypeFont:
    return _opened(fonts.path_for(text), _SIZES[size])


@cache
def _opened(path: Path, points: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, points)

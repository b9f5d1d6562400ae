"""Images made wrong in many ways, each from a seed and a number, so that any can be had again."""

import random
import struct
import zlib
from collections.abc import Callable
from functools import cache
from io import BytesIO

import numpy as np
from PIL import Image

from serving.servers import ROOT, digit

Dice = random.Random

EDGES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
PNG_START = b"\x89PNG\r\n\x1a\n"


@cache
def images() -> tuple[bytes, ...]:
    """Return whole images: drawings in all formats and modes that differ in how they are decoded."""
    found = [digit(), (ROOT / "docs/images/seven.png").read_bytes(), (ROOT / "docs/images/triangle.png").read_bytes()]
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (31, 40, 3), np.uint8))
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        deep = Image.fromarray(rng.integers(0, 65536, (20, 30), np.uint16))
        found.append(_saved(deep if mode == "I;16" else noise.convert(mode), "PNG"))
    for kind, mode in (("JPEG", "L"), ("JPEG", "RGB"), ("JPEG", "CMYK"), ("BMP", "1"), ("BMP", "L"), ("BMP", "RGB"),
                       ("WEBP", "RGB"), ("WEBP", "RGBA"), ("GIF", "P"), ("TIFF", "RGB"), ("PPM", "L")):  # fmt: skip
        found.append(_saved(noise.convert(mode), kind))
    found.append(_saved(noise, "JPEG", progressive=True, exif=Image.Exif()))
    found.append(_saved(noise, "WEBP", lossless=True))
    found.append(_saved(noise.convert("P"), "GIF", save_all=True, append_images=[noise.convert("P")]))
    return tuple(found)


def _saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def flip(data: bytes, dice: Dice) -> bytes:
    """Flip some bits."""
    out = bytearray(data)
    for _ in range(dice.choice((1, 2, 5, 20)) if out else 0):
        out[dice.randrange(len(out))] ^= 1 << dice.randrange(8)
    return bytes(out)


def edge(data: bytes, dice: Dice) -> bytes:
    """Put the smallest or largest of integers somewhere, most often near the start, where sizes stand."""
    out, width = bytearray(data), dice.choice((1, 2, 4))
    if len(out) < 4:
        return bytes(out)
    place = dice.randrange(min(len(out), 64) if dice.random() < 0.7 else len(out))
    value = dice.choice(EDGES) % 256**width
    out[place : place + width] = value.to_bytes(width, dice.choice(("big", "little")))
    return bytes(out)


def cut(data: bytes, dice: Dice) -> bytes:
    """Cut the end off."""
    return data[: dice.randrange(len(data) + 1)]


def drop(data: bytes, dice: Dice) -> bytes:
    """Leave out a piece."""
    start = dice.randrange(len(data) + 1)
    return data[:start] + data[start + dice.randrange(1, 40) :]


def insert(data: bytes, dice: Dice) -> bytes:
    """Put something in between."""
    start = dice.randrange(len(data) + 1)
    piece = dice.choice((dice.randbytes(dice.randrange(1, 40)), b"\0" * 64, b"\xff" * 64, data[:200]))
    return data[:start] + piece + data[start:]


def repeat(data: bytes, dice: Dice) -> bytes:
    """Repeat a piece."""
    start = dice.randrange(len(data) + 1)
    piece = data[start : start + dice.randrange(1, 60)]
    return data[:start] + piece * dice.choice((2, 3, 50)) + data[start + len(piece) :]


def splice(data: bytes, dice: Dice) -> bytes:
    """Go over into another image."""
    other = dice.choice(images())
    return data[: dice.randrange(len(data) + 1)] + other[dice.randrange(len(other)) :]


BYTEWISE: tuple[Callable[[bytes, Dice], bytes], ...] = (flip, edge, cut, drop, insert, repeat, splice)


def with_right_checksums(data: bytes) -> bytes:
    """Return a PNG file whose chunks have the checksums of what is in them, so that decoders read on."""
    if not data.startswith(PNG_START):
        return data
    out, place = bytearray(PNG_START), len(PNG_START)
    while place + 8 <= len(data):
        length = struct.unpack_from(">I", data, place)[0]
        chunk = data[place + 4 : place + 8 + length]
        out += struct.pack(">I", length) + chunk + struct.pack(">I", zlib.crc32(chunk))
        place += 12 + length
    return bytes(out)


def image(seed: int, index: int) -> bytes:
    """Return a mutated image."""
    dice = Dice(f"image {seed} {index}")
    data = dice.choice(images())
    for _ in range(dice.choice((1, 1, 2, 4))):
        data = dice.choice(BYTEWISE)(data, dice)
    return with_right_checksums(data) if dice.random() < 0.5 else data

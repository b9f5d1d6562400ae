"""An upper bound of the time that decoding an image file takes, from its structure. Nothing is decoded.

A file of 40 KB can keep a decoder busy for seconds: thousands of empty chunks that Pillow reads one by one in Python,
hundreds of progressive scans, blocks of a Deflate stream that hold nothing. Each function here walks over the markers
of one format, a bounded number of steps, and adds up the worst that a file of this structure can cost. What has too
many parts, or parts that real programs hardly write, has no bound.

The rates are the worst that `scripts/bench_images.py` found on one core of a small server, rounded up.
"""

import re
import struct
from collections.abc import Callable

import numpy as np

from cnnkit.decoding.bounds import DEFLATE_BYTE, LINE, MOST_PARTS, PART, PATIENT_SECONDS, UNBOUNDED, Work
from cnnkit.decoding.tiff import tiff

_MOST_BLOCKS = 8000
"""Of a GIF, 255 bytes at most each."""
_MOST_SCANS = 20
"""Of a JPEG: libjpeg writes 10 progressive ones, mozjpeg up to 12."""
_MOST_EXIF = 1 << 16
"""Bytes. The entries of larger EXIF data may all refer to the same bytes, of which each gets a copy."""
_EXIF_BYTE = 5e-7
_COMPRESSED_TEXT = 4e-3
"""Seconds: Pillow decompresses a megabyte of a text at most."""


def work(data: bytes, kind: str) -> Work:
    """Return what decoding a file takes at most.

    Args:
        data: its content.
        kind: its format, by Pillow's name; AVIF and any that is not known here has no bound.
    """
    walk = _WALKS.get(kind)
    if walk is None:
        return UNBOUNDED
    try:
        return walk(data)
    except (IndexError, struct.error):  # it ends too soon, and Pillow may read something else into what is left
        return UNBOUNDED


_CHUNK = struct.Struct(">I4s")
_TEXTS = {b"tEXt", b"zTXt", b"iTXt"}


def _png(data: bytes) -> Work:
    if len(data) < 33:
        return Work(PART)
    length, first, width, height, depth, color, _, _, interlaced = struct.unpack_from(">I4sIIBBBBB", data, 8)
    if first != b"IHDR" or length != 13:
        return UNBOUNDED
    at, end, packed, seconds = 33, len(data) - 12, 0, PART
    for _ in range(MOST_PARTS):
        if at > end:
            break
        length, name = _CHUNK.unpack_from(data, at)
        seconds += PART
        if name == b"IDAT":
            packed += length
        elif name == b"IEND":
            break
        elif name == b"IHDR":
            return UNBOUNDED  # which would replace the first
        elif name == b"eXIf":
            if length > _MOST_EXIF:
                return UNBOUNDED
            seconds += length * _EXIF_BYTE
        elif name in _TEXTS and data.startswith(b"Raw profile type exif", at + 8):
            return UNBOUNDED  # EXIF data as text, which may be larger than EXIF data ever is
        elif name in {b"zTXt", b"iTXt", b"iCCP"}:
            seconds += _COMPRESSED_TEXT
        at += 12 + length
    else:
        return UNBOUNDED
    pixels = width * height
    a_pixel = (160e-9 if depth == 16 and color else 50e-9) * (1.5 if interlaced else 1)
    seconds += (width + height) * LINE + min(packed, len(data)) * DEFLATE_BYTE
    return Work(seconds + pixels * a_pixel, pixels)


_FRAMES = {0xC0, 0xC1, 0xC2}
"""Baseline, extended and progressive; not lossless, hierarchical or arithmetic-coded ones."""
_ODD = {0xC3, *range(0xC5, 0xD0), 0xDC, 0xDE, 0xDF}
_SCAN, _BLOCK = 0xDA, 1 << 18


def _jpeg(data: bytes) -> Work:
    at, seconds, pixels, samples, progressive = 2, 0.0, 0, 0.0, False
    exif = 0
    for _ in range(MOST_PARTS):
        if at + 4 > len(data):  # without a scan there is nothing to decode
            return Work(seconds, pixels)
        start, marker, length = struct.unpack_from(">BBH", data, at)
        # Fill bytes before a marker are allowed, and read one by one in Python.
        if start != 0xFF or marker in _ODD or not 0xC0 <= marker <= 0xFE or 0xD0 <= marker <= 0xD9 or length < 2:
            return UNBOUNDED
        seconds += PART
        if marker in _FRAMES:
            depth, height, width, components = struct.unpack_from(">BHHB", data, at + 4)
            if pixels or depth != 8 or not 1 <= components <= 4:
                return UNBOUNDED
            pixels, progressive = height * width, marker == 0xC2
            factors = [data[at + 11 + 3 * index] for index in range(components)]
            across, down = max(f >> 4 for f in factors), max(f & 15 for f in factors)
            samples = sum((f >> 4) * (f & 15) for f in factors) / max(1, across * down)
        elif marker == 0xE1:
            exif += length
            seconds += length * _EXIF_BYTE
        elif marker >= 0xE0 or marker in {0xDB, 0xC4}:
            seconds += length * 1e-7  # Photoshop's resources and quantisation tables are taken apart in Python
        at += 2 + length
        if marker == _SCAN:
            break
    else:
        return UNBOUNDED
    coded = len(data) - at
    seconds += coded * 12e-9 + pixels * 14e-9
    if exif > _MOST_EXIF + 16 or not pixels or coded > 65536 + 4 * pixels * samples:
        return UNBOUNDED
    if seconds > PATIENT_SECONDS:  # too much already: there is no need to look at all bytes
        return Work(seconds, pixels)
    scans = 1 + _scans(data, at)
    if scans > (_MOST_SCANS if progressive else 4):
        return UNBOUNDED
    return Work(seconds + pixels * samples * (2 + scans * (3 if progressive else 5)) * 1e-9, pixels)


def _scans(data: bytes, at: int) -> int:
    """Count the starts of scans from a place within coded data on, where 255 comes before markers and zeros only."""
    found = 0
    for start in range(at, len(data) - 1, _BLOCK):  # numpy compares bytes five times as fast as `bytes.count`
        block = np.frombuffer(data, np.uint8, min(_BLOCK + 1, len(data) - start), start)
        found += int(np.count_nonzero((block[:-1] == 0xFF) & (block[1:] == _SCAN)))
    return found


def _webp(data: bytes) -> Work:
    at, seconds, pixels, coded, lossless = 12, 0.0, 0, False, False
    for _ in range(MOST_PARTS):
        if at + 8 > len(data):
            break
        name, length = struct.unpack_from("<4sI", data, at)
        seconds += PART
        if name == b"VP8X":
            if at > 12:
                return UNBOUNDED
            pixels = (int.from_bytes(data[at + 12 : at + 15], "little") + 1) * (
                int.from_bytes(data[at + 15 : at + 18], "little") + 1
            )
        elif name == b"VP8 " and not pixels:
            width, height = struct.unpack_from("<HH", data, at + 14)
            pixels = (width & 0x3FFF) * (height & 0x3FFF)
        elif name == b"VP8L" and not pixels:
            (bits,) = struct.unpack_from("<I", data, at + 9)
            pixels = ((bits & 0x3FFF) + 1) * ((bits >> 14 & 0x3FFF) + 1)
        elif name == b"EXIF":
            if length > _MOST_EXIF:
                return UNBOUNDED
            seconds += length * _EXIF_BYTE
        coded |= name in {b"VP8 ", b"VP8L", b"ANMF"}
        lossless |= name in {b"VP8L", b"ALPH", b"ANMF"}
        at += 8 + length + length % 2
    else:
        return UNBOUNDED
    if not coded:
        return UNBOUNDED
    # Without loss, each block of 4×4 pixels may have codes of its own, of three bytes, that fill tables of 10 KB.
    groups = min(65536, pixels // 16, len(data) // 3) if lossless else 0
    return Work(seconds + pixels * 100e-9 + len(data) * 30e-9 + groups * 8e-6, pixels)


def _gif(data: bytes) -> Work:
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at = 13 + (3 << (flags & 7) + 1 if flags & 128 else 0)
    images = blocks = 0
    while at < len(data) and blocks < _MOST_BLOCKS:
        start = data[at]
        if start == 0x2C:
            images += 1
            if images == 2:  # which is never decoded
                break
            left, top, across, down, flags = struct.unpack_from("<HHHHB", data, at + 1)
            width, height = max(width, left + across), max(height, top + down)
            at += 11 + (3 << (flags & 7) + 1 if flags & 128 else 0)
        elif start == 0x21:
            at += 2
        elif start == 0x3B:
            break
        else:  # Pillow looks for the next block byte by byte
            return UNBOUNDED
        while at < len(data) and data[at] and blocks < _MOST_BLOCKS:
            at += data[at] + 1
            blocks += 1
        at += 1
        blocks += 1
    if blocks >= _MOST_BLOCKS:
        return UNBOUNDED
    pixels = width * height
    return Work(blocks * 3e-6 + at * 10e-9 + pixels * 50e-9, pixels)


def _bmp(data: bytes, at: int = 14) -> Work:
    (size,) = struct.unpack_from("<I", data, at)
    if size == 12:
        width, height, _, bits = struct.unpack_from("<HHHH", data, at + 4)
        compression = colours = 0
    else:
        width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, at + 4)
        (colours,) = struct.unpack_from("<I", data, at + 32)
    # Runs are decoded in Python, and a palette is looked through.
    if compression not in {0, 3} or (bits <= 8 and colours > 256):
        return UNBOUNDED
    pixels = abs(width * height)
    return Work(20 * PART + (abs(width) + abs(height)) * LINE + pixels * 40e-9, pixels)


def _ppm(data: bytes) -> Work:
    # A comment ends with its line, which may stand within a number.
    magic, *words = re.sub(rb"#[^\r\n]*[\r\n]?", b"", data[:512]).split(None, 4)
    # Other depths, and numbers as text, are read in Python; a header that goes on may say something else.
    depths = {b"P4": None, b"P5": {b"255", b"65535"}, b"P6": {b"255"}, b"Pf": None}.get(magic, set())
    if len(words) < (3 if depths is None else 4) or not all(each.isdigit() and len(each) < 10 for each in words[:2]):
        return UNBOUNDED
    if depths is not None and words[2] not in depths:
        return UNBOUNDED
    width, height = int(words[0]), int(words[1])
    return Work(20 * PART + (width + height) * LINE + width * height * 50e-9, width * height)


_WALKS: dict[str, Callable[[bytes], Work]] = {
    "PNG": _png,
    "JPEG": _jpeg,
    "WEBP": _webp,
    "GIF": _gif,
    "BMP": _bmp,
    "DIB": lambda data: _bmp(data, 0),
    "PPM": _ppm,
    "TIFF": tiff,
}

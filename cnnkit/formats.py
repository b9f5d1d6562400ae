"""Which image files are read, and how to convert those that are not."""

import re
from collections.abc import Iterable

from cnnkit.words import listed

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF", "DIB")
"""The formats that are read, by Pillow's names."""

_SUFFIXES = {
    "PNG": (".png", ".apng"),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".mpo"),
    "WEBP": (".webp",),
    "BMP": (".bmp",),
    "DIB": (".dib",),
    "GIF": (".gif",),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm", ".pfm"),
    "AVIF": (".avif", ".avifs"),
}
SUFFIXES = frozenset(suffix for name in FORMATS for suffix in _SUFFIXES[name])
"""The endings of files that are read."""

_OTHERS = """
    .heic .heif .hif .jp2 .j2k .jpf .jpx .jxl .psd .tga .exr .hdr .ico .pcx .svg
    .3fr .arw .cr2 .cr3 .crw .dng .erf .kdc .mef .mrw .nef .nrw .orf .pef .raf .rw2 .sr2 .srf .srw .x3f
"""
CONVERTIBLE = frozenset(_OTHERS.split())
"""Endings of pictures that are not read, but that can be converted."""

_MAGIC: dict[str, tuple[str, str]] = {
    "PNG": ("PNG", r"\x89PNG"),
    "JPEG": ("JPEG", r"\xff\xd8\xff"),
    "WebP": ("WEBP", r"RIFF....WEBP"),
    "BMP": ("BMP", r"BM....\0\0\0\0"),
    "GIF": ("GIF", r"GIF8"),
    "TIFF": ("TIFF", r"II[*+]\0|MM\0[*+]"),
    "PNM": ("PPM", r"P[1-7]\s"),
    "PFM": ("PPM", r"P[Ff]\s"),
    "AVIF": ("AVIF", r"....ftypavi[fs]"),
}
"""By the usual name of a format: Pillow's name, and a pattern of the first bytes."""

_HEIC = frozenset([b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"])


def how_to_convert(endings: Iterable[str]) -> str:
    """Say how files with these endings become files that are read.

    >>> how_to_convert([".heic"])
    'cnnkit does not read .heic files. Convert them to JPEG first, ...: magick mogrify -format jpg DIR/*.heic'
    """
    endings = sorted(set(endings))
    files = " ".join(f"DIR/*{ending}" for ending in endings)
    return (
        f"cnnkit does not read {listed(endings, len(endings))} files. Convert them to JPEG first, for example with "
        f"ImageMagick: magick mogrify -format jpg {files}"
    )


def format_of(data: bytes, formats: Iterable[str]) -> str:
    """Return the usual name of the format that the first bytes of a file show, empty where it is none of these."""
    for name, (pillows, pattern) in _MAGIC.items():
        if pillows in formats and re.match(pattern.encode("latin-1"), data, re.DOTALL):
            return name
    return ""


def is_heic(data: bytes) -> bool:
    """Tell whether the content of a file is a HEIC image, as phones make them, by the brands at its start."""
    if data[4:8] != b"ftyp" or data[8:12] in {b"avif", b"avis"}:
        return False
    brands = {data[8:12], *(data[at : at + 4] for at in range(16, min(int.from_bytes(data[:4]), 256), 4))}
    return not brands.isdisjoint(_HEIC) or (bool(brands & {b"mif1", b"msf1"}) and not brands & {b"avif", b"avis"})

"""Small files that keep a decoder busy: floods of empty parts, parts that refer to the same bytes, and the like.

`body` gives the content of each by its name. Gzipped, as a client may send them, most have 10 to 50 KB.
"""

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image

MIB = 2**20


def _encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _chunk(name: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


PNG = _encoded(Image.new("L", (28, 28), 200), "PNG")
JPEG = _encoded(Image.new("L", (28, 28), 200), "JPEG")
WEBP = _encoded(Image.new("RGB", (28, 28), 200), "WEBP")
GIF = _encoded(Image.new("L", (28, 28), 200), "GIF")


def png(*chunks: bytes, first: bytes = b"") -> bytes:
    """Return a PNG with these chunks before its pixels, and others directly after its header."""
    return PNG[:33] + first + b"".join(chunks) + PNG[33:]


def deflate_blocks(count: int) -> bytes:
    """Return blocks of a Deflate stream that define codes, hold nothing, and are not the last."""
    value = size = 0

    def put(bits: int, width: int) -> None:
        nonlocal value, size
        value |= bits << size
        size += width

    for _ in range(8):  # together a whole number of bytes
        for bits, width in ((0, 1), (2, 2), (0, 5), (0, 5), (14, 4)):
            put(bits, width)
        lengths = {18: 1, 1: 2, 0: 2}
        for code in (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1):
            put(lengths.get(code, 0), 3)
        put(3, 2)  # the first literal and the end of the block have a bit each, and all else no code
        for zeros in (138, 117):
            put(0, 1)
            put(zeros - 11, 7)
        for bits, width in ((3, 2), (3, 2), (1, 1)):
            put(bits, width)
    return value.to_bytes(size // 8, "little") * (count // 8)


def png_of_empty_blocks(size: int) -> bytes:
    """Return a PNG whose pixels come after so many bytes of blocks that hold nothing."""
    pixels = zlib.compress(bytes(28 * 29))
    blocks = deflate_blocks(8 * size // 94)
    header = struct.pack(">IIBBBBB", 28, 28, 8, 0, 0, 0, 0)
    stream = pixels[:2] + blocks + pixels[2:]
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", stream) + _chunk(b"IEND")


def entries(count: int, size: int, order: str = "<") -> bytes:
    """Return EXIF data whose entries all refer to the same bytes."""
    at = 14 + 12 * count
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, count)
    each = (struct.pack(f"{order}HHII", 1000 + index, 7, size, at) for index in range(count))
    return start + b"".join(each) + bytes(4 + size)


def jpeg(*segments: bytes) -> bytes:
    """Return a JPEG with these segments before its own."""
    return JPEG[:2] + b"".join(segments) + JPEG[2:]


def _segment(marker: int, data: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def jpeg_of_scans(side: int, scans: int) -> bytes:
    """Return a progressive JPEG with its shortest scan so many times more."""
    image = Image.effect_noise((side, side), 5)
    data = _encoded(image, "JPEG", progressive=True, quality=30)
    at, found = 2, []
    while data[at + 1] != 0xD9:
        marker, length = data[at + 1], struct.unpack_from(">H", data, at + 2)[0]
        start, at = at, at + 2 + length
        if marker == 0xDA:
            while not (data[at] == 0xFF and data[at + 1] and not 0xD0 <= data[at + 1] <= 0xD7):
                at += 1
            found.append((start, at))
    start, end = min(found[1:], key=lambda each: each[1] - each[0])
    return data[:end] + data[start:end] * scans + data[end:]


def bmp_of_runs(side: int, runs: bytes, bits: int = 8) -> bytes:
    """Return a run-length encoded bitmap."""
    compression = {8: 1, 4: 2}[bits]
    offset = 14 + 40 + 1024
    header = struct.pack("<IiiHHIIiiII", 40, side, side, 1, bits, compression, len(runs), 0, 0, 1 << bits, 0)
    return b"BM" + struct.pack("<IHHI", offset + len(runs), 0, 0, offset) + header + bytes(1024) + runs


def tiff(width: int, height: int, strips: int, *, overlapping: bool = False, more: int = 0) -> bytes:
    """Return a grey Deflate TIFF of these strips, of the same bytes or of their own, with so many more entries."""
    packed = zlib.compress(bytes(-(-width * height // strips)))
    fields = {256: width, 257: height, 258: 8, 259: 8, 262: 1, 277: 1, 278: -(-height // strips)}
    count = len(fields) + 2 + more
    offsets_at = 8 + 2 + 12 * count + 4
    sizes_at = offsets_at + 4 * strips
    data_at = sizes_at + 4 * strips
    places = [data_at] * strips if overlapping else range(data_at, data_at + len(packed) * strips, len(packed))
    listed = [(tag, 4, 1, value) for tag, value in fields.items()]
    listed += [(273, 4, strips, offsets_at), (279, 4, strips, sizes_at)]
    listed += [(1000 + index, 4, 1, 0) for index in range(more)]
    folder = struct.pack("<H", count) + b"".join(struct.pack("<HHII", *each) for each in sorted(listed)) + bytes(4)
    numbers = np.array([*places, *[len(packed)] * strips], "<u4").tobytes()
    return b"II*\0" + struct.pack("<I", 8) + folder + numbers + packed * (1 if overlapping else strips)


def webp(*chunks: bytes) -> bytes:
    """Return a WebP file with these chunks before its image."""
    size = struct.pack("<I", 27)[:3]
    body = b"VP8X" + struct.pack("<II", 10, 8) + size + size + b"".join(chunks) + WEBP[12:]
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def webp_of_codes(side: int) -> bytes:
    """Return a lossless WebP file whose blocks of 4×4 pixels have codes of their own, up to 65,536."""
    bits: list[int] = []

    def put(value: int, width: int) -> None:
        bits.extend(value >> place & 1 for place in range(width))

    def one_symbol() -> None:
        put(1, 4)  # a simple code of one symbol, which is 0

    def all_symbols(alphabet: int) -> None:  # 256 codes of 8 bits
        put(0, 1)
        put(8, 4)
        for length in (17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8):
            put(length in {0, 8}, 3)
        put(0, 1)
        for symbol in range(alphabet):
            put(symbol < 256, 1)

    for value, width in ((0x2F, 8), (side - 1, 14), (side - 1, 14), (0, 4), (0, 2), (1, 1), (0, 3), (0, 1)):
        put(value, width)
    for alphabet in (280, 256):
        all_symbols(alphabet)
    for _ in range(3):
        one_symbol()
    blocks = (-(-side // 4)) ** 2
    for block in range(blocks):  # the number of its codes, in green and red, the highest bit first
        for colour in (block & 255, block >> 8 & 255):
            bits.extend(colour >> place & 1 for place in reversed(range(8)))
    for _ in range(5 * min(blocks, 65536)):
        one_symbol()
    data = np.packbits(np.array(bits, np.uint8), bitorder="little").tobytes()
    data += bytes(len(data) % 2)
    return b"RIFF" + struct.pack("<I", len(data) + 12) + b"WEBPVP8L" + struct.pack("<I", len(data)) + data


def gif(*blocks: bytes) -> bytes:
    """Return a GIF with these blocks before its image."""
    start = GIF.index(b"\x2c\0\0\0\0")
    return GIF[:start] + b"".join(blocks) + GIF[start:]


_FLOODS: dict[str, Callable[[int], bytes]] = {
    "PNG, empty chunks": lambda size: png(_chunk(b"abCd") * (size // 12)),
    "PNG, empty IDATs": lambda size: PNG[:-12] + _chunk(b"IDAT") * (size // 12) + PNG[-12:],
    "PNG, tEXt": lambda size: png(_chunk(b"tEXt", b"a\0") * (size // 14)),
    "PNG, blocks that hold nothing": png_of_empty_blocks,
    "PNG, compressed texts": lambda size: png(
        *(_chunk(b"zTXt", b"k%d\0\0" % k + zlib.compress(bytes(MIB - 1))) for k in range(size // 20000))
    ),
    "PNG, EXIF entries": lambda size: png(_chunk(b"eXIf", entries(min(60000, size // 24), size // 2))),
    "PNG, EXIF as text": lambda size: png(
        _chunk(b"tEXt", b"Raw profile type exif\0\n\n\n" + entries(min(60000, size // 48), size // 4).hex().encode())
    ),
    "JPEG, COM": lambda size: jpeg(b"\xff\xfe\0\2" * (size // 4)),
    "JPEG, APP5": lambda size: jpeg(b"\xff\xe5\0\2" * (size // 4)),
    "JPEG, DRI": lambda size: jpeg(b"\xff\xdd\0\4\0\0" * (size // 6)),
    "JPEG, bytes of 255": lambda size: jpeg(b"\xff" * size),
    "JPEG, Exif": lambda size: jpeg(_segment(0xE1, b"Exif\0\0") * (size // 10)),
    "JPEG, Exif entries": lambda size: jpeg(*[_segment(0xE1, b"Exif\0\0" + entries(2500, 30000))] * (size // 60000)),
    "JPEG, ICC": lambda size: jpeg(_segment(0xE2, b"ICC_PROFILE\0\1\1") * (size // 18)),
    "JPEG, Photoshop": lambda size: jpeg(
        *[_segment(0xED, b"Photoshop 3.0\0" + (b"8BIM\4\4" + bytes(6)) * 5000)] * (size // 60000)
    ),
    "JPEG, quantisation tables": lambda size: jpeg(*[_segment(0xDB, (b"\0" + b"\1" * 64) * 900)] * (size // 58500)),
    "JPEG, scans": lambda size: jpeg_of_scans(500, size // 12),
    "BMP, empty deltas": lambda size: bmp_of_runs(500, b"\0\2\0\0" * (size // 4)),
    "BMP, ends of lines": lambda size: bmp_of_runs(500, b"\0\0" * (size // 2)),
    "BMP, runs of two": lambda size: bmp_of_runs(500, b"\xff\x12" * (size // 2), 4),
    "DIB, ends of lines": lambda size: bmp_of_runs(500, b"\0\0" * (size // 2))[14:],
    "GIF, comments": lambda size: gif(b"\x21\xfe\1a\0" * (size // 5)),
    "GIF, a long comment": lambda size: gif(b"\x21\xfe" + b"\1a" * (size // 2) + b"\0"),
    "GIF, zeros": lambda size: gif(bytes(size)),
    "TIFF, entries": lambda _: tiff(64, 64, 1, more=25000),
    "TIFF, strips": lambda size: tiff(1, size // 18, size // 18),
    "TIFF, strips of the same bytes": lambda size: tiff(5000, 5000, 5000, overlapping=True) + bytes(size // 100),
    "WebP, chunks": lambda size: webp(b"abcd\0\0\0\0" * (size // 8)),
    "WebP, codes": lambda _: webp_of_codes(1024),
    "WebP, EXIF entries": lambda size: webp(
        b"EXIF" + struct.pack("<I", len(data := entries(min(60000, size // 24), size // 2))) + data
    ),
    "PPM, numbers as text": lambda size: b"P3 1000 1000 255\n" + b"1 " * (size // 2),
    "PPM, a comment": lambda size: b"P5 28 28 #" + b"a" * size + b"\n255 " + bytes(784),
    "PPM, comments": lambda size: b"P5" + b"\n#" * (size // 2) + b"\n28 28 255 " + bytes(784),
    "PPM, 254 levels": lambda size: b"P5 1000 %d 254\n" % (size // 1000) + bytes(size),
}
B1 = [
    *("PNG, empty chunks", "PNG, empty IDATs", "PNG, tEXt", "JPEG, COM", "JPEG, APP5", "JPEG, DRI"),
    *("JPEG, bytes of 255", "JPEG, Exif", "JPEG, ICC", "BMP, empty deltas", "BMP, ends of lines", "BMP, runs of two"),
]
"""The worst that were found, where a server takes PNG, JPEG, WebP and BMP files of 16 MiB."""


def body(name: str, size: int = 16 * MIB - 4096) -> bytes:
    """Return a file of about so many bytes, or fewer."""
    return _FLOODS[name](size)


def names() -> list[str]:
    """Return the names of all."""
    return list(_FLOODS)

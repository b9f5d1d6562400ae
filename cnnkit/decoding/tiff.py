"""The bound of decoding a TIFF file, from the entries of its folders."""

import struct

from cnnkit.decoding.bounds import DEFLATE_BYTE, LINE, MEMORY_BYTE, MOST_PARTS, PART, UNBOUNDED, Work

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}
"""Bytes of a value by the type of a TIFF entry."""
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _STRIPS, _SAMPLES, _BYTES = 256, 257, 258, 259, 273, 277, 279
_TILES, _FOLDERS = {322, 323, 324, 325}, {34665, 34853, 40965}
_COMPRESSIONS = {1: 2e-9, 5: 15e-9, 8: DEFLATE_BYTE, 32946: DEFLATE_BYTE, 32773: 10e-9}
"""Seconds a byte: none, LZW, Deflate (two numbers), PackBits."""


class _Entries:
    """The entries of a folder of a TIFF file."""

    def __init__(self, data: bytes, order: str, at: int) -> None:
        self._data, self._order = data, order
        (count,) = struct.unpack_from(f"{order}H", data, at)
        self.many = count > MOST_PARTS // 4
        self.bytes = 0
        self._found: dict[int, tuple[int, int, int]] = {}
        for each in range(min(count, MOST_PARTS // 4)):
            place = at + 2 + 12 * each
            tag, kind, number = struct.unpack_from(f"{order}HHI", data, place)
            size = _SIZES.get(kind, 1) * number
            if size > 4:
                (place,) = struct.unpack_from(f"{order}I", data, place + 8)
                self.bytes += size
            else:
                place += 8
            self._found[tag] = kind, number, place

    def __contains__(self, tag: int) -> bool:
        return tag in self._found

    def count(self, tag: int) -> int:
        return self._found.get(tag, (0, 0, 0))[1]

    def values(self, tag: int, most: int = 16 * MOST_PARTS) -> tuple[int, ...]:
        kind, number, place = self._found.get(tag, (0, 0, 0))
        letter = {3: "H", 4: "I", 1: "B"}.get(kind)
        return struct.unpack_from(f"{self._order}{min(number, most)}{letter}", self._data, place) if letter else ()

    def first(self, tag: int, default: int) -> int:
        return (self.values(tag, 1) or (default,))[0]


def tiff(data: bytes) -> Work:
    """Return what decoding a TIFF file takes at most, as `cnnkit.decoding.cost.work` does."""
    order = "<" if data[:1] == b"I" else ">"
    version, at = struct.unpack_from(f"{order}HI", data, 2)
    if version != 42:  # BigTIFF
        return UNBOUNDED
    entries = _Entries(data, order, at)
    folders = [entries, *(_Entries(data, order, entries.first(tag, 8)) for tag in _FOLDERS if tag in entries)]
    compression, strips = entries.first(_COMPRESSION, 1), entries.count(_STRIPS)
    if (
        any(folder.many or folder.bytes > len(data) for folder in folders)
        or any(tag in entries for tag in _TILES)
        or compression not in _COMPRESSIONS
        or max(strips, entries.count(_BYTES)) > 16 * MOST_PARTS
        or entries.count(_BITS) > 8
        or entries.first(_SAMPLES, 1) > 8
    ):
        return UNBOUNDED
    packed = sum(entries.values(_BYTES)) or len(data)
    if strips > 1 and packed > len(data):  # the same bytes, many times
        return UNBOUNDED
    width, height = entries.first(_WIDTH, 0), entries.first(_HEIGHT, 0)
    deep = max(entries.values(_BITS), default=1) > 8
    seconds = (len(data) * MEMORY_BYTE) + len(folders) * 250 * PART * 2 + strips * 15e-6
    seconds += (width + height) * LINE + packed * _COMPRESSIONS[compression]
    return Work(seconds + width * height * (200e-9 if deep else 60e-9), width * height)

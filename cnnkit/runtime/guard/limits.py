"""How much memory a protobuf takes once it is read, told from its bytes: two of them may become a hundred."""

from typing import Any

_VARINT, _DELIMITED = 0, 2
_FIXED = {1: 8, 5: 4}
"""Bytes of a value, by the kind of its field."""


def count_fields(content: bytes, descriptor: Any, most: int) -> int:
    """Count the fields of a message and of those inside it, at whatever depth, up to one more than `most`.

    Args:
        content: a serialised message.
        descriptor: protobuf's description of it.
        most: where to stop; content too short to have more is not looked at.

    Raises:
        ValueError, IndexError: it is no protobuf.
    """
    waiting = [(descriptor, 0, len(content))] if len(content) > 2 * most else []
    count = 0
    while waiting and count <= most:
        kind, place, end = waiting.pop()
        while place < end and count <= most:
            tag, place = _varint(content, place)
            count += 1
            if tag & 7 == _VARINT:
                _, place = _varint(content, place)
                continue
            if tag & 7 == _DELIMITED:
                size, place = _varint(content, place)
                field = kind.fields_by_number.get(tag >> 3)
                if field is not None and field.message_type is not None:
                    waiting.append((field.message_type, place, place + size))
            else:
                size = _FIXED.get(tag & 7, len(content))
            place += size
            if place > end:
                raise ValueError("a field that ends beyond its message")
    return count


def _varint(content: bytes, place: int) -> tuple[int, int]:
    """Return the number at a place, seven bits a byte, and the place after it."""
    value = 0
    for shift in range(0, 70, 7):
        value |= (content[place] & 127) << shift
        place += 1
        if content[place - 1] < 128:
            return value, place
    raise ValueError("a number of more than ten bytes")

"""What the metadata of an ONNX file says: the forms that Ultralytics, PaddleOCR and Hugging Face write."""

import ast
import json
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cnnkit.card import CONTROL
from cnnkit.images import MAX_SIDE
from cnnkit.runtime.foreign.options import Order, Pixels

if TYPE_CHECKING:
    from onnx import ModelProto

_NAMES = ("names", "id2label", "label2id", "labels", "classes", "class_names", "character")
"""Keys of class names, in the order in which they are looked for."""
_RANGE, _FORMAT, _GAMMA = "Image.NominalPixelRange", "Image.BitmapPixelFormat", "Image.ColorSpaceGamma"
_RANGES: Mapping[str, Pixels] = {
    "NominalRange_0_255": "byte", "Normalized_0_1": "unit", "Normalized_1_1": "signed"
}  # fmt: skip
_ORDERS: Mapping[str, Order] = {"Rgb8": "rgb", "Rgba8": "rgb", "Bgr8": "bgr", "Bgra8": "bgr"}
_SIZES = ("imgsz", "image_size", "input_size")
_LONGEST = 1_000_000
"""Characters of an entry that are read."""


def metadata_of(model: "ModelProto") -> dict[str, str]:
    """Return a file's metadata by key."""
    return {entry.key: entry.value for entry in model.metadata_props}


def names_in(metadata: Mapping[str, str], count: int) -> tuple[str, tuple[str, ...]] | None:
    """Return the key and the names of so many classes, or None where the metadata does not name them."""
    for key in _NAMES:
        if key in metadata and (names := ordered(_parsed(metadata[key]), count)) is not None:
            return key, names
    return None


def unused_names(metadata: Mapping[str, str], count: int) -> tuple[str, ...]:
    """Return what the metadata says of the classes' names and cannot be used, in words."""
    known = names_in(metadata, count)
    notes = []
    for key in (key for key in _NAMES if key in metadata):
        names = ordered(_parsed(metadata[key]), count)
        if names is None:
            notes.append(f"{key} in the file's metadata does not name each of {count:,} classes once: not used")
        elif known is not None and names != known[1]:
            notes.append(f"{key} in the file's metadata names other classes: not used")
    return tuple(notes)


@dataclass(frozen=True)
class Declared:
    """What the metadata says of the pixels that a file takes; None where it says nothing that can be used.

    Attributes:
        pixels: their scale.
        order: of the three colours.
        because: where the scale is said, in words.
        notes: what is said and not used, in words.
    """

    pixels: Pixels | None = None
    order: Order | None = None
    because: str = ""
    notes: tuple[str, ...] = ()


def pixels_in(metadata: Mapping[str, str], *, channels: int, dtype: str) -> Declared:
    """Return what the metadata says of the pixels that a file takes.

    Source: ONNX's `MetadataProps.md`, which Windows ML and Azure's Custom Vision follow.

    Args:
        metadata: of the file.
        channels: that it takes: only three have an order.
        dtype: of its input: whole numbers are from 0 to 255, whatever is said.
    """
    given = {key: clean(metadata[key])[:40] for key in (_RANGE, _FORMAT, _GAMMA) if key in metadata}
    scale, form = given.get(_RANGE, ""), given.get(_FORMAT, "")
    pixels = _RANGES.get(scale) if dtype != "uint8" or scale == "NominalRange_0_255" else None
    order = _ORDERS.get(form) if channels == 3 else None
    used = {_RANGE: pixels, _FORMAT: order or (channels == 1 and form == "Gray8"), _GAMMA: given.get(_GAMMA) == "SRGB"}
    notes = tuple(
        f"{key} in the file's metadata is {value!r}: not used" for key, value in given.items() if not used[key]
    )
    return Declared(pixels, order, f"{_RANGE} in the file's metadata is {scale}", notes)


def side_in(model: "ModelProto") -> tuple[int, int] | None:
    """Return the height and width of an image that the metadata names, or None."""
    metadata = metadata_of(model)
    for key in _SIZES:
        if (sides := sides_of(_parsed(metadata.get(key, "")))) is not None:
            return sides
    return None


def sides_of(found: object) -> tuple[int, int] | None:
    """Return the height and width that one number or two are, or None."""
    sides = [found, found] if isinstance(found, int) else found
    if not isinstance(sides, list | tuple) or len(sides) != 2:
        return None
    if not all(isinstance(side, int) and not isinstance(side, bool) and 1 <= side <= MAX_SIDE for side in sides):
        return None
    return sides[0], sides[1]


def ordered(found: object, count: int | None = None, *, first: int = 0) -> tuple[str, ...] | None:
    """Return class names in the order of their indices, from a list, or from a map in either direction.

    Args:
        found: a list of names, a map from index to name, from name to index, or from index to synset and name.
        count: of the classes; None for any number.
        first: index of a map's lowest class.
    """
    if isinstance(found, Mapping):
        found = _from_map(found, first)
    if not isinstance(found, list | tuple) or not all(isinstance(name, str) for name in found):
        return None
    names = tuple(clean(name) for name in found)
    return names if all(names) and count in {None, len(names)} else None


def clean(name: str) -> str:
    """Return a name without control characters, halves of characters (which JSON can hold) and surrounding space."""
    return CONTROL.sub(" ", name.encode("utf-8", "replace").decode()).strip()


def _from_map(found: Mapping[Any, Any], first: int) -> list[Any] | None:
    pairs: dict[int, Any] = {}
    for key, value in found.items():
        for index, name in ((key, value), (value, key)):
            number = _index(index)
            if number is not None and isinstance(name, str | list | tuple):
                text = " ".join(map(str, name)) if isinstance(name, list | tuple) else name
                # A map of numbers to numbers, as of digits, goes from the index to the name.
                if pairs.setdefault(number, text) != text:
                    return None
                break
        else:
            return None
    places = range(first, first + len(pairs))
    return [pairs[index] for index in places] if pairs.keys() == set(places) else None


def _index(value: Any) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        return int(value)
    return None


def _parsed(text: str) -> Any:
    """Return what an entry holds: JSON, a Python literal, or lines."""
    if len(text) > _LONGEST:
        return None
    with suppress(ValueError, RecursionError):
        return json.loads(text)
    found = literal(text)
    return found if found is not None else [line for line in text.splitlines() if line.strip()] or None


def literal(text: str) -> object:
    """Return what a literal of Python holds, or None."""
    if len(text) > _LONGEST:
        return None
    with suppress(ValueError, SyntaxError, MemoryError, RecursionError, TypeError), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Python, about what is written in the text
        return ast.literal_eval(text.strip())
    return None

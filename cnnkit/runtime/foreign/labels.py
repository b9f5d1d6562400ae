"""Names of classes: from the lists that go round beside ONNX files, and from what the file says itself."""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnnkit.errors import DataError
from cnnkit.runtime.foreign.beside import CONFIG, NOTHING, Beside
from cnnkit.runtime.foreign.described import clean, names_in, ordered
from cnnkit.words import counted

_NUMBERED = re.compile(r"(\d{1,9})(?:\s*[:,;\t=]\s*|\s+)(\S.*)")
_SYNSET = re.compile(r"(n\d{8})(?:\s*[:,;\t]\s*|\s+|$)(.*)")
_LARGEST = 10_000_000
"""Bytes of a file of labels."""


@dataclass(frozen=True)
class ClassNames:
    """What the classes are called.

    Attributes:
        labels: distinct, in the order of the scores.
        synsets: WordNet's identifiers, where the list has them; otherwise empty.
        source: where they come from, in words.
    """

    labels: tuple[str, ...]
    synsets: tuple[str, ...]
    source: str


def class_names(
    count: int, file: Path | None, metadata: Mapping[str, str], name: str, beside: Beside = NOTHING
) -> ClassNames:
    """Return the names of a network's classes: of the file of labels, of the metadata, of what is beside, or numbers.

    Args:
        count: of the classes.
        file: that the user names. It has one label a line, each with its index before it or not; or JSON: a list, or a
            map from index to label or from label to index, as in Hugging Face's `config.json`. A label may begin with
            its WordNet synset.
        metadata: of the ONNX file.
        name: of the ONNX file, for errors.
        beside: what further files in its folder say.

    Raises:
        DataError: the file cannot be read, or does not name each class.
    """
    if file is not None:
        names, how = _read(file)
        if len(names) != count:
            classes = counted(count, "class", "classes")
            raise DataError(f"{file} has {counted(len(names), 'label')}{how}; {name} has {classes}.")
        return _named(names, f"labels of {file}{how}")
    known = names_in(metadata, count)
    if known is not None:
        key, names = known
        return _named(names, f"labels of the file's metadata ({key})")
    found = beside.names_of(count)
    if found is not None:
        return _named(found, f"labels of {CONFIG} beside the file")
    return ClassNames(tuple(map(str, range(count))), (), "no labels given: classes are numbered")


def is_named(count: int, file: Path | None, metadata: Mapping[str, str], beside: Beside = NOTHING) -> bool:
    """Whether there are names for so many classes, by the file of labels, else by the metadata or what is beside.

    Raises:
        DataError: the file cannot be read.
    """
    if file is not None:
        return len(_read(file)[0]) == count
    return names_in(metadata, count) is not None or beside.names_of(count) is not None


def _read(file: Path) -> tuple[tuple[str, ...], str]:
    """Return the labels in a file, and how they are ordered where that is not by their lines, in words."""
    try:
        if file.stat().st_size > _LARGEST:
            raise DataError(f"{file} has more than {_LARGEST / 1e6:.0f} MB: no list of labels.")
        text = file.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read the labels in {file}: {getattr(error, 'strerror', None) or error}.") from error
    if file.suffix.lower() == ".json" or text.lstrip()[:1] in {"{", "["}:
        return _of_json(text, file), ""
    lines = [clean(line) for line in text.splitlines() if clean(line)]
    numbered = [_NUMBERED.fullmatch(line) for line in lines]
    indices = [int(found[1]) for found in numbered if found is not None]
    for first in (0, 1):
        if lines and sorted(indices) == list(range(first, first + len(lines))):
            by_index = {int(found[1]): found[2].strip() for found in numbered if found is not None}
            how = ", by their numbers" if first == 0 else ", by their numbers, which begin at 1"
            return tuple(by_index[index] for index in sorted(by_index)), how
    return tuple(lines), ""


def _of_json(text: str, file: Path) -> tuple[str, ...]:
    try:
        found: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"cannot read the labels in {file}: it is not valid JSON ({error}).") from error
    if isinstance(found, Mapping):
        # A model's configuration holds the map among other things.
        found = next((found[key] for key in ("id2label", "label2id", "names") if key in found), found)
    names = ordered(found)
    if names is None:
        raise DataError(
            f"{file} does not name each class once: expected a list of labels, or a map between the indices from 0 and "
            "the labels."
        )
    return names


def _named(names: Sequence[str], source: str) -> ClassNames:
    """Split synsets from labels, and tell labels apart that occur twice."""
    found = [_SYNSET.fullmatch(name) for name in names]
    synsets: tuple[str, ...] = ()
    if all(each is not None for each in found) and len({each[1] for each in found if each}) == len(names):
        synsets = tuple(each[1] for each in found if each)
        names = [(each[2].strip() or each[1]) for each in found if each]
    # ImageNet's own list has two cranes.
    seen: Counter[str] = Counter()
    labels: list[str] = []
    taken = set(names)
    for name in names:
        seen[name] += 1
        label = name
        while seen[name] > 1 and label in taken:
            label = f"{name} ({seen[name]})"
            seen[name] += label in taken
        taken.add(label)
        labels.append(label)
    return ClassNames(tuple(labels), synsets, source)

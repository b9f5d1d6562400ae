"""Names of classes: from the lists that go round beside ONNX files, and from what the file says itself."""

import codecs
import csv
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any

from cnnkit.errors import DataError
from cnnkit.runtime.foreign.beside import CONFIG, NOTHING, Beside
from cnnkit.runtime.foreign.described import clean, literal, names_in, ordered
from cnnkit.words import counted

_INNER = re.compile(r"(n\d{8})\s+(\d{1,9})\s+(\S.*)")
_NUMBERED = re.compile(r"(\d{1,9})(?:\s*[:,;\t=]\s*|[.)]?\s+)(\S.*)")
_AFTER = re.compile(r"(.*?\S)(?:\s*[:,;\t=]\s*|\s+)(\d{1,9})")
_HEADING = re.compile(r"\b(id|idx|index|class(_id|_name|es)?|categor(y|ies)|labels?|names?|synset)\b:?", re.IGNORECASE)
_SYNSET = re.compile(r"(n\d{8})(?:\s*[:,;\t]\s*|\s+|$)(.*)")
_SEPARATOR = re.compile(r'(?:[^",;\t]|"[^"]*")*([,;\t])')
Labels = Path | tuple[str, ...]
"""A file of them, or the labels themselves."""
_FROM = (", by their numbers", ", by their numbers, which begin at 1")
"""How labels are ordered, in words, by the number of the first."""
_UNORDERED = ", by their lines: their numbers are not those of the classes"
_LARGEST = 10_000_000
"""Bytes of a file of labels."""


@dataclass(frozen=True)
class ClassNames:
    """What the classes are called.

    Attributes:
        labels: distinct, in the order of the scores.
        synsets: WordNet's identifiers, where the list has them; otherwise empty.
        source: where they come from, in words.
        first: number of the first, by the list.
    """

    labels: tuple[str, ...]
    synsets: tuple[str, ...]
    source: str
    first: int = 0


@dataclass(frozen=True)
class _Listed:
    """Labels of a file; how they are ordered where that is not by their lines, in words; the number of the first."""

    labels: tuple[str, ...]
    how: str = ""
    first: int = 0


def class_names(
    count: int, file: Labels | None, metadata: Mapping[str, str], name: str, beside: Beside = NOTHING
) -> ClassNames:
    """Return the names of a network's classes: of the file of labels, of the metadata, of what is beside, or numbers.

    Args:
        count: of the classes.
        file: that the user names, or the labels themselves. A file has one label a line, each with its index before it
            or not; or JSON: a list, or a map from index to label or from label to index, as in Hugging Face's
            `config.json`. A label may begin with its WordNet synset.
        metadata: of the ONNX file.
        name: of the ONNX file, for errors.
        beside: what further files in its folder say.

    Raises:
        DataError: the file cannot be read, or does not name each class.
    """
    if file is not None:
        found = _read(file, count)
        if (given := len(found.labels)) != count:
            classes = counted(count, "class", "classes")
            hint = "Is the first a heading? Leave it out" if given == count + 1 else "Expected one a line, or JSON"
            where = file if isinstance(file, Path) else "the list of labels"
            raise DataError(f"{where} has {counted(given, 'label')}{found.how}; {name} has {classes}. {hint}.")
        where = f"labels of {file}{found.how}" if isinstance(file, Path) else "labels as given"
        return replace(named(found.labels, where), first=found.first)
    known = names_in(metadata, count)
    if known is not None:
        key, names = known
        return named(names, f"labels of the file's metadata ({key})")
    names_beside = beside.names_of(count)
    if names_beside is not None:
        return named(names_beside, f"labels of {CONFIG} beside the file")
    return ClassNames(tuple(map(str, range(count))), (), "no labels given: classes are numbered")


def is_named(count: int, file: Labels | None, metadata: Mapping[str, str], beside: Beside = NOTHING) -> bool:
    """Whether there are names for so many classes, by the file of labels, else by the metadata or what is beside.

    Raises:
        DataError: the file cannot be read.
    """
    if file is not None:
        return len(_read(file, count).labels) == count
    return names_in(metadata, count) is not None or beside.names_of(count) is not None


def _read(file: Labels, count: int) -> _Listed:
    """Return the labels in a file, or those that were given.

    Args:
        count: of the classes; where there is a line more, the first may be a heading.
    """
    if isinstance(file, tuple):
        return _Listed(file)
    try:
        if file.stat().st_size > _LARGEST:
            raise DataError(f"{file} has more than {_LARGEST / 1e6:.0f} MB: no list of labels.")
        text = _decoded(file.read_bytes())
    except UnicodeDecodeError as error:
        raise DataError(f"cannot read the labels in {file}: it is not text in UTF-8 ({error}). Save it so.") from error
    except OSError as error:
        raise DataError(f"cannot read the labels in {file}: {error.strerror or error}.") from error
    if file.suffix.lower() == ".json" or text.lstrip()[:1] in {"{", "["}:
        return _of_json(text, file)
    rows = _table(text, file.suffix.lower()) if file.suffix.lower() in {".csv", ".tsv"} else None
    lines = list(map(_line, rows)) if rows is not None else text.splitlines()
    lines = [clean(line) for line in lines if clean(line)]
    headed = len(lines) == count + 1 and (_HEADING.fullmatch(lines[0]) or (rows is not None and _is_headed(rows)))
    without = f", without the heading {lines[0]!r}" if headed else ""
    del lines[: bool(headed)]
    places = list(range(len(lines)))
    leading = [(int(found[1]), found[2].strip()) for line in lines if (found := _NUMBERED.fullmatch(line))]
    inner = [(int(found[2]), f"{found[1]} {found[3]}") for line in lines if (found := _INNER.fullmatch(line))]
    short = [line for line in lines if len(line) < 1000]
    trailing = [(int(found[2]), found[1].strip()) for line in short if (found := _AFTER.fullmatch(line))]
    # `type 1`, `type 2` are names: only what differs without its number is numbered behind.
    behind = trailing if len({name for _, name in trailing}) == len(lines) else []
    for pairs in (leading, inner, behind):
        indices = sorted(index for index, _ in pairs)
        for first, how in enumerate(_FROM):
            if lines and [index - first for index in indices] == places:
                return _Listed(tuple(name for _, name in sorted(pairs)), how + without, first)
    numbered = len(leading) == len(lines) > 0
    return _Listed(tuple(lines), (_UNORDERED if numbered else "") + without)


def _decoded(content: bytes) -> str:
    """Return a text in UTF-8, or in UTF-16 where its first bytes say so."""
    return content.decode("utf-16" if content[:2] in {codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE} else "utf-8-sig")


def _table(text: str, suffix: str) -> list[list[str]] | None:
    """Return the cells of a table by rows, or None where it is none."""
    # A decimal comma makes tables of the semicolon; the first cell is rarely a label with either in it.
    found = _SEPARATOR.match(text.lstrip().partition("\n")[0])
    separator = "\t" if suffix == ".tsv" else found[1] if found else ","
    try:
        rows = [[cell.strip() for cell in row] for row in csv.reader(StringIO(text), delimiter=separator)]
    except csv.Error:
        return None
    return [row for row in rows if any(row)]


def _line(row: list[str]) -> str:
    """Return a row as a line: the first cell, and the others after it."""
    return " ".join((row[0], ", ".join(row[1:])))


def _is_headed(rows: list[list[str]]) -> bool:
    """Whether the first row of a table is a heading: it says so, or has words above a column of numbers or synsets."""
    head, *others = rows
    if len(head) < 2 or any(map(str.isdigit, head)) or any(map(_SYNSET.fullmatch, head)):
        return False
    codes = [all(cell.isdigit() or _SYNSET.fullmatch(cell) for cell in column) for column in zip(*others, strict=False)]
    return _HEADING.search(" ".join(head)) is not None or any(codes)


def _of_json(text: str, file: Path) -> _Listed:
    try:
        found: Any = json.loads(text, object_pairs_hook=_once)
    except RepeatedError as error:
        raise DataError(f"{file} has {str(error)!r} twice: expected each class once.") from error
    except (ValueError, RecursionError) as error:
        found = literal(text)  # a map of Python's is no JSON, and goes round for ImageNet
        if found is None:
            raise DataError(f"cannot read the labels in {file}: it is not valid JSON ({error}).") from error
    if isinstance(found, Mapping):
        # A model's configuration holds the map among other things.
        keys = ("id2label", "label2id", "names", "labels", "classes", "class_names")
        found = next((found[key] for key in keys if isinstance(found.get(key), Mapping | list)), found)
    if isinstance(found, list) and found and all(isinstance(each, list) for each in found):
        found = dict(enumerate(found))  # of synset and name
    for first, how in enumerate(_FROM):
        if (names := ordered(found, first=first)) is not None:
            return _Listed(names, how if first else "", first)
    raise DataError(
        f"{file} does not name each class once: expected a list of labels, or a map between the indices from 0 and the "
        "labels."
    )


class RepeatedError(ValueError):
    """A key that a JSON object has twice, of which only one would count."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise RepeatedError(key)
        found[key] = value
    return found


def named(names: Sequence[str], source: str) -> ClassNames:
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

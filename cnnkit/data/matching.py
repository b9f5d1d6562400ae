"""Finding the classes of a data set among those of a network: by name, WordNet synset, word or index."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from unicodedata import normalize

from cnnkit.errors import DataError
from cnnkit.words import counted, listed

_SYNSET = re.compile(r"(n\d{8})(?:$|[ _.,-])")
_SEPARATORS = re.compile(r"[\s_-]+")


@dataclass(frozen=True)
class Matching:
    """Which class of a network each class of a data set is.

    Attributes:
        places: of each class of the data set among the labels.
        how: what they were found by where that was not their name, in words; otherwise empty.
    """

    places: tuple[int, ...]
    how: str = ""


def match(
    classes: Sequence[str], labels: Sequence[str], synsets: Sequence[str], name: str, *, first: int = 0
) -> Matching:
    """Find the classes of a data set among those of a network.

    Args:
        classes: of the data set, as its folders are called.
        labels: of the network. One may have several words, as in `tench, Tinca tinca`.
        synsets: WordNet's identifiers of the labels; empty where they are not known.
        name: of the data set, for errors.
        first: number that folders give the class at the top of the list.

    Raises:
        DataError: one is not among them, or two are the same, or one could be several.
    """
    exact = {normalize("NFC", label): index for index, label in enumerate(labels)}
    by_synset = {synset: index for index, synset in enumerate(synsets)}
    by_word = _by_word(labels)
    found: dict[str, int] = {}
    ways: dict[str, str] = {}
    for each in classes:
        synset = _SYNSET.match(each)
        words = by_word.get(_plain(each), [])
        if normalize("NFC", each) in exact and f"{each} (2)" not in exact:
            found[each] = exact[normalize("NFC", each)]
        elif synset is not None and synset[1] in by_synset:
            found[each], ways[each] = by_synset[synset[1]], "synset"
        elif len(words) == 1:
            found[each], ways[each] = words[0], "word"
        elif len(words) > 1:
            raise DataError(
                f"{name} has the class {each}, which several classes of the network are called: numbers "
                f"{listed([str(place) for place in words], 10)}. Name the folder by its index or synset."
            )
    strange = [each for each in classes if each not in found]
    # Beside folders with names, a number is an index only where no class is called by one.
    indices = not found or not any(label.isdigit() for label in labels)
    numbers = {each: int(each) - first for each in strange if each.isascii() and each.isdigit() and len(each) < 10}
    if indices and len(numbers) == len(strange) and all(0 <= place < len(labels) for place in numbers.values()):
        found |= numbers
        ways |= dict.fromkeys(strange, "index, from 1 as in the list of labels" if first else "index")
        strange = []
    if strange:
        numbered = list(labels) == list(map(str, range(len(labels))))
        help = "Name the classes of an ONNX file with --labels" if numbered else "Rename the folders"
        if numbers and first:
            help = f"Numbers of folders count from {first}, as in the list of labels. {help}"
        raise DataError(
            f"{name} has {counted(len(strange), 'class', 'classes')} that the network does not know: "
            f"{listed(strange, 10)}. It knows {listed(labels, 10)}. {help}, or leave them out."
        )
    _require_distinct(found, labels, name)
    return Matching(tuple(found[each] for each in classes), _in_words(ways, found, labels))


def _by_word(labels: Sequence[str]) -> Mapping[str, list[int]]:
    """Return the classes that each word between commas names."""
    found: dict[str, list[int]] = defaultdict(list)
    for index, label in enumerate(labels):
        without_number = re.sub(r" \(\d+\)$", "", label)
        for word in {_plain(part) for part in (without_number, *without_number.split(","))}:
            found[word].append(index)
    return found


def _plain(word: str) -> str:
    """Return a word as it is compared: letters by themselves are classes in either case."""
    plain = _SEPARATORS.sub(" ", normalize("NFC", word)).strip()
    return plain if len(plain) == 1 else plain.casefold()


def _require_distinct(found: Mapping[str, int], labels: Sequence[str], name: str) -> None:
    folders: dict[int, str] = {}
    for each, place in found.items():
        other = folders.setdefault(place, each)
        if other != each:
            raise DataError(
                f"{name} has the classes {other} and {each}, which are both {labels[place]}. Put their images into one."
            )


def _in_words(ways: Mapping[str, str], found: Mapping[str, int], labels: Sequence[str]) -> str:
    if not ways:
        return ""
    kinds = " and ".join(dict.fromkeys(ways.values()))
    few = [f"{each} is {labels[found[each]]}" for each in ways]
    return f"classes were found by their {kinds}: {listed(few, 5)}"

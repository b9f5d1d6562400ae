"""Folders of images and the classes of a network."""

from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnkit.data.matching import match
from cnnkit.errors import DataError

LABELS = ("tench, Tinca tinca", "goldfish", "crane", "crane (2)", "great white shark, white shark")
SYNSETS = ("n01440764", "n01443537", "n02012849", "n03126707", "n01484850")


@pytest.mark.parametrize(
    ("classes", "places", "way"),
    [
        (("goldfish", "tench, Tinca tinca"), (1, 0), ""),
        (("n01443537", "n03126707"), (1, 3), "synset"),
        (("n01440764-tench", "n01484850_great_white_shark"), (0, 4), "synset"),
        (("Tinca tinca", "white_shark"), (0, 4), "word"),
        (("Goldfish", "Great White Shark"), (1, 4), "word"),
        (("0", "3", "1"), (0, 3, 1), "index"),
        (("goldfish", "n02012849", "tench"), (1, 2, 0), "synset and word"),
        (("003", "4"), (3, 4), "index"),
        (("goldfish", "2"), (1, 2), "index"),
    ],
    ids=str,
)
def test_folders_are_found_by_name_synset_word_or_index(
    classes: tuple[str, ...], places: tuple[int, ...], way: str
) -> None:
    found = match(classes, LABELS, SYNSETS, "photos")
    assert found.places == places
    assert found.how.startswith(f"classes were found by their {way}: " if way else "")
    assert bool(found.how) == bool(way)


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        (("goldfish", "cat"), "has 1 class that the network does not know: cat"),
        (("goldfish", "7"), "does not know: 7"),
        (("0", "5"), "does not know: 0 and 5"),
        (("crane",), "crane, which several classes of the network are called: numbers 2 and 3"),
        (("goldfish", "Goldfish"), "goldfish and Goldfish, which are both goldfish"),
        (("tench", "n01440764"), "tench and n01440764, which are both tench, Tinca tinca"),
    ],
    ids=str,
)
def test_a_folder_that_is_no_class_or_could_be_several_is_refused(classes: tuple[str, ...], said: str) -> None:
    with pytest.raises(DataError, match=said):
        match(classes, LABELS, SYNSETS, "photos")


def test_numbers_are_counted_as_in_the_list_of_labels() -> None:
    found = match(("3", "1"), LABELS, SYNSETS, "photos", first=1)
    assert found.places == (2, 0)
    assert "from 1" in found.how
    with pytest.raises(DataError, match=r"does not know: 0.*count from 1, as in the list of labels"):
        match(("0", "1"), LABELS, SYNSETS, "photos", first=1)


def test_a_number_is_no_index_where_a_class_is_called_by_one() -> None:
    with pytest.raises(DataError, match="does not know: 0"):
        match(("2", "0"), ("1", "2", "3"), (), "photos")


def test_a_network_of_numbered_classes_says_how_to_name_them() -> None:
    with pytest.raises(DataError, match="--labels"):
        match(("cat", "dog"), ("0", "1"), (), "photos")


@given(st.permutations(range(10)))
def test_numbers_that_are_names_are_names(order: list[int]) -> None:
    """Digits may stand in any order in a list of labels."""
    labels = tuple(map(str, order))
    assert match(tuple("0123456789"), labels, (), "digits").places == tuple(labels.index(each) for each in "0123456789")


@given(st.lists(st.text(min_size=1), min_size=1, max_size=6, unique=True), st.data())
def test_names_are_found_before_anything_else(labels: list[str], data: st.DataObject) -> None:
    if any(f"{label} (2)" in labels for label in labels):
        return
    classes = tuple(data.draw(st.permutations(labels)))
    if len({normalize("NFC", label) for label in labels}) == len(labels):
        found = match(classes, labels, (), "photos")
        assert [labels[place] for place in found.places] == list(classes)

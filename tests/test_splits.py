"""Which images train, validate and test: properties of the split, for lists of contents and for real image folders."""

import hashlib
import os
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from cnnkit.data import loaded as data_module
from cnnkit.data import splits
from cnnkit.data.loaded import ImageData
from cnnkit.data.splits import PARTS, Part, divide
from cnnkit.operation import result_of
from cnnkit.recipe import Recipe

EXAMPLES = int(os.environ.get("CNNKIT_EXAMPLES", "200"))
many = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
"""CNNKIT_EXAMPLES=1000 pytest tests/test_splits.py tries more."""

Images = list[tuple[str, int]]
"""Content and class of each image."""


def hash_of(name: object) -> str:
    return hashlib.sha256(str(name).encode()).hexdigest()


@st.composite
def image_lists(draw: st.DrawFn) -> Images:
    """Classes of 1 to 12 images; some are copies of another image of their class, some of one of another class."""
    images: Images = []
    for label in range(draw(st.integers(1, 5))):
        for place in range(draw(st.integers(1, 12))):
            kind = draw(st.sampled_from(("new", "new", "new", "copy", "shared")))
            name = {"new": f"{label}/{place}", "copy": f"{label}/0", "shared": f"shared {place % 5}"}[kind]
            images.append((hash_of(name), label))
    return draw(st.permutations(images))


fractions = st.just(0.0) | st.floats(0.001, 0.9)
seeds = st.integers(0, 2**32 - 1)


def divided(images: Images, seed: int, validation: float, test: float) -> dict[str, Part]:
    """Return the split of each content, having made sure that it is only one, and that no image is left out."""
    contents, targets = [content for content, _ in images], [target for _, target in images]
    parts = divide(contents, targets, seed=seed, validation=validation, test=test)
    assert list(parts) == list(PARTS)
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(len(images)))
    for where in parts.values():
        assert where.tolist() == sorted(where.tolist())
    found: dict[str, set[Part]] = {}
    for part, where in parts.items():
        for position in where.tolist():
            found.setdefault(contents[position], set()).add(part)
    assert all(len(sides) == 1 for sides in found.values())
    return {content: sides.pop() for content, sides in found.items()}


def held(sides: dict[str, Part], part: Part) -> set[str]:
    return {content for content, side in sides.items() if side == part}


def labels_of(images: Images) -> dict[str, frozenset[int]]:
    labels: dict[str, frozenset[int]] = {}
    for content, target in images:
        labels[content] = labels.get(content, frozenset()) | {target}
    return labels


def check_larger_contain_smaller(split: Callable[[float, float], dict[str, Part]], low: float, high: float) -> None:
    low, high = sorted((low, high))
    assert held(split(0.2, low), "test") <= held(split(0.2, high), "test")
    for test in (0.0, 0.3):
        assert held(split(low, test), "validation") <= held(split(high, test), "validation")


def check_every_class_is_held_out(images: Images, sides: dict[str, Part], validation: float, test: float) -> None:
    labels = labels_of(images)
    own = Counter(next(iter(label)) for label in labels.values() if len(label) == 1)
    wanted = ["train", *(["validation"] if validation else []), *(["test"] if test else [])]
    for target, different in own.items():
        there = {sides[content] for content, label in labels.items() if label == {target}}
        if different >= 3:
            assert there == set(wanted)
        elif validation or test:
            assert there <= set(wanted)
            # Of two images, one trains; the other one validates, or tests where nothing validates.
            assert different == 1 or there == {"train", "validation" if validation else "test"}
        if different == 1:
            assert there == {"train"}


def check_few_move(before: Images, after: Images, split: Callable[[Images], dict[str, Part]]) -> None:
    """Make sure that between two lists that one image tells apart, a class swaps at most one other image a split."""
    here, there = split(before), split(after)
    labels, later = labels_of(before), labels_of(after)
    changed = {content for content in labels.keys() | later.keys() if labels.get(content) != later.get(content)}
    assert len(changed) <= 1
    for part in ("test", "validation"):
        moved = (held(here, part) ^ held(there, part)) - changed
        assert all(count <= 1 for count in Counter(labels[content] for content in moved).values())


@many
@given(image_lists(), seeds, fractions, fractions)
def test_every_image_is_in_one_split_with_its_copies(images: Images, seed: int, validation: float, test: float) -> None:
    sides = divided(images, seed, validation, test)
    assert set(sides) == {content for content, _ in images}
    if not validation:
        assert not held(sides, "validation")
    if not test:
        assert not held(sides, "test")


@many
@given(image_lists(), seeds, fractions, fractions)
def test_every_class_of_three_different_images_is_in_every_split(
    images: Images, seed: int, validation: float, test: float
) -> None:
    check_every_class_is_held_out(images, divided(images, seed, validation, test), validation, test)


@many
@given(image_lists(), seeds, fractions, fractions)
def test_a_larger_fraction_contains_a_smaller_one(images: Images, seed: int, low: float, high: float) -> None:
    check_larger_contain_smaller(lambda validation, test: divided(images, seed, validation, test), low, high)


@many
@given(image_lists(), st.data(), seeds, fractions, fractions)
def test_an_image_more_or_less_moves_few_others(
    images: Images, data: st.DataObject, seed: int, validation: float, test: float
) -> None:
    place = data.draw(st.integers(0, len(images) - 1), label="place")
    fewer = images[:place] + images[place + 1 :]
    # Sooner or later, each content is a new one, one of the list, or one that several classes share.
    extra = data.draw(st.sampled_from([hash_of("another"), hash_of("shared 0"), images[place][0]]), label="content")
    more = [*images, (extra, data.draw(st.integers(0, 5), label="class"))]
    for other in (fewer, more):
        check_few_move(images, other, lambda which: divided(which, seed, validation, test))
        check_few_move(other, images, lambda which: divided(which, seed, validation, test))


@many
@given(image_lists(), st.randoms(use_true_random=False), seeds, fractions, fractions)
def test_the_order_of_the_images_and_the_numbers_of_the_classes_do_not_matter(
    images: Images, shuffler: random.Random, seed: int, validation: float, test: float
) -> None:
    sides = divided(images, seed, validation, test)
    shuffled = shuffler.sample(images, len(images))
    assert divided(shuffled, seed, validation, test) == sides
    numbers = shuffler.sample(range(9), 5)
    assert divided([(content, numbers[target]) for content, target in images], seed, validation, test) == sides


@many
@given(image_lists(), st.randoms(use_true_random=False), seeds, fractions, fractions)
def test_the_digest_depends_on_contents_and_their_splits_only(
    images: Images, shuffler: random.Random, seed: int, validation: float, test: float
) -> None:
    contents = [content for content, _ in images]
    parts = divide(contents, [target for _, target in images], seed=seed, validation=validation, test=test)
    digest = splits.digest(contents, parts)
    pairs = [(contents[position], part) for part, where in parts.items() for position in where.tolist()]
    assert digest_of(shuffler.sample(pairs, len(pairs))) == digest
    assert digest_of(set(pairs)) == digest
    assert digest_of([*pairs, pairs[0]]) == digest
    content, part = pairs[0]
    elsewhere: Part = "test" if part == "train" else "train"
    assert digest_of([(c, elsewhere if c == content else p) for c, p in pairs]) != digest
    assert digest_of([*pairs, (hash_of("another"), "train")]) != digest


def digest_of(pairs: Iterable[tuple[str, Part]]) -> str:
    listed = list(pairs)
    parts = {part: np.array([i for i, (_, p) in enumerate(listed) if p == part], np.int64) for part in PARTS}
    assert splits.digest_of_pairs(listed) == splits.digest([content for content, _ in listed], parts)
    return splits.digest_of_pairs(listed)


def test_another_seed_holds_out_other_images() -> None:
    images = [(hash_of(index), index % 2) for index in range(60)]
    tests = {frozenset(held(divided(images, seed, 0.2, 0.2), "test")) for seed in range(200)}
    assert len(tests) == 200
    assert all(len(test) == 12 for test in tests)
    # Each image is held out by about a fifth of the seeds.
    counts = Counter(content for test in tests for content in test)
    assert len(counts) == 60
    assert 15 < min(counts.values()) <= max(counts.values()) < 70


@pytest.mark.parametrize(
    ("images", "validation", "test", "sizes"),
    [
        (1, 0.2, 0.2, (1, 0, 0)),
        (2, 0.2, 0.2, (1, 1, 0)),
        (2, 0.0, 0.2, (1, 0, 1)),
        (2, 0.2, 0.0, (1, 1, 0)),
        (3, 0.2, 0.2, (1, 1, 1)),
        (3, 0.9, 0.9, (1, 1, 1)),
        (10, 0.2, 0.2, (6, 2, 2)),
        (10, 0.25, 0.2, (6, 2, 2)),
        (10, 0.0, 0.2, (8, 0, 2)),
        (10, 0.2, 0.0, (8, 2, 0)),
        (10, 0.9, 0.9, (1, 1, 8)),
        (100, 0.1, 0.3, (63, 7, 30)),
    ],
)
def test_the_sizes_of_the_splits_are_those_of_the_fractions(
    images: int, validation: float, test: float, sizes: tuple[int, int, int]
) -> None:
    sides = divided([(hash_of(index), 0) for index in range(images)], 0, validation, test)
    assert tuple(len(held(sides, part)) for part in PARTS) == sizes


def test_the_split_stays_what_it_was_in_earlier_versions() -> None:
    """What a card recorded must be found again: a change here makes test images of one version train in the next."""
    images = [(hash_of(index), index % 3) for index in range(30)]
    sides = divided(images, 7, 0.2, 0.2)
    places = {hash_of(index): index for index in range(30)}
    assert sorted(places[content] for content in held(sides, "test")) == [6, 8, 10, 23, 24, 28]
    assert sorted(places[content] for content in held(sides, "validation")) == [7, 12, 13, 20, 27, 29]


# The same through real image folders.


def load(folder: Path, **recipe: object) -> ImageData:
    return result_of(data_module.load(Recipe(data=str(folder), **recipe).data_options(), (1, 4, 4), only=()))


def sides_of(loaded: ImageData) -> dict[str, Part]:
    """Return the split of each file's content, having made sure that each file is in one split with its copies."""
    known = loaded.catalogue
    positions = [position for part in PARTS for position in known.parts[part].tolist()]
    assert sorted(positions) == list(range(len(known.origins)))
    sides: dict[str, Part] = {}
    for part in PARTS:
        for position in known.parts[part].tolist():
            assert sides.setdefault(known.contents[position], part) == part
    return sides


def images_of(folder: Path) -> Images:
    """Read the contents and classes of a folder's files as anybody would."""
    files = [(file.relative_to(folder).parts[0], file) for file in sorted(folder.rglob("*.pgm"))]
    labels = sorted({label for label, _ in files})
    return [(hashlib.sha256(file.read_bytes()).hexdigest(), labels.index(label)) for label, file in files]


@st.composite
def levels(draw: st.DrawFn) -> list[list[int]]:
    """Grey levels of the images of 2 to 4 classes; images of the same level are copies, and levels over 200 shared."""
    return [
        [
            draw(st.integers(10 * place, 10 * place + 9)) if draw(st.integers(0, 5)) else 200 + place % 2
            for place in range(draw(st.integers(1, 9)))
        ]
        + [label * 2 + 220] * draw(st.integers(0, 2))
        for label in range(draw(st.integers(2, 4)))
    ]


def write(folder: Path, of_classes: Sequence[Sequence[int]]) -> Path:
    for label, greys in enumerate(of_classes):
        (folder / f"class-{label}").mkdir(parents=True)
        for place, grey in enumerate(greys):
            # The class is in the width, so that only what is meant to be shared is the same in two classes.
            size = (4, 4) if grey in {200, 201} else (4 + label, 4)
            Image.new("L", size, grey).save(folder / f"class-{label}" / f"{place:02}.pgm")
    return folder


@settings(max_examples=max(10, EXAMPLES // 20), deadline=None, suppress_health_check=list(HealthCheck))
@given(levels(), st.integers(0, 3), st.sampled_from((0.1, 0.2, 0.5, 0.9)), st.sampled_from((0.0, 0.1, 0.3, 0.9)))
def test_folders_are_divided_by_the_bytes_of_their_files(
    of_classes: list[list[int]], seed: int, validation: float, test: float
) -> None:
    shares = {"split_seed": seed, "validation_fraction": validation, "test_fraction": test}
    with tempfile.TemporaryDirectory() as place:
        folder = write(Path(place) / "one", of_classes)
        images = images_of(folder)
        loaded = load(folder, **shares)
        sides = sides_of(loaded)
        assert sides == divided(images, seed, validation, test)
        check_every_class_is_held_out(images, sides, validation, test)
        assert loaded.catalogue.record.images == {part: len(loaded.catalogue.parts[part]) for part in PARTS}
        assert load(folder, **shares, seed=9).catalogue.record == loaded.catalogue.record
        larger = sides_of(load(folder, **{**shares, "test_fraction": 0.95}))
        assert held(sides, "test") <= held(larger, "test")

        # Other names and other places of the same files change nothing.
        other = Path(place) / "two"
        for number, file in enumerate(sorted(folder.rglob("*.pgm"), reverse=True)):
            there = other / file.parent.name / "deeper" / f"{number}.pgm"
            there.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, there)
        renamed = load(other, **shares)
        assert sides_of(renamed) == sides
        assert renamed.catalogue.record == loaded.catalogue.record

        # A copy more is where its original is, and the split is the same one.
        first = min(other.rglob("*.pgm"))
        shutil.copy(first, first.with_name("copy.pgm"))
        copied = load(other, **shares)
        assert sides_of(copied) == sides
        assert copied.catalogue.record.digest == loaded.catalogue.record.digest
        assert copied.catalogue.duplicates.copies == loaded.catalogue.duplicates.copies + 1

        # A new image moves few others.
        Image.new("L", (9, 9), 77).save(other / "class-0" / "new.pgm")
        more = images_of(other)
        assert sides_of(load(other, **shares)) == divided(more, seed, validation, test)
        check_few_move(images, more, lambda which: divided(which, seed, validation, test))


def test_a_folder_says_which_images_stand_in_it_more_than_once(tmp_path: Path) -> None:
    folder = write(tmp_path / "grey", [[10, 20, 30, 40, 50], [10, 20, 30, 40, 50]])
    shutil.copy(folder / "class-0" / "00.pgm", folder / "class-0" / "again.pgm")
    loaded = load(folder)
    assert loaded.catalogue.duplicates.copies == 1
    assert loaded.catalogue.duplicates.across_splits == loaded.catalogue.duplicates.across_classes == ()
    assert loaded.warnings == ("1 image is identical to another one of the same class and split",)
    shutil.copy(folder / "class-0" / "01.pgm", folder / "class-1" / "wrong.pgm")
    loaded = load(folder)
    assert loaded.catalogue.duplicates.copies == 1
    assert loaded.catalogue.duplicates.across_classes == (("class-0/01.pgm", "class-1/wrong.pgm"),)
    assert loaded.catalogue.duplicates.across_splits == ()
    warning, copies = loaded.warnings
    assert copies == "1 image is identical to another one of the same class and split"
    assert "1 identical image stands in more than one class" in warning
    assert "class-0/01.pgm = class-1/wrong.pgm" in warning


def test_copies_in_the_test_folder_of_a_data_set_are_told(tmp_path: Path) -> None:
    write(tmp_path / "set" / "train", [[10, 20, 30, 40], [10, 20, 30, 40]])
    write(tmp_path / "set" / "test", [[10, 25], [15, 25]])
    loaded = load(tmp_path / "set")
    assert loaded.catalogue.record.given == ("test",)
    assert loaded.catalogue.duplicates.across_splits == (("train/class-0/00.pgm", "test/class-0/00.pgm"),)
    (warning,) = loaded.warnings
    assert warning.startswith("1 identical image stands in more than one split, which makes results look better")

"""Image folders: which files belong to which split, and the folders that are no good."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnnkit.errors import DataError
from cnnkit.files import sha256
from cnnkit.training import folders


def listing(folder: Path, *, seed: int = 0, validation: float = 0.2, test: float = 0.2) -> folders.Listing:
    return folders.list_folder(folder, validation_fraction=validation, test_fraction=test, seed=seed)


def names(listed: folders.Listing, split: str) -> set[str]:
    return {name for name, _ in listed.splits[split]}


def image(path: Path, level: int = 90) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((10, 12, 3), level, np.uint8)).save(path)


def test_class_folders_are_split_without_loss(photos: Path) -> None:
    listed = listing(photos)
    parts = [names(listed, split) for split in ("train", "validation", "test")]
    assert [len(part) for part in parts] == [12, 4, 4]
    assert set.union(*parts) == {f"{name}/{index:02}.png" for name in ("dark", "light") for index in range(10)}
    assert listed.classes == ("dark", "light")
    for pairs in listed.splits.values():
        assert all(listed.classes[target] == name.partition("/")[0] for name, target in pairs)


def test_each_class_gets_its_share_of_each_split(photos: Path) -> None:
    listed = listing(photos, validation=0.5, test=0.3)
    counts = {s: [sum(t == c for _, t in pairs) for c in (0, 1)] for s, pairs in listed.splits.items()}
    # The validation share is one of what the test split leaves: half of 7.
    assert counts == {"test": [3, 3], "validation": [4, 4], "train": [3, 3]}


def test_the_split_depends_on_the_seed_and_not_on_where_the_folder_is(photos: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(photos, tmp_path / "elsewhere" / "pictures"))
    for split in ("train", "validation", "test"):
        assert names(listing(photos, seed=5), split) == names(listing(moved, seed=5), split)
    assert names(listing(photos, seed=5), "test") != names(listing(photos, seed=6), "test")


def test_another_image_moves_no_other_one_into_the_test_split(own_photos: Path) -> None:
    before = names(listing(own_photos), "test")
    image(own_photos / "dark" / "more.png")
    after = names(listing(own_photos), "test")
    assert len(before - after) <= 1


def test_a_moved_folder_is_recognised_and_a_changed_one_is_not(photos: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(photos, tmp_path / "moved"))
    assert listing(moved).fingerprint == listing(photos).fingerprint
    assert listing(moved, seed=9, test=0.4).fingerprint == listing(photos).fingerprint
    (moved / "dark" / "00.png").rename(moved / "dark" / "zero.png")
    assert listing(moved).fingerprint != listing(photos).fingerprint


@pytest.fixture
def split_folder(photos: Path, tmp_path: Path) -> Path:
    """`DIR/train` with 10 images a class, `DIR/test` with 3."""
    shutil.copytree(photos, tmp_path / "set" / "train")
    for name in ("dark", "light"):
        for index in range(3):
            image(tmp_path / "set" / "test" / name / f"{index}.png")
    return tmp_path / "set"


def test_a_test_folder_is_the_test_split(split_folder: Path) -> None:
    listed = listing(split_folder)
    assert {split: len(pairs) for split, pairs in listed.splits.items()} == {"train": 16, "validation": 4, "test": 6}
    assert all(name.startswith("test/") for name in names(listed, "test"))
    assert all(name.startswith("train/") for name in names(listed, "validation"))


@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_a_validation_folder_is_the_validation_split(name: str, split_folder: Path) -> None:
    shutil.copytree(split_folder / "test", split_folder / name)
    listed = listing(split_folder)
    assert {split: len(pairs) for split, pairs in listed.splits.items()} == {"train": 20, "validation": 6, "test": 6}
    assert all(file.startswith(f"{name}/") for file in names(listed, "validation"))


def test_a_train_folder_alone_gives_all_three(split_folder: Path) -> None:
    shutil.rmtree(split_folder / "test")
    listed = listing(split_folder)
    assert {split: len(pairs) for split, pairs in listed.splits.items()} == {"train": 12, "validation": 4, "test": 4}


def test_nested_files_belong_to_the_class_above(own_photos: Path) -> None:
    image(own_photos / "dark" / "2024" / "may" / "deep.JPG")
    found = [p for pairs in listing(own_photos).splits.values() for p, target in pairs if target == 0]
    assert "dark/2024/may/deep.JPG" in found
    assert len(found) == 11


def test_hidden_files_folders_and_other_files_do_not_count(own_photos: Path) -> None:
    expected = listing(own_photos)
    image(own_photos / ".cache" / "a.png")
    image(own_photos / "dark" / "._00.png")
    (own_photos / "dark" / "notes.txt").write_text("not an image")
    (own_photos / "readme.png").write_bytes(b"beside the classes")
    assert listing(own_photos) == expected


def empty_class(folder: Path) -> None:
    (folder / "empty").mkdir()


def only_text(folder: Path) -> None:
    empty_class(folder)
    (folder / "empty" / "a.txt").write_text("a")


def one_class(folder: Path) -> None:
    shutil.rmtree(folder / "light")


def no_class(folder: Path) -> None:
    one_class(folder)
    shutil.rmtree(folder / "dark")


def too_few(folder: Path) -> None:
    for path in sorted((folder / "dark").iterdir())[2:]:
        path.unlink()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (empty_class, r"the class folder .*photos.empty has no images \(.*\.png"),
        (only_text, "the class folder .*photos.empty has no images"),
        (one_class, "photos has 1 class folder; expected at least two"),
        (no_class, "photos has 0 class folders"),
        (too_few, "photos.dark has 2 images; at least 3 are needed so that test and validation get one"),
        (shutil.rmtree, "there is no image folder .*photos"),
    ],
)
def test_a_folder_that_is_no_good_is_named(spoil: Callable[[Path], None], message: str, own_photos: Path) -> None:
    spoil(own_photos)
    with pytest.raises(DataError, match=message):
        listing(own_photos)


@pytest.mark.parametrize(
    "share",
    [
        0.2,
        0.01,
        0.9,
    ],
)
def test_three_images_a_class_are_enough(share: float, tmp_path: Path) -> None:
    for name in ("a", "b"):
        for index in range(3):
            image(tmp_path / name / f"{index}.png")
    listed = listing(tmp_path, validation=share, test=share)
    assert {split: len(pairs) for split, pairs in listed.splits.items()} == {"train": 2, "validation": 2, "test": 2}


def test_other_classes_in_the_test_folder_are_refused(split_folder: Path) -> None:
    (split_folder / "test" / "dark").rename(split_folder / "test" / "dusk")
    with pytest.raises(DataError, match=r"test has the classes dusk, light, .*train has dark, light"):
        listing(split_folder)


def test_links_to_files_count_and_links_to_folders_or_to_nothing_do_not(own_photos: Path, tmp_path: Path) -> None:
    expected = set(listing(own_photos).files)
    image(tmp_path / "elsewhere" / "more.png")
    (own_photos / "dark" / "file.png").symlink_to(tmp_path / "elsewhere" / "more.png")
    (own_photos / "dark" / "folder").symlink_to(tmp_path / "elsewhere")
    (own_photos / "dark" / "folder.png").symlink_to(tmp_path / "elsewhere")
    (own_photos / "dark" / "nothing.png").symlink_to(tmp_path / "gone.png")
    assert set(listing(own_photos).files) - expected == {"dark/file.png"}


def test_files_are_sorted_folder_by_folder_and_have_their_stats(own_photos: Path) -> None:
    for name in ("a.png", "a b.png", "a/1.png"):
        image(own_photos / "dark" / name)
    files = listing(own_photos).files
    assert list(files)[10:13] == ["dark/a/1.png", "dark/a b.png", "dark/a.png"]
    assert list(files) == sorted(files, key=lambda name: name.split("/"))
    status = (own_photos / "dark" / "a.png").stat()
    assert files["dark/a.png"] == (status.st_size, status.st_mtime_ns)


def test_the_fingerprint_is_of_names_and_sizes(photos: Path) -> None:
    lines = [f"{path.relative_to(photos).as_posix()} {path.stat().st_size}" for path in sorted(photos.rglob("*.png"))]
    assert listing(photos).fingerprint == sha256("\n".join(lines).encode())


@pytest.mark.skipif(sys.platform != "linux", reason="other systems want names that are text")
def test_names_need_not_be_text(own_photos: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    image(own_photos / "dark" / name)
    assert f"dark/{name}" in listing(own_photos).files

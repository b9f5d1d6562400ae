"""The cache of decoded image folders: when it is used, when it is made again, and what becomes of it in trouble."""

import json
import multiprocessing
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from cnnkit import api
from cnnkit.errors import DataError
from cnnkit.folders import read_folder
from cnnkit.images import Preprocessing, prepare
from cnnkit.pictures import Pixels
from cnnkit.render import progress
from cnnkit.results import LoadNote, LoadProgress, result_of
from cnnkit.training import cache, decoding

FORM = Preprocessing(3, 10, 12, (0.0,) * 3, (1.0,) * 3)
OTHER = Preprocessing(1, 8, 8, (0.0,), (1.0,))
DONE = LoadProgress("images", 20, 20)
Steps = Generator[LoadProgress | LoadNote, None, Pixels]


def steps(folder: Path, form: Preprocessing = FORM) -> Steps:
    found = read_folder(folder)
    return (yield from cache.load(found.folder, found.files, form)).images


def finish(running: Steps) -> tuple[list[LoadProgress | LoadNote], Pixels]:
    """Return what a load says last of each kind, and its images; reading on from where it stands."""
    said: dict[object, LoadProgress | LoadNote] = {}
    try:
        while True:
            step = next(running)
            said[step if isinstance(step, LoadNote) else LoadProgress] = step
    except StopIteration as stop:
        return list(said.values()), stop.value


def load(folder: Path, form: Preprocessing = FORM) -> tuple[list[LoadProgress | LoadNote], Pixels]:
    return finish(steps(folder, form))


def expected(folder: Path, form: Preprocessing = FORM) -> Pixels:
    return np.stack([prepare(path, form).pixels for path in sorted(folder.rglob("*.p?[gm]"))])


def age(folder: Path) -> None:
    """Let every image be an hour old, so that its stat is believed."""
    for path in folder.rglob("*.p?[gm]"):
        os.utime(path, (time.time() - 3600,) * 2)


def arrays(user_cache: Path) -> set[str]:
    return {path.name for path in (user_cache / "images").glob("*.npy")}


@pytest.fixture
def dots(tmp_path: Path) -> Path:
    """Like `photos`, but files in which a pixel may change and the size does not."""
    for label, level in (("dark", 50), ("light", 200)):
        (tmp_path / "dots" / label).mkdir(parents=True)
        for index in range(10):
            pixels = np.full((10, 12, 3), level + index, np.uint8)
            Image.fromarray(pixels).save(tmp_path / "dots" / label / f"{index}.ppm")
    return tmp_path / "dots"


def test_the_first_load_decodes_every_file_in_order_and_the_second_none(photos: Path) -> None:
    said, images = load(photos)
    assert said == [DONE]
    np.testing.assert_array_equal(images, expected(photos))
    said, again = load(photos)
    assert said == []
    np.testing.assert_array_equal(again, images)
    assert isinstance(again, np.memmap)


def test_files_that_look_as_before_are_not_read_again(dots: Path, user_cache: Path) -> None:
    age(dots)
    images = expected(dots)
    result_of(steps(dots))
    written = {path: path.stat().st_mtime_ns for path in (user_cache / "images").iterdir()}
    for path in dots.rglob("*.ppm"):
        status = path.stat()
        path.write_bytes(bytes(status.st_size))
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    said, again = load(dots)
    assert said == []
    np.testing.assert_array_equal(again, images)
    assert {path: path.stat().st_mtime_ns for path in (user_cache / "images").iterdir()} == written


def touched(folder: Path) -> Path:
    for path in folder.rglob("*.png"):
        path.touch()
    return folder


def copied(folder: Path) -> Path:
    return Path(shutil.copytree(folder, folder.with_name("copy")))


def moved(folder: Path) -> Path:
    return folder.rename(folder.with_name("moved"))


@pytest.mark.parametrize("change", [touched, copied, moved])
def test_the_same_content_is_not_decoded_again(change: Callable[[Path], Path], own_photos: Path) -> None:
    age(own_photos)
    images = expected(own_photos)
    result_of(steps(own_photos))
    same = change(own_photos)
    for said, again in (load(same), load(same)):
        assert said == []
        np.testing.assert_array_equal(again, images)


def test_another_seed_finds_what_was_cached(photos: Path) -> None:
    result_of(steps(photos))
    assert load(photos, seed=5)[0] == []


def test_each_form_is_cached_and_mean_and_deviation_are_no_part_of_it(photos: Path, user_cache: Path) -> None:
    result_of(steps(photos))
    said, other = load(photos, OTHER)
    assert said == [DONE]
    np.testing.assert_array_equal(other, expected(photos, OTHER))
    assert len(arrays(user_cache)) == 2
    standard = Preprocessing(3, 10, 12, (0.25,) * 3, (0.5,) * 3)
    assert load(photos, standard)[0] == load(photos, OTHER)[0] == []


def edit(folder: Path) -> None:
    """Change a pixel, and with it neither the size of the file nor, as far as clocks can tell, its time."""
    path = folder / "dark" / "3.ppm"
    status = path.stat()
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 255]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def edit_later(folder: Path) -> None:
    edit(folder)
    (folder / "dark" / "3.ppm").touch()


def add(folder: Path) -> None:
    shutil.copy(folder / "dark" / "3.ppm", folder / "dark" / "more.ppm")


def remove(folder: Path) -> None:
    (folder / "light" / "0.ppm").unlink()


def rename(folder: Path) -> None:
    (folder / "light" / "0.ppm").rename(folder / "dark" / "00.ppm")


@pytest.mark.parametrize(
    ("change", "aged"), [(edit, False), (edit_later, True), (add, True), (remove, True), (rename, True)]
)
def test_a_change_is_noticed_and_what_it_made_useless_removed(
    change: Callable[[Path], None], aged: bool, dots: Path, user_cache: Path
) -> None:
    if aged:
        age(dots)
    before = load(dots)[1]
    result_of(steps(dots, OTHER))
    useless = arrays(user_cache)
    change(dots)
    (note, progress), images = load(dots)
    assert note == LoadNote(f"the images of {dots} changed since they were cached, so they are decoded again")
    assert progress == LoadProgress("images", len(images), len(images))
    np.testing.assert_array_equal(images, expected(dots))
    assert images.tobytes() != before.tobytes()
    assert len(arrays(user_cache)) == 1
    assert not arrays(user_cache) & useless
    assert load(dots)[0] == []


def test_a_form_that_was_not_cached_before_the_change_needs_no_note(dots: Path) -> None:
    result_of(steps(dots))
    edit_later(dots)
    assert load(dots, OTHER)[0] == [DONE]


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(path.read_bytes() + b"\0"),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(bytes(path.stat().st_size)),
        lambda path: np.save(path, np.zeros((20, 12, 10, 3), np.uint8)),
        lambda path: np.save(path, np.zeros((20, 10, 12, 3), np.int8)),
    ],
    ids=["cut", "longer", "empty", "zeros", "shape", "dtype"],
)
def test_a_damaged_array_is_made_again(damage: Callable[[Path], object], photos: Path, user_cache: Path) -> None:
    result_of(steps(photos))
    (name,) = arrays(user_cache)
    damage(user_cache / "images" / name)
    said, images = load(photos)
    assert said == [LoadNote(f"the cached images of {photos} are damaged, so they are decoded again"), DONE]
    np.testing.assert_array_equal(images, expected(photos))
    assert load(photos)[0] == []


def without(key: str) -> Callable[[bytes], bytes]:
    return lambda content: json.dumps({k: v for k, v in json.loads(content).items() if k != key}).encode()


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-9],
        lambda _: b"",
        lambda _: b"\xff\x00 noise",
        lambda _: b"[]",
        lambda content: content.replace(b'"names": ["dark/0', b'"names": ["more", "dark/0'),
        lambda content: content.replace(b'"names": ["dark/0', b'"names": [["dark/0"], "dark/0').replace(
            b'"sizes": [', b'"sizes": [0, '
        ),
        *map(without, ("content", "forms", "names", "digests", "sizes")),
    ],
)
def test_a_damaged_index_is_made_again_without_decoding(
    damage: Callable[[bytes], bytes], dots: Path, user_cache: Path
) -> None:
    age(dots)
    images = load(dots)[1]
    (path,) = (user_cache / "images").glob("*.json")
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    assert path.read_bytes() != whole
    said, again = load(dots)
    assert said == [LoadNote(f"the index of the cached images of {dots} is damaged, so it is made again")]
    np.testing.assert_array_equal(again, images)
    assert path.read_bytes() == whole
    assert load(dots)[0] == []


def in_memory(folder: Path, user_cache: Path, reason: str) -> LoadNote:
    return LoadNote(
        f"the images of {folder} cannot be cached in {user_cache / 'images'} ({reason}), so they are kept in memory "
        "for this run"
    )


def test_images_that_cannot_be_cached_are_kept_in_memory(photos: Path, user_cache: Path) -> None:
    user_cache.parent.mkdir()
    user_cache.write_text("a file, where a folder should be")
    said, images = load(photos)
    assert said == [in_memory(photos, user_cache, "Not a directory"), DONE]
    assert not isinstance(images, np.memmap)
    np.testing.assert_array_equal(images, expected(photos))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit of that kind")
def test_a_disk_that_is_full_in_the_middle_is_no_disaster(photos: Path, user_cache: Path) -> None:
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))
    try:
        said, images = load(photos)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert in_memory(photos, user_cache, "File too large") in said
    np.testing.assert_array_equal(images, expected(photos))
    assert list((user_cache / "images").iterdir()) == []
    assert load(photos)[0] == [DONE]


def test_too_little_room_is_known_before_anything_is_decoded(
    photos: Path, user_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(9999, 9000, 999))
    assert next(steps(photos)) == in_memory(photos, user_cache, "No space left on device")


def test_too_much_for_the_disk_and_for_memory_is_an_error(
    photos: Path, user_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "fits_in_memory", lambda _: False)
    user_cache.parent.mkdir()
    user_cache.touch()
    with pytest.raises(DataError, match=r"take 0\.0 GB, too much for memory, and cannot be cached in .*images: Not a"):
        load(photos)


def test_what_fits_in_memory_leaves_as_much_to_others() -> None:
    assert cache.fits_in_memory(1)
    assert not cache.fits_in_memory(psutil.virtual_memory().total)


def test_files_that_are_no_images_are_named_and_nothing_is_cached(own_photos: Path, user_cache: Path) -> None:
    (own_photos / "dark" / "03.png").write_text("not an image")
    whole = (own_photos / "light" / "04.png").read_bytes()
    (own_photos / "light" / "04.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="2 of 20 files cannot be used") as caught:
        load(own_photos)
    for path in (own_photos / "dark" / "03.png", own_photos / "light" / "04.png"):
        assert str(path) in str(caught.value)
    assert list((user_cache / "images").iterdir()) == []


def test_of_many_bad_files_five_are_named(tmp_path: Path) -> None:
    gone = Listing(
        tmp_path, ("a", "b"), {f"a/{index}.png": (1, 1) for index in range(8)}, {}, "", has_test_folder=False
    )
    with pytest.raises(DataError, match="8 of 8") as caught:
        result_of(cache.load(gone, FORM))
    assert str(caught.value).count("cannot read") == 5


def test_a_file_that_changes_meanwhile_is_named(own_photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "_CHUNK", 5)
    running = steps(own_photos)
    assert next(running) == LoadProgress("images", 5, 20)
    (own_photos / "light" / "09.png").write_bytes((own_photos / "light" / "08.png").read_bytes())
    with pytest.raises(DataError, match=r"1 of 20 files cannot be used: .*09\.png changed while it was read"):
        finish(running)


@pytest.mark.parametrize("stop", [GeneratorExit, KeyboardInterrupt])
def test_a_load_that_is_stopped_leaves_nothing_behind(
    stop: type[BaseException], photos: Path, user_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "_CHUNK", 5)
    running = steps(photos)
    next(running)
    assert len(list((user_cache / "images").iterdir())) == 1
    with pytest.raises(stop):
        running.throw(stop())
    assert list((user_cache / "images").iterdir()) == []


def test_what_killed_processes_left_is_removed_after_a_day(photos: Path, user_cache: Path) -> None:
    (user_cache / "images").mkdir(parents=True)
    old, young = (user_cache / "images" / f".cnnkit.{name}.tmp" for name in ("old", "young"))
    for path, days in ((old, 1.01), (young, 0.99)):
        path.touch()
        os.utime(path, (time.time() - days * 86400,) * 2)
    load(photos)
    assert (old.exists(), young.exists()) == (False, True)


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take worker processes even for a few small files."""
    monkeypatch.setattr(decoding, "_FEW_FILES", 0)


# From Python 3.12 on, a process with threads, of whatever library, is told that it had better not fork.
forked = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


@forked
@pytest.mark.usefixtures("workers")
def test_worker_processes_decode_the_same(photos: Path) -> None:
    random = torch.get_rng_state()
    said, images = load(photos)
    assert said == [DONE]
    np.testing.assert_array_equal(images, expected(photos))
    assert torch.equal(torch.get_rng_state(), random)


@forked
@pytest.mark.usefixtures("workers")
def test_worker_processes_name_the_files_that_are_no_images(own_photos: Path) -> None:
    for name in ("dark/00.png", "light/09.png"):
        (own_photos / name).write_text("not an image")
    with pytest.raises(DataError, match=r"2 of 20 files cannot be used: .*dark.00\.png .*light.09\.png"):
        load(own_photos)


@forked
@pytest.mark.usefixtures("workers")
def test_worker_processes_end_with_a_load_that_is_stopped(photos: Path, user_cache: Path) -> None:
    before = set(psutil.Process().children())
    running = steps(photos)
    next(running)
    assert set(psutil.Process().children()) - before
    running.close()
    assert set(psutil.Process().children()) <= before
    assert list((user_cache / "images").iterdir()) == []


@pytest.mark.parametrize(("chunk_bytes", "size"), [(9999, 5), (3 * 360, 3), (1, 1)])
def test_large_images_are_decoded_few_at_a_time(
    chunk_bytes: int, size: int, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "_CHUNK_BYTES", chunk_bytes)
    assert next(steps(photos)) == LoadProgress("images", size, 20)


def test_two_loads_at_once_both_end_well(photos: Path, user_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "_CHUNK", 5)
    one, two = steps(photos), steps(photos)
    assert next(one) == next(two) == LoadProgress("images", 5, 20)
    for running in (one, two):
        said, images = finish(running)
        assert said == [DONE]
        np.testing.assert_array_equal(images, expected(photos))
    assert len(list((user_cache / "images").iterdir())) == 2


def check(folder: Path) -> None:
    np.testing.assert_array_equal(load(folder)[1], expected(folder))


@forked
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere processes do not start at once")
def test_two_processes_at_once_both_end_well(photos: Path, user_cache: Path) -> None:
    both = [multiprocessing.get_context("fork").Process(target=check, args=(photos,)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    assert len(list((user_cache / "images").iterdir())) == 2
    assert load(photos)[0] == []


@pytest.mark.skipif(sys.platform != "linux", reason="other systems want names that are text")
def test_names_need_not_be_text(own_photos: Path) -> None:
    (own_photos / "dark" / "03.png").rename(own_photos / "dark" / os.fsdecode(b"caf\xe9.png"))
    age(own_photos)
    assert [load(own_photos)[0] for _ in range(2)] == [[DONE], []]


@pytest.mark.parametrize("terminal", [False, True])
def test_what_is_noted_is_told_on_standard_error(
    terminal: bool, photos: Path, user_cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if terminal:
        monkeypatch.setenv("TTY_COMPATIBLE", "1")
    user_cache.parent.mkdir()
    user_cache.touch()
    np.testing.assert_array_equal(progress.follow(steps(photos), "loading"), expected(photos))
    out, err = capsys.readouterr()
    assert out == ""
    # Where a terminal's lines end, and with them their colour, the length of the path decides.
    said = " ".join(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", err).split())
    assert "(Not a directory), so they are kept in memory for this run." in said


def test_an_export_takes_a_few_images_without_caching_all(photos_run: Path, tmp_path: Path, user_cache: Path) -> None:
    result = api.export(photos_run, tmp_path / "model.onnx")
    assert result.certificate.images == "4 images of photos"
    assert not user_cache.exists()

"""The cache of decoded image folders: when it is used, when it is made again, and what becomes of it in trouble."""

import json
import multiprocessing
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL
import psutil
import pytest
import torch
from PIL import Image

import cnnkit
from cnnkit.data import arrays as stored_arrays
from cnnkit.data import cache, decoding
from cnnkit.data import loaded as data
from cnnkit.data.cache import Stored
from cnnkit.data.folders import image_folder
from cnnkit.errors import DataError, ImageError, UsageError
from cnnkit.images import Preprocessing, prepare
from cnnkit.operation import result_of
from cnnkit.pictures import Pixels
from cnnkit.progress import LoadProgress, Notice
from cnnkit.recipe import Recipe
from cnnkit.render import progress
from tests.expecting import expect_error

FORM = Preprocessing(3, 10, 12, (0.0,) * 3, (1.0,) * 3)
OTHER = Preprocessing(1, 8, 8, (0.0,), (1.0,))
DONE = LoadProgress("images", 20, 20)
Steps = Generator[LoadProgress | Notice, None, Pixels]


def steps(folder: Path, form: Preprocessing = FORM) -> Steps:
    found = image_folder(folder).open()
    return (yield from cache.load(found.root, found.stats, form)).images


def finish(running: Steps) -> tuple[list[LoadProgress | Notice], Pixels]:
    """Return what a load says last of each kind, and its images; reading on from where it stands."""
    said: dict[object, LoadProgress | Notice] = {}
    try:
        while True:
            step = next(running)
            said[step if isinstance(step, Notice) else LoadProgress] = step
    except StopIteration as stop:
        return list(said.values()), stop.value


def stored(folder: Path, form: Preprocessing = FORM) -> Stored:
    """Load a folder with all that was found."""
    found = image_folder(folder).open()
    return result_of(cache.load(found.root, found.stats, form))


def load(folder: Path, form: Preprocessing = FORM) -> tuple[list[LoadProgress | Notice], Pixels]:
    return finish(steps(folder, form))


def expected(folder: Path, form: Preprocessing = FORM) -> Pixels:
    return np.stack([prepare(path, form).pixels for path in sorted(folder.rglob("*.p?[gm]"))])


def age(folder: Path) -> None:
    """Let every image be an hour old, so that its stat is believed."""
    for path in folder.rglob("*.p?[gm]"):
        os.utime(path, (time.time() - 3600,) * 2)


def arrays(user_cache: Path) -> set[str]:
    return {path.name for path in (user_cache / "images").glob("*.npy")}


def index_of(user_cache: Path) -> Path:
    """Return the index of the only folder that is cached; the other JSON files say what was found in an array."""
    (path,) = (path for path in (user_cache / "images").glob("*.json") if not path.with_suffix(".npy").is_file())
    return path


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
    written = {path: path.read_bytes() for path in (user_cache / "images").iterdir()}
    index_time = index_of(user_cache).stat().st_mtime_ns
    for path in dots.rglob("*.ppm"):
        status = path.stat()
        path.write_bytes(bytes(status.st_size))
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    said, again = load(dots)
    assert said == []
    np.testing.assert_array_equal(again, images)
    assert {path: path.read_bytes() for path in (user_cache / "images").iterdir()} == written
    assert index_of(user_cache).stat().st_mtime_ns == index_time


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
    assert note == Notice(f"the images of {dots} changed since they were cached, so they are decoded again")
    assert progress == LoadProgress("images", len(images), len(images))
    np.testing.assert_array_equal(images, expected(dots))
    assert images.tobytes() != before.tobytes()
    assert len(arrays(user_cache)) == 1
    assert not arrays(user_cache) & useless
    assert load(dots)[0] == []


def test_a_change_is_told_whichever_form_is_asked_for_and_no_older_array_stays(dots: Path, user_cache: Path) -> None:
    result_of(steps(dots))
    edit_later(dots)
    said, images = load(dots, OTHER)
    assert said == [Notice(f"the images of {dots} changed since they were cached, so they are decoded again"), DONE]
    np.testing.assert_array_equal(images, expected(dots, OTHER))
    assert len(arrays(user_cache)) == 1


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
    assert said == [Notice(f"the cached images of {photos} are damaged, so they are decoded again"), DONE]
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
        *map(without, ("content", "names", "digests", "sizes", "times")),
    ],
)
def test_a_damaged_index_is_made_again_without_decoding(
    damage: Callable[[bytes], bytes], dots: Path, user_cache: Path
) -> None:
    age(dots)
    images = load(dots)[1]
    path = index_of(user_cache)
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    assert path.read_bytes() != whole
    said, again = load(dots)
    assert said == [Notice(f"the index of the cached images of {dots} is damaged, so it is made again")]
    np.testing.assert_array_equal(again, images)
    assert path.read_bytes() == whole
    assert load(dots)[0] == []


def in_memory(folder: Path, user_cache: Path, reason: str) -> Notice:
    return Notice(
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
    Usage = type(shutil.disk_usage(photos))  # noqa: N806
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(9999, 9000, 999))
    assert next(steps(photos)) == in_memory(photos, user_cache, "No space left on device")


def test_too_much_for_the_disk_and_for_memory_is_an_error(
    photos: Path, user_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_arrays, "fits_in_memory", lambda _: False)
    user_cache.parent.mkdir()
    user_cache.touch()
    with expect_error(DataError, "0.0 GB", "images"):
        load(photos)


def test_what_fits_in_memory_leaves_as_much_to_others() -> None:
    assert stored_arrays.fits_in_memory(1)
    assert not stored_arrays.fits_in_memory(psutil.virtual_memory().total)


def spoil(folder: Path) -> dict[str, str]:
    """Damage two images, and return what is wrong with them."""
    (folder / "dark" / "03.png").write_text("not an image")
    whole = (folder / "light" / "04.png").read_bytes()
    (folder / "light" / "04.png").write_bytes(whole[: len(whole) // 2])
    problems = {}
    for name in ("dark/03.png", "light/04.png"):
        with pytest.raises(ImageError) as caught:
            prepare(folder / name, FORM)
        problems[name] = str(caught.value)
    return problems


def test_damaged_files_are_black_and_told_without_stopping_the_others(own_photos: Path) -> None:
    problems = spoil(own_photos)
    for _ in range(2):
        found = stored(own_photos)
        assert found.facts.damaged == problems
        assert list(found.digests) == [
            path.relative_to(own_photos).as_posix() for path in sorted(own_photos.rglob("*.png"))
        ]
        for name, pixels in zip(found.digests, found.images, strict=True):
            whole = np.zeros(FORM.shape, np.uint8) if name in problems else prepare(own_photos / name, FORM).pixels
            np.testing.assert_array_equal(pixels, whole)


def test_damaged_files_are_not_decoded_again_until_they_change(own_photos: Path) -> None:
    problems = spoil(own_photos)
    assert load(own_photos)[0] == [DONE]
    assert load(own_photos)[0] == []
    shutil.copy(own_photos / "dark" / "00.png", own_photos / "dark" / "03.png")
    assert load(own_photos)[0][-1] == DONE
    del problems["dark/03.png"]
    assert stored(own_photos).facts.damaged == problems


def test_a_file_that_is_gone_is_a_damaged_one(own_photos: Path) -> None:
    found = image_folder(own_photos).open()
    (own_photos / "light" / "09.png").unlink()
    damaged = result_of(cache.load(found.root, found.stats, FORM)).facts.damaged
    assert list(damaged) == ["light/09.png"]
    assert "09.png" in damaged["light/09.png"]


def test_a_file_that_changes_meanwhile_is_named(own_photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "_CHUNK", 5)
    running = steps(own_photos)
    assert next(running) == LoadProgress("images", 5, 20)
    (own_photos / "light" / "09.png").write_bytes((own_photos / "light" / "08.png").read_bytes())
    with expect_error(DataError, "photos/light/09.png"):
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
    problems = spoil(own_photos)
    assert stored(own_photos).facts.damaged == problems


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
    assert len(arrays(user_cache)) == 1
    assert len(list((user_cache / "images").iterdir())) == 3


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
    assert len(arrays(user_cache)) == 1
    assert len(list((user_cache / "images").iterdir())) == 3
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
    result = cnnkit.export(photos_run, tmp_path / "model.onnx")
    assert result.certificate.images == "10 images of photos"
    assert not arrays(user_cache)


# What the cache depends on, and how much of it is kept.


@pytest.fixture
def decoder(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Forget, before and after the test, which code and which Pillow decode images."""
    stored_arrays.decoder.cache_clear()
    yield
    monkeypatch.undo()
    stored_arrays.decoder.cache_clear()


@pytest.mark.usefixtures("decoder")
def test_another_pillow_decodes_again_and_removes_what_the_older_one_decoded(
    photos: Path, user_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = load(photos)[1]
    result_of(steps(photos, OTHER))
    before = arrays(user_cache)
    monkeypatch.setattr(PIL, "__version__", "99.0.0")
    assert load(photos)[0] == []  # this process goes on with what it knows
    stored_arrays.decoder.cache_clear()
    said, again = load(photos)
    assert said == [DONE]
    np.testing.assert_array_equal(again, images)
    assert len(arrays(user_cache)) == 1
    assert not arrays(user_cache) & before
    assert load(photos)[0] == []
    # An array leaves with what was found in it.
    assert len(list((user_cache / "images").iterdir())) == 3


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-3]),
        lambda path: path.write_text("[]"),
        lambda path: path.write_text('{"facts": {}}'),
        lambda path: path.write_text('{"facts": {"value_range": [1]}}'),
        lambda path: path.write_text('{"facts": {"value_range": null, "surprise": 1}}'),
    ],
    ids=["gone", "empty", "cut", "list", "without", "half a range", "a field more"],
)
def test_an_array_without_whole_facts_is_decoded_again(
    damage: Callable[[Path], object], own_photos: Path, user_cache: Path
) -> None:
    problems = spoil(own_photos)
    result_of(steps(own_photos))
    (name,) = arrays(user_cache)
    facts = (user_cache / "images" / name).with_suffix(".json")
    whole = facts.read_bytes()
    damage(facts)
    said, _ = load(own_photos)
    assert said == [Notice(f"the cached images of {own_photos} are damaged, so they are decoded again"), DONE]
    assert facts.read_bytes() == whole
    assert load(own_photos)[0] == []
    assert stored(own_photos).facts.damaged == problems


SIZE = 20 * 10 * 12 * 3
"""Bytes of the images of `photos` in FORM, without the header of their array."""


def folders(tmp_path: Path, photos: Path, count: int) -> list[Path]:
    """Make folders of the same size and of different images."""
    made = [Path(shutil.copytree(photos, tmp_path / f"photos-{index}")) for index in range(count)]
    for index, folder in enumerate(made):
        Image.new("RGB", (12, 10), (index, 0, 0)).save(folder / "dark" / "00.png")
    return made


def used_at(user_cache: Path, moment: float) -> None:
    """Let all arrays be used last at a moment, in seconds before now."""
    for path in (user_cache / "images").glob("*.npy"):
        os.utime(path, (time.time() - moment,) * 2)


def test_the_arrays_that_were_not_used_for_longest_make_room(
    photos: Path, user_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = folders(tmp_path, photos, 3)
    result_of(steps(first))
    of_first = arrays(user_cache)
    used_at(user_cache, 200)
    result_of(steps(second))
    of_second = arrays(user_cache) - of_first
    for name in of_second:
        os.utime(user_cache / "images" / name, (time.time() - 100,) * 2)
    assert load(first)[0] == []  # so that the second one waits longest
    monkeypatch.setenv("CNNKIT_CACHE_GB", str((2 * SIZE + 500) / 1e9))
    assert load(third)[0] == [DONE]
    assert len(arrays(user_cache)) == 2
    assert not arrays(user_cache) & of_second
    assert not (user_cache / "images" / of_second.pop()).with_suffix(".json").exists()
    assert load(first)[0] == load(third)[0] == []
    assert load(second)[0] == [DONE]


def test_within_the_limit_all_arrays_stay(
    photos: Path, user_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CNNKIT_CACHE_GB", str((3 * SIZE + 1000) / 1e9))
    made = folders(tmp_path, photos, 3)
    for folder in made:
        assert load(folder)[0] == [DONE]
    assert len(arrays(user_cache)) == 3
    assert [load(folder)[0] for folder in made] == [[]] * 3


@pytest.mark.parametrize("limit", ["0", "0.000001"])
def test_an_array_over_the_limit_is_kept_in_memory_and_the_others_stay(
    limit: str, photos: Path, user_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result_of(steps(photos, OTHER))
    monkeypatch.setenv("CNNKIT_CACHE_GB", limit)
    said, images = load(photos)
    reason = f"they take more than the {float(limit):g} GB that $CNNKIT_CACHE_GB allows"
    assert said == [in_memory(photos, user_cache, reason), DONE]
    assert not isinstance(images, np.memmap)
    np.testing.assert_array_equal(images, expected(photos))
    assert len(arrays(user_cache)) == 1
    assert load(photos, OTHER)[0] == []


@pytest.mark.parametrize("given", ["many", "-1", "nan", "inf", "20 GB", "1e999"])
def test_a_limit_that_is_no_number_is_wrong_usage(given: str, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNNKIT_CACHE_GB", given)
    with expect_error(UsageError, "CNNKIT_CACHE_GB", given):
        load(photos)


def test_an_empty_limit_is_none_given(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNNKIT_CACHE_GB", "")
    assert load(photos)[0] == [DONE]


def test_an_index_of_an_earlier_version_is_made_again(dots: Path, user_cache: Path) -> None:
    age(dots)
    result_of(steps(dots))
    path = index_of(user_cache)
    whole = path.read_bytes()
    found = json.loads(whole)
    old = {name: found[name] for name in ("content", "names", "sizes", "times", "digests")}
    path.write_bytes(json.dumps({**old, "forms": []}).encode())
    assert load(dots)[0] == []
    assert path.read_bytes() == whole


# Images deeper than 8 bits.


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    """Three 12-bit images in files of 16 bits, and one of 8 bits."""
    folder = tmp_path / "deep"
    ramp = np.linspace(0, 1, 64).reshape(8, 8)
    for label, name, pixels in (
        ("low", "a", (ramp * 1000).astype(np.uint16)),
        ("low", "b", (ramp * 2000 + 100).astype(np.uint16)),
        ("high", "a", (ramp * 4095).astype(np.uint16)),
        ("high", "b", (ramp * 255).astype(np.uint8)),
    ):
        (folder / label).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / label / f"{name}.png")
    return folder


GREY = Preprocessing(1, 8, 8, (0.0,), (1.0,))


def test_deep_images_of_a_folder_have_one_range(deep: Path) -> None:
    found = stored(deep, GREY)
    assert (found.facts.deep, found.facts.value_range) == (3, (0, 4095))
    by_name = dict(zip(found.digests, found.images[..., 0].astype(int), strict=True))
    for name, highest in (("low/a.png", 1000), ("low/b.png", 2100), ("high/a.png", 4095)):
        assert by_name[name].max() == pytest.approx(highest / 4095 * 255, abs=1)
    assert by_name["high/b.png"].max() == 255
    known = replace(GREY, value_range=found.facts.value_range)
    for name, image in zip(found.digests, found.images, strict=True):
        np.testing.assert_array_equal(image, prepare(deep / name, known).pixels)


def test_a_range_that_is_given_is_taken_and_what_was_found_before_serves_it_too(deep: Path, user_cache: Path) -> None:
    images = stored(deep, GREY).images
    known = replace(GREY, value_range=(0.0, 4095.0))
    said, again = load(deep, known)
    assert said == []
    np.testing.assert_array_equal(again, images)
    assert len(arrays(user_cache)) == 1
    # Another range is another array.
    said, others = load(deep, replace(GREY, value_range=(0.0, 65535.0)))
    assert said == [LoadProgress("images", 4, 4)]
    assert others[..., 0].max(axis=(1, 2)).tolist() != images[..., 0].max(axis=(1, 2)).tolist()
    assert len(arrays(user_cache)) == 2


def test_without_an_earlier_array_a_given_range_is_decoded_in_one_pass(deep: Path) -> None:
    known = replace(GREY, value_range=(0.0, 4095.0))
    assert list(steps(deep, known)) == [LoadProgress("images", done, 4) for done in range(1, 5)]
    # Without it, the three deep images are decoded once more.
    assert [step.total for step in steps(deep, GREY)] == [4] * 4 + [3] * 3
    np.testing.assert_array_equal(stored(deep, known).images, stored(deep, GREY).images)


def test_a_folder_with_deep_images_says_its_range_and_keeps_it_in_the_form(deep: Path) -> None:
    for name in ("c", "d"):
        for label in ("low", "high"):
            pixels = np.full((8, 8), 300 + ord(name), np.uint16)
            pixels[0] = {"low": 50, "high": 90}[label]
            Image.fromarray(pixels).save(deep / label / f"{name}.png")
    recipe = Recipe(data=str(deep))
    loaded = result_of(data.load(recipe.data_options(), (1, 8, 8)))
    assert loaded.preprocessing.value_range == (0, 4095)
    assert any("7 images of deep have more than 8 bits a channel; the range" in text for text in loaded.warnings)
    again = result_of(data.load(recipe.data_options(), loaded.preprocessing))
    assert again.preprocessing == loaded.preprocessing
    assert not any("more than 8 bits" in text for text in again.warnings)
    for one, other in zip(loaded.split("all").batches(4), again.split("all").batches(4), strict=True):
        assert torch.equal(one[0], other[0])
        assert torch.equal(one[1], other[1])


def test_files_that_change_places_are_noticed_though_size_and_time_stay(dots: Path) -> None:
    age(dots)
    load(dots)
    one, other, aside = dots / "dark" / "0.ppm", dots / "light" / "0.ppm", dots / "aside"
    for source, target in ((one, aside), (other, one), (aside, other)):
        source.rename(target)
    np.testing.assert_array_equal(load(dots)[1], expected(dots))

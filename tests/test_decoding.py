"""Decoding image files is bounded: what may take long is done by a process with limits, and gives the same pixels."""

import hashlib
import importlib.util
import io
import math
import os
import signal
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cnnkit import pictures
from cnnkit.cautions import cautions
from cnnkit.cli import make_app
from cnnkit.decoding import apart, children
from cnnkit.decoding.bounds import ORDINARY_SECONDS
from cnnkit.decoding.cost import work
from cnnkit.decoding.file import read
from cnnkit.errors import CostlyImageError, ImageError, ImageFormatError, ImageTooLargeError
from cnnkit.images import Preprocessing, prepare, prepare_all
from cnnkit.pictures import FORMATS, MAX_PIXELS
from tests.expecting import expect_error

ROOT = Path(__file__).parents[1]
_spec = importlib.util.spec_from_file_location("floods", ROOT / "scripts" / "floods.py")
floods = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(floods)

PHOTOS = ROOT.parent / "shared" / "data" / "hymenoptera"
DRAWINGS = sorted((ROOT / "tests" / "data" / "drawings").glob("*/*.*"))
BOX = Preprocessing(1, 28, 28, (0.0,), (1.0,), "mnist-box", "light-on-dark")
COLOUR = Preprocessing(3, 32, 24, (0.5,) * 3, (0.25,) * 3, "cover", interpolation="bicubic", value_range=(0.0, 4095.0))
RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (375, 500, 4), np.uint8)
SMOOTH = np.asarray(Image.fromarray(NOISE).resize((50, 38)).resize((500, 375), Image.Resampling.BICUBIC))
PHOTO = Image.fromarray(np.ascontiguousarray(SMOOTH[..., :3]))
DEEP = Image.fromarray(RNG.integers(0, 4096, (90, 70)).astype(np.uint16))
TURNED = Image.Exif()
TURNED[0x0112], TURNED[0x010E] = 6, "a description"
INFO = "a comment " * 50
posix = pytest.mark.skipif(os.name != "posix", reason="limits and signals of POSIX")


def encode(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def text():
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("Software", INFO)
    info.add_itxt("Title", INFO, zip=True)
    return info


ORDINARY = {
    "PNG": encode(PHOTO, "PNG"),
    "PNG with text, profile and EXIF": encode(PHOTO, "PNG", pnginfo=text(), exif=TURNED, icc_profile=bytes(3000)),
    "PNG with alpha": encode(Image.fromarray(SMOOTH), "PNG"),
    "PNG with a palette": encode(PHOTO.quantize(64), "PNG", transparency=3),
    "PNG of 16 bits": encode(DEEP, "PNG"),
    "PNG, black and white": encode(PHOTO.convert("1"), "PNG"),
    "APNG": encode(PHOTO, "PNG", save_all=True, append_images=[PHOTO.rotate(9)] * 5),
    "JPEG": encode(PHOTO, "JPEG", comment=INFO, exif=TURNED, icc_profile=bytes(100_000)),
    "JPEG, progressive": encode(PHOTO, "JPEG", progressive=True, quality=95),
    "JPEG, grey": encode(PHOTO.convert("L"), "JPEG"),
    "JPEG, CMYK": encode(PHOTO.convert("CMYK"), "JPEG"),
    "JPEG with restarts": encode(PHOTO, "JPEG", restart_marker_rows=1),
    "JPEG, cut off": encode(PHOTO, "JPEG")[:5000],
    "MPO": encode(PHOTO, "MPO", save_all=True, append_images=[PHOTO.rotate(9)]),
    "WebP": encode(PHOTO, "WEBP", exif=TURNED),
    "WebP without loss": encode(Image.fromarray(SMOOTH), "WEBP", lossless=True),
    "WebP, animated": encode(PHOTO, "WEBP", save_all=True, append_images=[PHOTO.rotate(9)] * 5),
    "GIF": encode(PHOTO.quantize(64), "GIF", comment=INFO),
    "GIF, animated": encode(PHOTO, "GIF", save_all=True, append_images=[PHOTO.rotate(9)] * 5, loop=0),
    "BMP": encode(PHOTO, "BMP"),
    "BMP with a palette": encode(PHOTO.quantize(64), "BMP"),
    "DIB": encode(PHOTO, "DIB"),
    "TIFF": encode(PHOTO, "TIFF"),
    "TIFF by LZW": encode(PHOTO, "TIFF", compression="tiff_lzw"),
    "TIFF by Deflate": encode(PHOTO, "TIFF", compression="tiff_adobe_deflate", exif=TURNED),
    "TIFF of floats": encode(Image.fromarray(np.asarray(PHOTO.convert("L"), np.float32)), "TIFF"),
    "TIFF, several pages": encode(PHOTO, "TIFF", save_all=True, append_images=[PHOTO.rotate(9)] * 3),
    "PPM": encode(PHOTO, "PPM"),
    "PGM of 16 bits": encode(DEEP, "PPM"),
    "PGM with a comment": b"P5 # by hand\n# twice\n2 3 255\n" + bytes(6),
}


@pytest.mark.parametrize("name", ORDINARY)
def test_what_real_programs_write_is_decoded_in_this_process(name):
    assert read(ORDINARY[name], FORMATS, MAX_PIXELS).takes(ORDINARY_SECONDS)


@pytest.mark.skipif(not PHOTOS.is_dir(), reason="the photos are not here")
def test_ordinary_photos_and_drawings_are_ordinary():
    files = [*(path for path in PHOTOS.rglob("*") if pictures.is_image_file(path)), *DRAWINGS]
    costly = [path.name for path in files if not read(path, FORMATS, MAX_PIXELS).takes(ORDINARY_SECONDS)]
    assert len(files) > 400
    assert costly == []


def quickest(function: Callable[[], object]) -> float:
    """Return the seconds of the quickest of five calls: a busy machine has its pauses."""
    taken = []
    for _ in range(5):
        started = time.perf_counter()
        function()
        taken.append(time.perf_counter() - started)
    return min(taken)


@pytest.mark.parametrize("name", floods.names())
def test_a_flood_is_left_to_a_process_with_limits_after_a_look(name):
    file = read(floods.body(name, 4_000_000), FORMATS, MAX_PIXELS)
    assert not file.takes(ORDINARY_SECONDS)
    assert quickest(lambda: work(file.data, file.kind)) < quickest(lambda: hashlib.sha256(bytes(4_000_000)).digest())


@pytest.mark.parametrize("name", floods.B1)
def test_the_look_at_the_largest_bodies_takes_less_than_reading_them(name):
    data, kind = floods.body(name), name[:4].replace(",", "").strip()
    assert quickest(lambda: work(data, kind)) < quickest(lambda: hashlib.sha256(data).digest())


@pytest.mark.parametrize("name", ["PNG, tEXt", "JPEG, Exif", "JPEG, scans", "BMP, runs of two", "GIF, zeros"])
def test_a_flood_takes_next_to_nothing_of_this_process_and_ends_in_time(tmp_path, name):
    path = tmp_path / "flood.img"
    path.write_bytes(floods.body(name))
    started, used = time.perf_counter(), time.process_time()
    result = prepare_all([path], BOX)[0]
    assert time.process_time() - used < ORDINARY_SECONDS
    assert time.perf_counter() - started < children.WALL_SECONDS + 5
    assert isinstance(result, ImageError)
    assert str(path) in str(result)
    if os.name == "posix":
        assert "takes too long to decode: more than 1 s" in str(result)
    assert prepare(DRAWINGS[0], BOX).pixels.shape == (28, 28, 1)


def test_a_flood_that_is_done_in_time_gives_its_image():
    data = floods.body("PNG, empty chunks", 200_000)
    assert not read(data, FORMATS, MAX_PIXELS).takes(ORDINARY_SECONDS)
    assert (prepare(data, COLOUR).pixels == prepare(floods.PNG, COLOUR).pixels).all()
    assert pictures.decode(data)[0].tobytes() == pictures.decode(floods.PNG)[0].tobytes()


def test_the_header_of_a_flood_is_not_read(tmp_path):
    path = tmp_path / "flood.png"
    path.write_bytes(floods.body("PNG, tEXt"))
    used = time.process_time()
    assert pictures.header(path) is None
    assert time.process_time() - used < ORDINARY_SECONDS


@pytest.mark.parametrize("name", [*ORDINARY, "AVIF"])
def test_a_process_with_limits_gives_the_same_pixels_and_says_the_same(name):
    data = encode(PHOTO, "AVIF") if name == "AVIF" else ORDINARY[name]
    file = read(data, FORMATS, MAX_PIXELS)
    for form in (BOX, COLOUR):
        here = prepare_all([data], form, here=math.inf)[0]
        if isinstance(here, ImageError):
            with pytest.raises(type(here)) as caught:
                apart.prepared(file, form)
            assert str(caught.value) == str(here)
            continue
        there = apart.prepared(file, form)
        assert (there.pixels == here.pixels).all()
        assert (there.steps, there.original) == (here.steps, here.original)
        assert [each.kinds for each in cautions(there.steps)] == [each.kinds for each in cautions(here.steps)]
    if name != "JPEG, cut off":
        whole, picture = apart.prepared(file, None, (0.0, 4095.0)), pictures.decoded(file, (0.0, 4095.0))
        assert (whole.pixels == np.asarray(picture.image)).all()
        assert list(whole.steps) == picture.steps


def test_an_error_of_another_process_has_the_name_of_the_file(tmp_path):
    path = tmp_path / "broken.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    with expect_error(ImageFormatError, "broken.png", "PNG"):
        prepare(path, BOX)


def test_an_image_of_too_many_pixels_is_refused_here(monkeypatch):
    monkeypatch.setattr(children, "ask", lambda *_: pytest.fail("a process was asked"))
    huge = floods.PNG[:16] + struct.pack(">II", 100_000, 100_000) + floods.PNG[24:]
    huge = huge[:29] + struct.pack(">I", zlib.crc32(huge[12:29])) + huge[33:]
    assert isinstance(prepare_all([huge], BOX)[0], ImageTooLargeError)


def test_a_caller_may_ask_for_less_and_gets_an_error_in_place_of_what_may_take_longer():
    results = prepare_all([ORDINARY["PNG"], floods.PNG, floods.body("JPEG, COM", 100_000)], COLOUR, within=0.01)
    assert [type(each) is CostlyImageError for each in results] == [True, False, True]


def child():
    """Return the process with limits."""
    prepare(floods.body("PNG, empty chunks", 100_000), BOX)
    (found,) = [
        each for each in psutil.Process().children() if any("decoding.child" in part for part in each.cmdline())
    ]
    return found


@posix
def test_a_process_with_limits_has_them():
    found = child()
    assert found.nice() > psutil.Process().nice() or found.nice() == 19
    if hasattr(found, "rlimit"):
        assert found.rlimit(psutil.RLIMIT_AS)[1] == children.MEMORY


def test_a_process_that_died_is_replaced_and_one_that_dies_at_work_is_told_of():
    child().kill()
    child()
    busy, data = threading.Event(), floods.body("BMP, ends of lines")
    found, results = child(), []

    def ask():
        busy.set()
        results.extend(prepare_all([data], BOX))

    asking = threading.Thread(target=ask)
    asking.start()
    busy.wait()
    time.sleep(0.2)
    found.kill()
    asking.join(30)
    assert "the process that decoded it ended with" in str(results[0])
    child()


def test_when_all_is_closed_who_waits_is_told_and_the_next_one_is_served():
    results, data = [], floods.body("BMP, ends of lines")
    child()
    asking = threading.Thread(target=lambda: results.extend(prepare_all([data], BOX)))
    asking.start()
    time.sleep(0.2)
    children.close()
    asking.join(30)
    assert isinstance(results[0], ImageError)
    child()


def test_a_program_of_another_name_decodes_apart_with_its_python(monkeypatch, tmp_path):
    children.close()
    monkeypatch.setattr(sys, "executable", str(tmp_path / "some-program"))
    child()
    children.close()
    monkeypatch.setattr(sys, "exec_prefix", str(tmp_path))
    with expect_error(ImageError):
        child()


def test_ordinary_images_do_not_wait_for_a_flood():
    results, data = [], floods.body("PNG, tEXt")
    child()
    asking = threading.Thread(target=lambda: results.extend(prepare_all([data], BOX)))
    asking.start()
    prepared = 0
    while asking.is_alive():
        prepare(DRAWINGS[0], BOX)
        prepared += 1
        time.sleep(0.005)
    assert prepared > 20


@posix
def test_an_interrupt_leaves_no_half_answer_behind():
    def interrupt(*_):
        raise KeyboardInterrupt

    child()
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(KeyboardInterrupt):
            prepare_all([floods.body("BMP, ends of lines")], BOX)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert (prepare(floods.body("PNG, empty chunks", 100_000), BOX).pixels == prepare(floods.PNG, BOX).pixels).all()


@posix
def test_a_forked_process_has_its_own_and_all_end_with_those_who_started_them(tmp_path):
    flood = tmp_path / "flood.png"
    flood.write_bytes(floods.body("PNG, empty chunks", 100_000))
    code = f"""
import os, pathlib
from cnnkit.pictures import decode
flood = pathlib.Path({str(flood)!r})
decode(flood)
if not (forked := os.fork()):
    decode(flood)
    os._exit(7)
decode(flood)
assert os.waitstatus_to_exitcode(os.waitpid(forked, 0)[1]) == 7
import psutil
print(*[each.pid for each in psutil.Process().children(recursive=True)])
"""
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr == ""
    assert len(done.stdout.split()) == 1
    deadline = time.monotonic() + 10
    while psutil.pid_exists(int(done.stdout)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not psutil.pid_exists(int(done.stdout))


def test_predict_names_floods_and_goes_on(tmp_path):
    from typer.testing import CliRunner

    (tmp_path / "a.png").write_bytes(floods.body("PNG, tEXt"))
    (tmp_path / "b.png").write_bytes(DRAWINGS[0].read_bytes())
    done = CliRunner().invoke(make_app(), ["predict", str(tmp_path), "--model", "digits", "--json"])
    assert done.exit_code == 1
    assert "b.png" in done.stdout
    assert "a.png takes too long to decode" in done.stdout


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    name=st.sampled_from(sorted(ORDINARY)),
    changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=6),
    cut=st.floats(0, 1),
    more=st.binary(max_size=8),
)
def test_the_look_at_a_damaged_file_ends_with_a_number(name, changes, cut, more):
    data = bytearray(ORDINARY[name][:4000])
    for at, value in changes:
        data[int(at * (len(data) - 1))] = value
    data = bytes(data[: len(data) - int(cut * 0.2 * len(data))]) + more
    for kind in FORMATS:
        assert work(data, kind).seconds >= 0


def test_a_data_set_with_floods_is_scanned_and_they_are_listed(tmp_path):
    from cnnkit.data.decoding import decode
    from cnnkit.data.walking import stat

    names = ["0.png", "1.png", "2.jpg"]
    contents = [DRAWINGS[0].read_bytes(), floods.body("PNG, tEXt", 17_000_000), floods.body("JPEG, COM", 17_000_000)]
    for name, content in zip(names, contents, strict=True):
        (tmp_path / name).write_bytes(content)
    scan = decode(tmp_path, [(name, stat(tmp_path / name)) for name in names], BOX, lambda *_: None)
    while True:
        try:
            next(scan)
        except StopIteration as end:
            facts = end.value
            break
    assert sorted(facts.damaged) == names[1:]
    assert all("takes too long to decode" in problem for problem in facts.damaged.values())

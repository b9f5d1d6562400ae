"""Bytes that are no image, too much of one, or damaged: an ImageError with a name, never another exception."""

import io
import re
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from cnnkit import pictures
from cnnkit.errors import ImageError, ImageTooLargeError
from cnnkit.images import Preprocessing, prepare
from cnnkit.pictures import decode
from tests.expecting import expect_error

BOX = Preprocessing(1, 28, 28, (0.0,), (1.0,), "mnist-box", "light-on-dark")


def encode(image, form, **options):
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


PAPER = Image.radial_gradient("L").resize((44, 36))
ImageDraw.Draw(PAPER).line([(10, 5), (30, 12), (14, 30)], fill=0, width=4)
TURNED = Image.Exif()
TURNED[0x0112] = 6
PNG, JPEG, GIF = (encode(PAPER, form) for form in ("PNG", "JPEG", "GIF"))
WEBP = encode(PAPER, "WEBP", lossless=True)
SEEDS = [
    *(PNG, JPEG, GIF, WEBP),
    *(encode(PAPER, form) for form in ("BMP", "PPM", "DIB")),
    *(encode(PAPER.convert("P"), "PNG", transparency=0), encode(PAPER.convert("CMYK"), "JPEG")),
    encode(Image.fromarray(np.asarray(PAPER).astype(np.uint16) * 257), "PNG"),
    encode(PAPER, "TIFF", compression="tiff_lzw"),
    encode(PAPER.convert("1"), "TIFF", compression="group4"),
    encode(PAPER, "JPEG", exif=TURNED),
    *(encode(PAPER, form, save_all=True, append_images=[PAPER.rotate(9)]) for form in ("GIF", "PNG", "TIFF", "WEBP")),
    encode(Image.fromarray(np.asarray(PAPER, np.float32) - 70), "TIFF"),
    *([encode(PAPER, "AVIF")] if "AVIF" in pictures.FORMATS else []),
]


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(width, height):
    """Return a PNG that says these dimensions, and holds hardly anything."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


NO_IMAGE = {
    "empty": (b"", "empty"),
    "text": (b"this is not an image, although somebody called it one\n", "PNG"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'><path d='M0 0L9 9'/></svg>", "formats"),
    "PDF, which Pillow could write": (encode(PAPER, "PDF"), "formats"),
    "ICO, which Pillow could read": (encode(PAPER, "ICO"), "formats"),
    "zeros": (bytes(1000), "formats"),
    "PNG's first bytes": (PNG[:8], "PNG"),
    "PNG cut in the middle": (PNG[: len(PNG) // 2], "damaged"),
    "PNG without its end": (PNG[:-30], "damaged"),
    "JPEG cut in the middle": (JPEG[: len(JPEG) // 2], "damaged"),
    "GIF cut in the middle": (GIF[: len(GIF) // 2], "GIF|damaged"),
    "WebP cut in the middle": (WEBP[: len(WEBP) // 2], "WEBP|is damaged"),
    "TIFF with a NaN": (
        encode(Image.fromarray(np.full((4, 4), np.nan, np.float32)), "TIFF"),
        "NaN",
    ),
}
TOO_LARGE = {
    "a decompression bomb": bomb(100_000, 100_000),
    "between Pillow's limits": bomb(12_000, 10_000),
    "just over ours": bomb(50_000_001, 1),
    "a JPEG that says 65,500×65,500": JPEG.replace(struct.pack(">HH", 36, 44), struct.pack(">HH", 65500, 65500), 1),
}


@pytest.mark.parametrize("name", NO_IMAGE)
def test_what_is_no_image_is_refused_with_the_name_and_the_reason(tmp_path, name):
    data, said = NO_IMAGE[name]
    path = tmp_path / "digit.png"
    path.write_bytes(data)
    for source, called in ((data, ("the image ", "the data ")), (path, (str(path),))):
        with pytest.raises(ImageError) as caught:
            decode(source)
        assert str(caught.value).startswith(called)
        assert re.search(said, str(caught.value))


@pytest.mark.parametrize("name", TOO_LARGE)
def test_an_image_of_too_many_pixels_is_refused_before_it_is_decoded(tmp_path, name):
    path = tmp_path / "huge.png"
    path.write_bytes(TOO_LARGE[name])
    with expect_error(ImageTooLargeError, "huge.png", "50,000,000"):
        decode(path)


def test_the_cap_on_pixels_lets_the_last_one_through(monkeypatch):
    monkeypatch.setattr(pictures, "MAX_PIXELS", PAPER.width * PAPER.height)
    assert decode(PNG)[0].size == PAPER.size
    monkeypatch.setattr(pictures, "MAX_PIXELS", PAPER.width * PAPER.height - 1)
    with expect_error(ImageTooLargeError, "1,584 pixels"):
        decode(PNG)


def test_a_file_of_too_many_bytes_is_refused_by_name(tmp_path):
    path = tmp_path / "huge.png"
    with path.open("wb") as file:
        file.write(PNG)
        file.truncate(pictures.MAX_BYTES + 1)
    with expect_error(ImageTooLargeError, "huge.png", "64 MiB"):
        decode(path)


@pytest.mark.parametrize("name", ["missing.png", "", "file/below.png", "n" * 300, "nul\0.png"])
def test_a_path_that_cannot_be_read_is_refused_by_name(tmp_path, name):
    (tmp_path / "file").write_bytes(PNG)
    with expect_error(ImageError) as caught:
        decode(tmp_path / name)
    assert name.split("/")[0][:20] in str(caught.value)


def test_a_whole_image_with_damaged_exif_data_is_read_in_silence(tmp_path):
    exif = Image.Exif()
    exif[0x010E] = "a description that is long enough to be stored apart"
    data = bytearray(encode(PAPER, "JPEG", exif=exif))
    count = data.index(b"\x01\x0e\x00\x02") + 4
    data[count : count + 4] = b"\x7f\xff\xff\xff"
    (tmp_path / "photo.jpg").write_bytes(data)
    code = "import sys, pathlib, cnnkit.pictures as p; print(p.decode(pathlib.Path(sys.argv[1]))[0].size)"
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "photo.jpg"], capture_output=True, check=False)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, b"(44, 36)", b"")


def check_hostile(data):
    try:
        found = prepare(data, BOX).pixels
    except ImageError:
        return
    assert found.shape == (28, 28, 1)


@settings(max_examples=600, deadline=None, derandomize=True)
@given(
    seed=st.sampled_from(SEEDS),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=8),
    cut=st.one_of(st.just(1.0), st.floats(0, 1)),
    more=st.binary(max_size=20),
)
def test_a_damaged_file_gives_an_image_or_an_image_error(seed, changes, cut, more):
    data = bytearray(seed)
    for place, value in changes:
        # Most damage to the pixels is seen by a checksum; headers are where decoders trip.
        data[int(place**3 * len(data))] = value
    check_hostile(bytes(data[: int(cut * len(data))]) + more)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"BM", b"II*\0", b"P5 ", b"RIFF"]),
    st.binary(),
)
def test_random_bytes_give_an_image_or_an_image_error(magic, data):
    check_hostile(magic + data)

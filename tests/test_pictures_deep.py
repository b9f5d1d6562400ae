"""Images deeper than 8 bits, of several frames, or not read at all: nothing is dark or left out in silence."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, features

from cnnkit.depth import Span, value_range
from cnnkit.errors import ImageError, ImageFormatError
from cnnkit.images import Preprocessing, prepare
from cnnkit.pictures import CONVERTIBLE, FORMATS, SUFFIXES, decode, how_to_convert
from tests.expecting import expect_error

HEIGHT, WIDTH = 20, 30
RNG = np.random.default_rng(0)


def form(channels=1, **options):
    return Preprocessing(channels, HEIGHT, WIDTH, (0.0,) * channels, (1.0,) * channels, "stretch", **options)


def encode(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def random(bits, channels):
    values = RNG.integers(0, 2**bits, (HEIGHT, WIDTH, channels)).astype(np.uint16)
    if channels in {2, 4}:
        values[..., -1] = 2**bits - 1
    return values


def png(values, transparent=b""):
    """Write uint16 [H, W, C], which Pillow cannot."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    colour = {1: 0, 2: 4, 3: 2, 4: 6}[values.shape[2]]
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, colour, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    extra = chunk(b"tRNS", transparent) if transparent else b""
    body = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def tiff(values, order="<", *, planes=False, deflated=False, bits=16, photometric=None, tags=()):
    """Write unsigned [H, W, C] as TIFF, which Pillow cannot do with colours of 16 bits."""
    height, width, channels = values.shape
    photometric = (2 if channels > 1 else 1) if photometric is None else photometric
    content = [values[..., c] for c in range(channels)] if planes else [values]
    strips = [part.astype(f"{order}u{bits // 8}").tobytes() for part in content]
    strips = [zlib.compress(strip) for strip in strips] if deflated else strips
    extra = [(338, 3, [2])] if channels == 4 else []

    def directory(start):
        at, offsets = start, []
        for strip in strips:
            offsets.append(at)
            at += len(strip)
        return [
            (256, 3, [width]),
            (257, 3, [height]),
            (258, 3, [bits] * channels),
            (259, 3, [8 if deflated else 1]),
            (262, 3, [photometric]),
            (273, 4, offsets),
            (277, 3, [channels]),
            (278, 3, [height]),
            (279, 4, [len(strip) for strip in strips]),
            (284, 3, [2 if planes else 1]),
            *extra,
            *tags,
        ]

    def written(start):
        entries = directory(start)
        after = 8 + 2 + 12 * len(entries) + 4
        table, more = struct.pack(f"{order}H", len(entries)), b""
        for tag, kind, numbers in entries:
            data = struct.pack(f"{order}{len(numbers)}{'H' if kind == 3 else 'I'}", *numbers)
            place = data.ljust(4, b"\0") if len(data) <= 4 else struct.pack(f"{order}I", after + len(more))
            more += data if len(data) > 4 else b""
            table += struct.pack(f"{order}HHI", tag, kind, len(numbers)) + place
        magic = b"II*\0" if order == "<" else b"MM\0*"
        return magic + struct.pack(f"{order}I", 8) + table + bytes(4) + more

    return written(len(written(0))) + b"".join(strips)


def test_twelve_bits_in_sixteen_are_not_dark():
    ramp = np.broadcast_to(np.linspace(0, 4095, WIDTH), (HEIGHT, WIDTH)).astype(np.uint16)
    for kind in ("PNG", "TIFF"):
        prepared = prepare(encode(Image.fromarray(ramp), kind), form())
        assert (prepared.pixels[..., 0] == np.round(ramp / 4095 * 255)).all()
        assert prepared.steps == ("16-bit to 8-bit, range 0–4095 guessed from this image",)
        assert prepared.original.span == Span.of(ramp)
        assert prepared.original.mode == "16-bit grey"


@pytest.mark.parametrize("value_range", [(0, 1023), (100, 900.5), (-5, 70000)])
def test_the_range_of_the_data_set_is_used_where_it_is_known(value_range):
    values = RNG.integers(0, 1200, (HEIGHT, WIDTH))
    expected = np.round(np.clip((values - value_range[0]) / (value_range[1] - value_range[0]), 0, 1) * 255)
    for stored in (values.astype(np.uint16), values.astype(np.int32), values.astype(np.float32)):
        prepared = prepare(Image.fromarray(stored), form(value_range=value_range))
        assert (prepared.pixels[..., 0] == expected).all()
        assert "guessed" not in prepared.steps[0]


def test_a_range_leaves_images_of_eight_bits_as_they_are():
    pixels = RNG.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    for source in (pixels, encode(Image.fromarray(pixels), "PNG")):
        prepared = prepare(source, form(3, value_range=(0, 4095)))
        assert (prepared.pixels == pixels).all()
        assert (prepared.steps, prepared.original.span) == ((), None)


FILES = {
    "PNG": png,
    "TIFF": tiff,
    "TIFF, big-endian": lambda values: tiff(values, ">"),
    "TIFF, deflated": lambda values: tiff(values, deflated=True),
    "TIFF, big-endian and deflated": lambda values: tiff(values, ">", deflated=True),
    "TIFF, in planes": lambda values: tiff(values, planes=True),
    "TIFF, in big-endian planes": lambda values: tiff(values, ">", planes=True),
}


@pytest.mark.parametrize("bits", [10, 12, 16])
@pytest.mark.parametrize(
    ("kind", "channels"), [("PNG", 2), *((kind, channels) for kind in FILES for channels in (3, 4))]
)
def test_colours_of_sixteen_bits_keep_all_of_them(kind, channels, bits):
    values = random(bits, channels)
    prepared = prepare(FILES[kind](values), form(3))
    shown = values[..., :1] if channels == 2 else values[..., :3]
    assert (prepared.pixels == np.round(shown / (2**bits - 1) * 255)).all()
    guessed = "" if bits == 16 else " guessed from this image"
    assert prepared.steps == (f"16-bit colour to 8-bit, range 0–{2**bits - 1}{guessed}",)
    assert prepared.original.span == Span.of(shown)
    assert prepared.original.mode == {2: "16-bit grey with alpha", 3: "16-bit RGB", 4: "16-bit RGBA"}[channels]


def upper_only(values):
    """Return sources of which Pillow gives the upper 8 bits only."""
    return tiff(values, planes=True, deflated=True), Image.open(io.BytesIO(png(values)))


@pytest.mark.parametrize("channels", [3, 4])
def test_where_pillow_gives_the_upper_bits_only_the_brightness_is_right_and_it_is_said(channels):
    values = random(16, channels)
    for source in upper_only(values):
        prepared = prepare(source, form(3))
        assert np.abs(prepared.pixels - values[..., :3] / 65535 * 255).max() <= 1
        assert "by its upper 8 bits" in prepared.steps[0]
        assert prepared.steps[0].kinds == ("only the upper 8 of 16 bits are read",)
        assert prepared.original.coarse
    assert not prepare(tiff(values), form(3)).original.coarse


@pytest.mark.parametrize("bits", [8, 12, 14])
@pytest.mark.parametrize("channels", [3, 4])
def test_where_the_upper_bits_hold_nearly_nothing_the_image_is_refused(bits, channels):
    file, image = upper_only(random(bits, channels))
    with expect_error(ImageError, "16 bits", "TIFF"):
        prepare(file, form(3))
    with expect_error(ImageError, "16 bits", "path"):
        prepare(image, form(3))


RAMP = np.linspace(0, 1, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH)
STEPS = np.round(RAMP * 255)


@pytest.mark.parametrize("order", "<>")
def test_whole_numbers_of_32_bits_have_a_sign_where_the_file_says_so(order):
    values = (RAMP * 4e9).astype(np.uint32)
    for tags in ([(339, 3, [1])], []) if order == "<" else ():  # Pillow reads them of this order only
        prepared = prepare(tiff(values[..., None], order, bits=32, tags=tags), form())
        assert prepared.steps == ("32-bit to 8-bit, range 0–4e+09 guessed from this image",)
        assert np.abs(prepared.pixels[..., 0] - STEPS).max() <= 1
    signed = tiff(
        (values // 2 - 10**9).astype(np.int32).view(np.uint32)[..., None], order, bits=32, tags=[(339, 3, [2])]
    )
    prepared = prepare(signed, form())
    assert (prepared.original.span.least, prepared.original.mode) == (-(10**9), "32-bit grey")
    assert np.abs(prepared.pixels[..., 0] - STEPS).max() <= 1


def test_signed_pixels_of_8_bits_are_refused():
    content = tiff(np.full((HEIGHT, WIDTH, 1), 200, np.uint8), bits=8, tags=[(339, 3, [2])])
    with expect_error(ImageError, "signed"):
        prepare(content, form())


@pytest.mark.parametrize(
    ("values", "bits", "tags"),
    [
        ((STEPS * 257).astype(np.uint16), 16, []),
        ((RAMP * 4095).astype(np.uint16), 16, []),
        (RAMP.astype(np.float32).view(np.uint32), 32, [(339, 3, [3])]),
    ],
)
def test_where_white_is_stored_as_0_the_image_is_inverted(values, bits, tags):
    prepared = prepare(tiff(values[..., None], bits=bits, tags=tags, photometric=0), form())
    assert np.abs(prepared.pixels[..., 0] - (255 - STEPS)).max() <= 1
    assert prepared.steps[-1] == "inverted: it stores white as 0"
    eight = prepare(tiff(STEPS.astype(np.uint8)[..., None], bits=8, photometric=0), form())
    assert (eight.pixels[..., 0] == 255 - STEPS).all(), "as Pillow does"


@pytest.mark.parametrize("bits", [12, 16])
def test_a_transparent_grey_of_sixteen_bits_is_transparent(bits):
    values = random(bits, 1)
    values[5:9, 7:12] = 1000
    prepared = prepare(png(values, struct.pack(">H", 1000)), form(3))
    opaque = values[..., 0] != 1000
    assert (prepared.pixels[~opaque] == 255).all()
    assert (prepared.pixels[opaque] == np.round(values / (2**bits - 1) * 255)[opaque]).all()
    assert prepared.steps[-1] == "transparency over white"
    without = prepare(png(values, struct.pack(">H", 65535 if bits == 12 else 2)), form(3))
    assert not any("transparency" in step for step in without.steps) or bits == 16


def test_a_file_of_a_kind_that_pillow_does_not_read_is_named_by_its_format(tmp_path):
    double = tiff(RAMP.astype(np.float64).view(np.uint64)[..., None], bits=64, tags=[(339, 3, [3])])
    many = tiff(random(16, 5), photometric=1)
    colour = b"PF\n30 20\n-1.0\n" + np.stack([RAMP] * 3, -1).astype("<f4").tobytes()
    for content, kind in ((double, "TIFF"), (many, "TIFF"), (colour, "PFM")):
        path = tmp_path / "odd.img"
        path.write_bytes(content)
        with expect_error(ImageFormatError, "odd.img", kind):
            decode(path)
    with expect_error(ImageFormatError, "TIFF"):
        decode(double, formats=("PNG",))


def test_a_bitmap_without_a_header_and_a_grey_map_of_floats_are_read():
    assert (prepare(encode(FRAMES[0], "DIB"), form(3)).pixels == np.asarray(FRAMES[0])).all()
    grey = b"Pf\n30 20\n-1.0\n" + np.ascontiguousarray(RAMP[::-1]).astype("<f4").tobytes()
    assert np.abs(prepare(grey, form()).pixels[..., 0] - STEPS).max() <= 1


def test_a_transparent_colour_of_sixteen_bits_is_transparent():
    values = random(16, 3)
    values[5, 7] = (1000, 2000, 3000)
    prepared = prepare(png(values, struct.pack(">HHH", 1000, 2000, 3000)), form(3))
    assert prepared.pixels[5, 7].tolist() == [255, 255, 255]
    assert prepared.steps[-1] == "transparency over white"


def test_an_image_prepared_with_the_range_that_was_guessed_is_the_same():
    for source in (png(random(12, 3)), encode(Image.fromarray(RNG.random((HEIGHT, WIDTH), np.float32)), "TIFF")):
        guessed = prepare(source, form(3))
        known = prepare(source, form(3, value_range=value_range(guessed.original.span)))
        assert (known.pixels == guessed.pixels).all()


FRAMES = [Image.fromarray(RNG.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)) for _ in range(3)]
SEQUENCES = {
    "GIF": "first of several frames",
    "TIFF": "first of several pages",
    "PNG": "first of 3 frames",
    "WEBP": "first of 3 frames",
    "MPO": "first of 3 frames",
    **({"AVIF": "first of 3 frames"} if "AVIF" in FORMATS else {}),
}


@pytest.mark.parametrize("kind", SEQUENCES)
def test_the_first_of_several_frames_is_taken_and_said(kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    several = prepare(encode(FRAMES[0], kind, save_all=True, append_images=FRAMES[1:], **options), form(3))
    assert several.steps[0] == SEQUENCES[kind]
    assert several.original.first_of_frames
    alone = prepare(encode(FRAMES[0], kind, **options), form(3))
    assert not any("frame" in step or "page" in step for step in alone.steps)
    assert not alone.original.first_of_frames
    assert np.abs(several.pixels.astype(int) - alone.pixels).mean() < 10, "noise of another frame differs by 85"


def test_a_damaged_second_frame_leaves_the_first_one_readable():
    content = encode(FRAMES[0], "GIF", save_all=True, append_images=FRAMES[1:])
    second = content.index(b"!\xf9", content.index(b"!\xf9") + 2)
    image, steps = decode(content[: second + 12])
    assert image.size == (WIDTH, HEIGHT)
    assert steps[0] == "first of several frames"


def test_every_format_has_its_endings():
    for suffix in (".jfif", ".jpe", ".jif", ".dib", ".apng", ".webp", ".tiff", ".pnm"):
        assert suffix in SUFFIXES
    assert (".avif" in SUFFIXES) == ("AVIF" in FORMATS) == features.check("avif")
    known = Image.registered_extensions()
    assert not {suffix for suffix in SUFFIXES if known.get(suffix, "JPEG") not in {*FORMATS, "DIB", "MPO"}}
    assert not SUFFIXES & CONVERTIBLE


def test_what_is_not_read_is_said_with_the_way_to_convert_it():
    assert how_to_convert([".heic"]) == (
        "cnnkit does not read .heic files. Convert them to JPEG first, for example with ImageMagick: "
        "magick mogrify -format jpg DIR/*.heic"
    )
    assert "read .cr2, .dng and .heic files" in how_to_convert({".heic", ".dng", ".cr2"})
    assert how_to_convert([".heic", ".dng"]).endswith("jpg DIR/*.dng DIR/*.heic")


@pytest.mark.parametrize("brands", [b"heic", b"heix", b"mif1", b"msf1", b"mif1\0\0\0\0heic"])
def test_a_heic_image_is_told_from_its_bytes(brands, tmp_path):
    box = b"ftyp" + brands[:4] + (brands[4:] or bytes(4))
    path = tmp_path / "photo.jpg"
    path.write_bytes(struct.pack(">I", len(box) + 4) + box + bytes(100))
    for source in (path, path.read_bytes()):
        with expect_error(ImageFormatError, "HEIC", ".heic"):
            decode(source)

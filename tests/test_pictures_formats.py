"""From the bytes of a file to an upright grey or RGB image: the same digit is the same pixels in every format."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from cnnkit.images import Preprocessing, prepare
from cnnkit.pictures import decode

DATA = Path(__file__).parent / "data"
BOX = Preprocessing(1, 28, 28, (0.0,), (1.0,), "mnist-box", "light-on-dark")

# A drawn digit, antialiased, and not square so that a turned image is noticed.
GREY = Image.open(DATA / "drawings" / "5" / "000.png").convert("L").resize((44, 36), Image.Resampling.BILINEAR)
INK = ImageOps.invert(ImageOps.autocontrast(GREY if np.median(np.asarray(GREY)) > 127 else ImageOps.invert(GREY)))
PAPER = ImageOps.invert(INK)
BILEVEL = PAPER.point(lambda value: 255 * (value > 127))
COLOUR = Image.merge("RGB", (PAPER, PAPER.point(lambda value: value // 2 + 60), INK))
DEEP = Image.fromarray(np.asarray(PAPER).astype(np.uint16) * 257)
OPAQUE = Image.new("L", PAPER.size, 255)


def encode(image, form, **options):
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def pixels(source):
    """Decode, check that the mode is one of two, and return the pixels as int."""
    image, _ = decode(source)
    assert image.mode in {"L", "RGB"}
    return np.asarray(image, int)


def grey(source):
    image, _ = decode(source)
    return np.asarray(image.convert("L"), int)


def orient(image, orientation):
    """Return the image as a camera stores it that says "turn it by this EXIF orientation"."""
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    return image.transpose(undo[orientation]) if orientation in undo else image, exif


with_alpha = Image.merge("RGBA", (*[Image.new("L", INK.size, 0)] * 3, INK))
EXACT = {
    "PNG": encode(PAPER, "PNG"),
    "PNG RGB": encode(PAPER.convert("RGB"), "PNG"),
    "PNG palette": encode(PAPER.convert("P"), "PNG"),
    "PNG 16-bit": encode(DEEP, "PNG"),
    "PNG LA, opaque": encode(Image.merge("LA", (PAPER, OPAQUE)), "PNG"),
    "PNG RGBA, opaque": encode(Image.merge("RGBA", (PAPER, PAPER, PAPER, OPAQUE)), "PNG"),
    "WebP lossless": encode(PAPER, "WEBP", lossless=True),
    "BMP": encode(PAPER, "BMP"),
    "BMP RGB": encode(PAPER.convert("RGB"), "BMP"),
    "GIF": encode(PAPER, "GIF"),
    "GIF of two frames": encode(PAPER, "GIF", save_all=True, append_images=[INK]),
    "TIFF": encode(PAPER, "TIFF"),
    "TIFF compressed": encode(PAPER, "TIFF", compression="tiff_lzw"),
    "TIFF 16-bit": encode(DEEP, "TIFF"),
    "TIFF float 0-1": encode(Image.fromarray(np.asarray(PAPER, np.float32) / 255), "TIFF"),
    "TIFF float 0-255": encode(Image.fromarray(np.asarray(PAPER, np.float32)), "TIFF"),
    "PGM": encode(PAPER, "PPM"),
    "PGM 16-bit": encode(DEEP, "PPM"),
    "PPM": encode(PAPER.convert("RGB"), "PPM"),
}
EXACT |= {
    f"{form} turned, orientation {number}": encode(turned, form, exif=exif)
    for form in ("PNG", "TIFF")
    for number in range(1, 9)
    for turned, exif in [orient(PAPER, number)]
}
CLOSE = {
    "JPEG": (encode(PAPER, "JPEG", quality=95), 3),
    "JPEG RGB": (encode(PAPER.convert("RGB"), "JPEG", quality=95), 3),
    "JPEG progressive": (encode(PAPER, "JPEG", quality=95, progressive=True), 3),
    "JPEG CMYK": (encode(PAPER.convert("RGB").convert("CMYK"), "JPEG", quality=95), 4),
    "WebP": (encode(PAPER, "WEBP", quality=95), 4),
    "PNG RGBA, black ink on transparency": (encode(with_alpha, "PNG"), 0.5),
    "WebP RGBA, black ink on transparency": (encode(with_alpha, "WEBP", lossless=True), 0.5),
    "PNG LA, black ink on transparency": (encode(Image.merge("LA", (Image.new("L", INK.size), INK)), "PNG"), 0.5),
}
CLOSE |= {
    f"JPEG turned, orientation {number}": (encode(turned, "JPEG", quality=95, exif=exif), 3)
    for number in range(1, 9)
    for turned, exif in [orient(PAPER, number)]
}
TWO_COLOURS = BILEVEL.convert("P", palette=Image.Palette.ADAPTIVE, colors=2)
CLEAR = next(
    i for i in range(2) if TWO_COLOURS.convert("L").getpixel((0, 0)) == 255 and TWO_COLOURS.getpixel((0, 0)) == i
)
BILEVELS = {
    "PNG 1-bit": encode(BILEVEL.convert("1"), "PNG"),
    "PBM": encode(BILEVEL.convert("1"), "PPM"),
    "BMP 1-bit": encode(BILEVEL.convert("1"), "BMP"),
    "TIFF fax": encode(BILEVEL.convert("1"), "TIFF", compression="group4"),
    "GIF": encode(BILEVEL, "GIF"),
    "PNG palette of two": encode(TWO_COLOURS, "PNG"),
    "PNG palette, paper transparent": encode(TWO_COLOURS, "PNG", transparency=CLEAR),
    "GIF palette, paper transparent": encode(TWO_COLOURS, "GIF", transparency=CLEAR),
    "PNG grey, white transparent": encode(BILEVEL, "PNG", transparency=255),
    "PNG RGB, white transparent": encode(BILEVEL.convert("RGB"), "PNG", transparency=(255, 255, 255)),
}
COLOURS = {
    "PNG": encode(COLOUR, "PNG"),
    "PNG RGBA": encode(Image.merge("RGBA", (*COLOUR.split(), OPAQUE)), "PNG"),
    "WebP": encode(COLOUR, "WEBP", lossless=True),
    "BMP": encode(COLOUR, "BMP"),
    "TIFF": encode(COLOUR, "TIFF"),
    "PPM": encode(COLOUR, "PPM"),
    "TIFF CMYK": encode(ImageOps.invert(COLOUR).convert("RGBA").convert("RGB").convert("CMYK"), "TIFF"),
}


@pytest.mark.parametrize("name", EXACT)
def test_a_lossless_format_gives_the_same_pixels(name):
    assert (grey(EXACT[name]) == np.asarray(PAPER)).all()
    assert (prepare(EXACT[name], BOX).pixels == prepare(PAPER, BOX).pixels).all()


@pytest.mark.parametrize("name", CLOSE)
def test_a_lossy_format_gives_nearly_the_same_pixels(name):
    data, tolerated = CLOSE[name]
    found = grey(data)
    assert found.shape == (36, 44)
    assert np.abs(found - np.asarray(PAPER, int)).mean() <= tolerated


@pytest.mark.parametrize("name", BILEVELS)
def test_black_and_white_is_the_same_in_every_format(name):
    assert (grey(BILEVELS[name]) == np.asarray(BILEVEL)).all()


@pytest.mark.parametrize("name", COLOURS)
def test_colours_are_the_same_in_every_lossless_format(name):
    expected = ImageOps.invert(COLOUR) if "CMYK" in name else COLOUR
    assert (pixels(COLOURS[name]) == np.asarray(expected)).all()


def test_white_ink_on_transparency_is_seen_as_well_as_black_ink():
    light = Image.merge("RGBA", (*[OPAQUE] * 3, INK))
    image, steps = decode(encode(light, "PNG"))
    assert steps == ["transparency over black"]
    assert np.abs(np.asarray(image.convert("L"), int) - np.asarray(INK)).max() <= 1
    same = prepare(with_alpha, BOX).pixels.astype(int) - prepare(light, BOX).pixels
    assert np.abs(same).max() <= 3


def test_what_nobody_can_see_on_any_paper_is_blank():
    nothing = Image.merge("RGBA", (INK, INK, INK, Image.new("L", INK.size, 0)))
    assert not prepare(encode(nothing, "PNG"), BOX).pixels.any()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("PNG 16-bit", ["16-bit to 8-bit, range 0–65535"]),
        ("TIFF float 0-1", ["float to 8-bit, range 0–1 guessed from this image"]),
        ("PNG palette", ["palette to RGB"]),
        ("PNG", []),
        ("PNG turned, orientation 1", []),
        ("PNG turned, orientation 6", ["turned upright by its EXIF orientation"]),
        ("PNG turned, orientation 3", ["turned upright by its EXIF orientation"]),
    ],
)
def test_what_was_done_on_the_way_is_said(name, said):
    assert decode(EXACT[name])[1] == said


@pytest.mark.parametrize("number", [0, 9, 65535])
def test_an_orientation_that_means_nothing_turns_nothing_and_says_nothing(number):
    turned, exif = orient(PAPER, number)
    image, steps = decode(encode(turned, "PNG", exif=exif))
    assert image.size == PAPER.size
    assert steps == []

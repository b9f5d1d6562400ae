"""From an image to the pixels that a network sees: fit, polarity, and the same for files, images and arrays."""

import io
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms.functional import center_crop, resize

from cnnkit.cautions import Caution
from cnnkit.errors import ImageError
from cnnkit.images import Preprocessing, prepare, prepare_arrays
from cnnkit.resampling import resized
from tests.expecting import expect_error

DATA = Path(__file__).parent / "data"
FITS = ("stretch", "contain", "cover")


def form(channels=1, height=28, width=28, fit="stretch", polarity="as-is", crop=1.0):
    return Preprocessing(channels, height, width, (0.0,) * channels, (1.0,) * channels, fit, polarity, crop)


BOX = form(fit="mnist-box", polarity="light-on-dark")


def scene(width, height, paper=(200, 180, 40)):
    """Draw a plain picture with a red mark at each end of its longer side and a square in the middle."""
    pixels = np.full((height, width, 3), paper, np.uint8)
    side = min(width, height) // 2
    top, left = (height - side) // 2, (width - side) // 2
    pixels[top : top + side, left : left + side] = (0, 60, 200)
    mark = max(width, height) // 16
    for place in (slice(mark, 2 * mark), slice(-2 * mark, -mark)):
        rows, columns = (slice(top, top + side), place) if width > height else (place, slice(left, left + side))
        pixels[rows, columns] = (250, 0, 0)
    return pixels


def extent(mask):
    """Return the height and width of what is marked."""
    where = np.argwhere(mask)
    return tuple(int(v) for v in where.max(0) - where.min(0) + 1)


@pytest.mark.parametrize("size", [(320, 80), (80, 320), (96, 64)])
def test_contain_keeps_everything_and_the_aspect_ratio(size):
    prepared = prepare(scene(*size), form(3, 64, 64, "contain"))
    pixels = prepared.pixels.astype(int)
    red, blue = (pixels[..., 0] - pixels[..., 2]) > 170, (pixels[..., 2] - pixels[..., 0]) > 100
    half = red.any(1) if size[1] > size[0] else red.any(0)
    assert half[:16].any(), "the mark at one end is there"
    assert half[-16:].any(), "and the one at the other end"
    height, width = extent(blue)
    assert height == pytest.approx(width, abs=1), "a square stays a square"
    assert prepared.steps == (f"contain from {size[0]}×{size[1]} to 64×64",)


@pytest.mark.parametrize("size", [(320, 80), (80, 320)])
@pytest.mark.parametrize("paper", [(200, 180, 40), (0, 0, 0), (255, 255, 255)])
def test_contain_pads_with_the_colour_of_the_border(size, paper):
    pixels = prepare(scene(*size, paper=paper), form(3, 64, 64, "contain")).pixels
    added = (
        np.concatenate([pixels[:23], pixels[-23:]]) if size[0] > size[1] else pixels[:, [*range(23), *range(-23, 0)]]
    )
    assert (added == paper).all()


def test_contain_pads_grey_images_with_their_grey():
    pixels = prepare(np.full((10, 40), 77, np.uint8), form(fit="contain")).pixels
    assert (pixels == 77).all()


def test_stretch_fills_everything_and_keeps_nothing_of_the_aspect_ratio():
    left = np.zeros((20, 200, 3), np.uint8)
    left[:10, :100] = (255, 0, 0)
    pixels = prepare(left, form(3, 32, 32)).pixels
    assert (pixels[:14, :14] == (255, 0, 0)).all()
    assert not pixels[18:].any()
    assert not pixels[:, 18:].any()


@pytest.mark.parametrize("size", [(320, 240), (240, 320), (500, 100), (256, 256), (60, 45)])
@pytest.mark.parametrize("crop", [1.0, 0.875, 0.5])
def test_cover_is_the_published_evaluation_on_imagenet(size, crop):
    x, y = np.meshgrid(np.linspace(0, 255, size[0]), np.linspace(0, 255, size[1]))
    image = Image.fromarray(np.stack([x, y, (x + y) / 2], -1).astype(np.uint8))
    # Shorter side to 64 / crop, then the centre.
    shorter = 64 / crop
    scale = shorter / min(size)
    resized = image.resize((round(size[0] * scale), round(size[1] * scale)), Image.Resampling.BILINEAR)
    left, top = (resized.width - 64) / 2, (resized.height - 64) / 2
    expected = np.asarray(resized.crop((round(left), round(top), round(left) + 64, round(top) + 64)), int)
    found = prepare(image, form(3, 64, 64, "cover", crop=crop)).pixels
    # They differ by the rounding of the crop to whole pixels.
    assert np.abs(found - expected).mean() < 2
    assert np.abs(prepare(image, form(3, 64, 64, "cover", crop=crop - 0.1)).pixels - expected).mean() > 2


RESIZED = replace(form(3, 24, 24, "cover"), resize=27)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(width=st.integers(1, 200), height=st.integers(1, 200), margin=st.integers(0, 12), seed=st.integers(0, 99))
def test_resize_is_torchvisions_resize_and_centre_crop(width, height, margin, seed):
    image = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))
    wanted = replace(RESIZED, resize=24 + margin, interpolation="bicubic" if seed % 2 else "bilinear")
    sides = resize(image, [wanted.resize]).size
    # Pillow itself chooses the order of the two passes; see `cnnkit.resampling`.
    whole = resized(image, sides, Image.Resampling[wanted.interpolation.upper()])
    expected = np.asarray(center_crop(whole, [24]), int)
    assert np.abs(prepare(image, wanted).pixels - expected).max() <= 1


@pytest.mark.parametrize("size", [(1, 50_000), (40_000, 3), (1, 1), (2, 33_000)])
def test_resize_of_a_narrow_image_needs_no_memory_and_keeps_its_colour(size):
    assert (prepare(Image.new("L", size, 77), RESIZED).pixels == 77).all()


def test_the_steps_say_what_an_image_was_resized_to_and_what_is_left():
    assert prepare(np.zeros((40, 60, 3), np.uint8), RESIZED).steps == (
        "cover from 60×40: resized to 40×27, centre of 24×24",
    )
    prepared = prepare(np.zeros((40, 160, 3), np.uint8), RESIZED)
    assert prepared.steps == ("cover from 160×40: resized to 108×27, centre of 24×24, 20% of the picture kept",)
    assert isinstance(prepared.steps[0], Caution)
    assert prepared.original.kept == pytest.approx(24 * 24 / (108 * 27))


def test_another_size_of_the_input_keeps_the_share_of_the_crop():
    wider = RESIZED.resized_to(24, 48)
    assert (wider.height, wider.width, wider.resize, wider.crop) == (24, 48, None, 24 / 27)
    assert RESIZED.resized_to(24, 24) is RESIZED
    assert form(fit="cover").resized_to(10, 10) == form(1, 10, 10, "cover")


def test_cover_takes_the_centre_exactly():
    pixels = np.zeros((40, 120), np.uint8)
    pixels[:, 40:80] = 200
    assert (prepare(pixels, form(1, 40, 40, "cover")).pixels == 200).all()
    pixels[:5] = pixels[-5:] = pixels[:, :45] = pixels[:, 75:] = 9
    assert (prepare(pixels, form(1, 30, 30, "cover", crop=0.75)).pixels == 200).all()


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("polarity", ["as-is", "light-on-dark", "dark-on-light"])
@pytest.mark.parametrize("light", [True, False])
@pytest.mark.parametrize("channels", [1, 3])
def test_polarity_inverts_what_is_the_other_way_round(fit, polarity, light, channels):
    drawing = np.full((50, 50), 20 if light else 235, np.uint8)
    drawing[20:30, 10:40] = 235 if light else 20
    prepared = prepare(drawing, form(channels, 25, 25, fit, polarity))
    inverted = polarity == ("dark-on-light" if light else "light-on-dark")
    assert prepared.pixels[12, 12, 0] == (235 if light != inverted else 20)
    assert prepared.pixels[0, 0, -1] == (20 if light != inverted else 235)
    assert ("inverted" in prepared.steps) is inverted


def test_polarity_is_judged_by_the_border_that_a_crop_takes_away():
    drawing = np.full((60, 60), 255, np.uint8)
    drawing[12:48, 12:48] = 0
    pixels = prepare(drawing, form(1, 20, 20, "cover", "light-on-dark", crop=0.5)).pixels
    assert (pixels == 255).all()


@pytest.mark.parametrize("fit", FITS)
def test_an_image_of_the_right_form_passes_unchanged(fit):
    image = np.random.default_rng(0).integers(0, 256, (30, 20, 3), np.uint8)
    prepared = prepare(image, form(3, 30, 20, fit))
    assert (prepared.pixels == image).all()
    assert prepared.steps == ()


def test_colour_becomes_grey_by_luminance_and_grey_becomes_three_equal_channels():
    colours = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    prepared = prepare(colours, form(1, 1, 3))
    assert prepared.pixels.ravel().tolist() == [76, 150, 29]
    assert prepared.steps == ("colour to grey",)
    assert prepare(prepared.pixels, form(3, 1, 3)).pixels.tolist() == [[[76] * 3, [150] * 3, [29] * 3]]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    size=st.tuples(st.integers(1, 400), st.integers(1, 400)),
    fit=st.sampled_from(FITS),
    target=st.tuples(st.sampled_from([1, 3]), st.integers(1, 40), st.integers(1, 40)),
    crop=st.floats(0, 1, exclude_min=True),
    polarity=st.sampled_from(["as-is", "light-on-dark", "dark-on-light"]),
)
def test_every_size_gives_the_size_of_the_network(size, fit, target, crop, polarity):
    image = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
    wanted = form(*target, fit, polarity, crop)
    pixels = prepare(image, wanted).pixels
    assert pixels.shape == wanted.shape
    assert pixels.dtype == np.uint8


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (1, 100), (100, 1), (1, 4000), (4000, 1), (1, 70_000), (2, 5000)])
@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("polarity", ["as-is", "light-on-dark", "dark-on-light"])
def test_narrow_images_keep_their_content(size, fit, channels, polarity):
    plain = np.full((*size, 3), 90, np.uint8)
    for target in [(28, 28), (1, 40), (40, 1)]:
        for crop in (1.0, 0.5, 1e-9):
            pixels = prepare(plain, form(channels, *target, fit, polarity, crop)).pixels
            assert (pixels == pixels[0, 0]).all()
    halves = np.zeros((*size, 3), np.uint8)
    halves.reshape(-1, 3)[halves.size // 6 :] = 255
    if min(size) == 1 and max(size) > 50 and fit == "contain" and polarity == "as-is":
        line = prepare(halves, form(channels, 28, 28, fit)).pixels
        line = line[:, 13:15] if size[0] > size[1] else line[13:15]
        assert line.min() == 0
        assert line.max() == 255


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (1, 100), (100, 1), (1, 4000), (4000, 1), (1, 28), (28, 1)])
@pytest.mark.parametrize("polarity", ["as-is", "light-on-dark"])
def test_narrow_drawings_are_boxed(size, polarity):
    for values in (np.full(size, 90), np.random.default_rng(0).integers(0, 256, size)):
        pixels = prepare(values.astype(np.uint8), form(fit="mnist-box", polarity=polarity)).pixels
        assert pixels.shape == (28, 28, 1)


def test_the_longest_image_is_resized_in_moderate_memory():
    assert (prepare(Image.new("L", (49_999_999, 1), 77), form(3, 32, 32, "cover", crop=0.9)).pixels == 77).all()


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(("fit", "crop"), [("contain", 1.0), ("cover", 1.0), ("cover", 0.5)])
def test_the_longest_images_keep_their_aspect_ratio(fit, crop, turned):
    wide = np.zeros((400, 40_000, 3), np.uint8)
    wide[150:250, 19_950:20_050] = 255  # a square
    pixels = prepare(wide.transpose(1, 0, 2) if turned else wide, form(1, 400, 400, fit, crop=crop)).pixels[..., 0]
    height, width = extent(pixels > pixels.max() / 2)
    assert height == pytest.approx({"contain": 1, "cover": 100 / crop}[fit], abs=1)
    assert width == pytest.approx(height, abs=1)


def test_how_much_of_a_picture_is_kept_is_said_where_it_is_little():
    wide = np.zeros((100, 500), np.uint8)
    assert prepare(wide, form(fit="cover")).steps == ("cover from 500×100 to 28×28, 20% of the picture kept",)
    assert prepare(wide, form(fit="cover")).original.kept == pytest.approx(0.2)
    assert prepare(wide[:, :150], form(fit="cover")).steps == ("cover from 150×100 to 28×28",)
    assert (
        prepare(np.zeros((1, 5000), np.uint8), form(fit="cover")).steps[-1].endswith("less than 1% of the picture kept")
    )
    assert prepare(wide[:28, :28], form(fit="cover", crop=0.5)).original.kept == pytest.approx(0.25)
    for fit in ("contain", "stretch"):
        assert prepare(wide, form(fit=fit)).original.kept == 1


@pytest.mark.parametrize(("mode", "word"), [("L", "grey"), ("RGB", "RGB"), ("1", "black and white"), ("P", "palette")])
def test_what_an_image_was_is_told(mode, word):
    original = prepare(Image.new(mode, (7, 5)), form()).original
    assert (original.width, original.height, original.mode) == (7, 5, word)
    assert (original.span, original.first_of_frames, original.kept) == (None, False, 1.0)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"interpolation": "cubic"}, "'cubic'"),
        ({"value_range": (5, 5)}, "value_range"),
        ({"value_range": (0, float("inf"))}, "value_range"),
    ],
)
def test_an_interpolation_or_a_range_that_means_nothing_is_refused(changes, name):
    with expect_error(ValueError, name):
        Preprocessing(1, 28, 28, (0.0,), (1.0,), **changes)


@pytest.mark.parametrize(
    "array",
    [np.zeros((4, 4)), np.zeros((4, 4, 2), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros(4, np.uint8)],
    ids=["float", "two channels", "four channels", "one dimension"],
)
def test_an_array_of_another_kind_is_refused_by_its_type_and_shape(array):
    with expect_error(ImageError, "uint8", array.dtype):
        prepare(array, form())


def test_an_array_without_pixels_is_refused():
    with expect_error(ImageError):
        prepare(np.zeros((0, 4), np.uint8), form())


def png(**changes):
    file = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(file, "PNG")
    return io.BytesIO(file.getvalue()[:1500])


BAD = {
    "truncated, not yet loaded": lambda: Image.open(png()),
    "without pixels": lambda: Image.new("L", (0, 4)),
    "of a mode that has no grey": lambda: Image.new("La", (4, 4)),
    "None": lambda: None,
    "a list": lambda: [[1, 2], [3, 4]],
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_image_from_the_caller_is_an_image_error_too(name):
    with pytest.raises(ImageError):
        prepare(BAD[name](), form())


ARRAYS = [
    (shape, target)
    for shape in [(5, 28, 28), (3, 28, 28, 1), (3, 28, 28, 3), (3, 32, 40, 3), (0, 28, 28)]
    for target in [
        *(form(channels, 28, 28, fit) for channels in (1, 3) for fit in FITS),
        form(3, 28, 28, "cover", crop=0.875),
        replace(form(3, 28, 28, "cover"), resize=30),
        form(1, 28, 28, "contain", "light-on-dark"),
        form(3, 28, 28, "contain", "dark-on-light"),
        BOX,
    ]
]


@pytest.mark.parametrize(("shape", "target"), ARRAYS, ids=str)
def test_arrays_are_prepared_as_one_by_one(shape, target):
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    images[:, 8:20, 8:14] = 255
    images[2:3] //= 3
    found = prepare_arrays(images, target)
    expected = [prepare(image, target).pixels for image in images]
    assert found.shape == (len(images), *target.shape)
    assert all((one == other).all() for one, other in zip(found, expected, strict=True))


@pytest.mark.parametrize("recolour", ["as-is", "light-on-dark"])
def test_boxed_and_raw_drawings_are_prepared_together_as_one_by_one(recolour):
    target = form(fit="mnist-box", polarity=recolour)
    raw = np.zeros((6, 28, 28), np.uint8)
    for index in range(6):
        raw[index, 3 : 9 + 3 * index, 5 + index : 8 + 2 * index] = 200
    raw[1] = 255 - raw[1]
    mixed = np.concatenate([raw, [prepare(image, BOX).pixels[..., 0] for image in raw]])
    kept = mixed.copy()
    found = prepare_arrays(mixed, target)
    assert (found == np.stack([prepare(image, target).pixels for image in mixed])).all()
    assert (mixed == kept).all(), "the caller's arrays are left as they were"


def made(name):
    y, x = np.mgrid[:30, :90]
    if name == "wide":
        return np.stack([x * 2, y * 8, (x + y) % 64 * 4], -1).astype(np.uint8)
    return Image.fromarray(((y + 3 * x).T * 200).astype(np.uint16))


GOLDEN_IMAGES = ["2/000.png", "2/009.png", "3/000.png", "0/003.jpg", "wide", "deep"]
GOLDEN_FORMS = {
    "mnist-box": BOX,
    "contain": form(3, 32, 32, "contain"),
    "cover": form(3, 24, 40, "cover", crop=0.875),
    "stretch": form(1, 28, 28, "stretch", "dark-on-light"),
}


@pytest.mark.parametrize("fit", GOLDEN_FORMS)
@pytest.mark.parametrize("name", GOLDEN_IMAGES)
def test_the_pixels_are_those_of_the_golden_files(name, fit):
    source = DATA / "drawings" / name if "/" in name else made(name)
    found = prepare(source, GOLDEN_FORMS[fit]).pixels
    path = DATA / "golden_pixels" / f"{name.replace('/', '-').partition('.')[0]}-{fit}.png"
    if os.environ.get("CNNKIT_UPDATE_GOLDEN") == "1":
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(found if found.shape[2] == 3 else found[..., 0]).save(path)
    assert path.is_file(), f"{path.name} is missing; CNNKIT_UPDATE_GOLDEN=1 writes it"
    golden = np.asarray(Image.open(path), int).reshape(found.shape)
    # Decoders and resamplers of other versions may round otherwise.
    assert np.abs(found - golden).max() <= 1

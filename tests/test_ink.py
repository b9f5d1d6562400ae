"""Drawings of one symbol, and the box that MNIST's digits stand in."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFilter

from cnnkit import ink
from cnnkit.images import Preprocessing, prepare

REPOSITORY = Path(__file__).parent.parent
DRAWINGS = sorted((REPOSITORY / "tests" / "data" / "drawings").glob("*/*.*"))
MNIST = REPOSITORY.parent / "shared" / "data" / "MNIST" / "raw"
FORM = Preprocessing(1, 28, 28, (0.0,), (1.0,), "mnist-box", "light-on-dark")
WHITE, BLACK = (255, 255, 255), (0, 0, 0)
TWO = ((4, 18), (12, 4), (30, 0), (46, 10), (46, 28), (30, 48), (2, 76), (54, 76))


def draw(*, side=160, at=(50, 40), scale=1.0, pen=10.0, paper=WHITE, colour=BLACK):
    """Draw an antialiased 2 of 54×76 pixels; uint8 [side, side, 3]."""
    fine = 4
    canvas = Image.new("L", (side * fine, side * fine))
    pencil = ImageDraw.Draw(canvas)
    points = [((at[0] + x * scale) * fine, (at[1] + y * scale) * fine) for x, y in TWO]
    width = pen * scale * fine
    pencil.line(points, fill=255, width=round(width), joint="curve")
    for x, y in (points[0], points[-1]):
        pencil.ellipse([x - width / 2, y - width / 2, x + width / 2, y + width / 2], fill=255)
    share = np.asarray(canvas.reduce(fine), np.float64)[..., None] / 255
    return np.round(np.array(paper) * (1 - share) + np.array(colour) * share).astype(np.uint8)


def difference(first, second):
    """Return the mean difference in grey levels, at the best of the shifts by at most one pixel."""
    shifted = (np.roll(first.astype(int), (y, x), (0, 1)) for y in (-1, 0, 1) for x in (-1, 0, 1))
    return min(np.abs(s - second).mean() for s in shifted)


def boxed(image, *, recolour=True):
    return ink.box(image, recolour=recolour)[0]


REFERENCE = boxed(draw())


def centre_of_mass(box):
    y, x = np.mgrid[:28, :28]
    return (box * y).sum() / box.sum(), (box * x).sum() / box.sum()


def test_the_box_is_20_pixels_with_the_centre_of_mass_in_the_middle_on_black():
    marked = np.argwhere(REFERENCE)
    assert REFERENCE.shape == ink.SHAPE
    assert REFERENCE.dtype == np.uint8
    assert (marked.max(0) - marked.min(0) + 1).max() == 20
    assert centre_of_mass(REFERENCE) == pytest.approx((14, 14), abs=0.5)
    assert REFERENCE.max() == 255
    # 54×76 and the width of the pen: the aspect ratio is kept.
    assert (marked.max(0) - marked.min(0) + 1)[1] == pytest.approx(20 * 64 / 86, abs=1)


MARGINS = ((30, 10), (200, 5), (0, 0))
SAME = {
    "moved": (draw(at=(90, 70)), 0),
    "moved into the corner": (draw(at=(10, 8)), 0),
    "colours inverted": (255 - draw(), 0),
    "grey": (draw()[..., 0], 0),
    "margins added": (np.pad(draw(), MARGINS, constant_values=255), 0),
    "pencil": (draw(colour=(180, 180, 180)), 0.1),
    "light blue on dark blue": (draw(paper=(0, 0, 90), colour=(90, 150, 255)), 0.1),
    "green on red of equal luminance": (draw(paper=(200, 60, 60), colour=(60, 133, 60)), 0.1),
    "twice as large": (draw(side=320, at=(100, 80), scale=2), 4),
    "four times as large": (draw(side=640, at=(200, 160), scale=4), 4),
    "pixels doubled": (draw().repeat(2, 0).repeat(2, 1), 4),
    "half as large": (draw(side=80, at=(25, 20), scale=0.5), 10),
    "a quarter of the side": (np.pad(draw(), ((240, 240), (240, 240), (0, 0)), constant_values=255), 12),
    "thin": (draw(pen=2), 12),
    "hairline on a large canvas": (draw(side=1600, at=(500, 400), scale=10, pen=0.3), 12),
}


@pytest.mark.parametrize("name", SAME)
def test_the_same_drawing_made_otherwise_gives_nearly_the_same_box(name):
    image, tolerated = SAME[name]
    assert difference(boxed(image), REFERENCE) <= tolerated


def test_the_tolerances_would_notice_another_drawing():
    assert difference(np.fliplr(REFERENCE), REFERENCE) > 20
    assert difference(np.flipud(REFERENCE), REFERENCE) > 20


@pytest.mark.parametrize("darkest", [150, 180, 210])
@pytest.mark.parametrize("slope", [(0.6, 0.4), (-0.5, 0.5), (0, 1), (1, 0)])
def test_uneven_light_does_not_count_as_ink(darkest, slope):
    y, x = np.mgrid[:160, :160] / 160 - 0.5
    light = (darkest + 255) / 2 + (255 - darkest) * (slope[0] * x + slope[1] * y)
    image = np.round(draw(colour=(40, 40, 60)) * light[..., None] / 255).astype(np.uint8)
    assert difference(boxed(image), REFERENCE) <= 8


def test_noise_of_a_camera_does_not_count_as_ink():
    noise = np.random.default_rng(0).normal(0, 6, (160, 160, 1))
    image = np.clip(draw(paper=(230, 230, 230), colour=(30, 30, 30)) + noise, 0, 255).astype(np.uint8)
    assert difference(boxed(image), REFERENCE) <= 2


def test_without_recolouring_only_what_is_lighter_is_ink():
    light = draw(paper=BLACK, colour=WHITE)
    assert difference(boxed(light, recolour=False), REFERENCE) <= 0.1
    assert not boxed(draw(), recolour=False).any()


@pytest.mark.parametrize("shape", [(28, 28), (1, 1), (1, 60), (60, 1), (2, 2), (100, 100), (50, 40, 3), (1000, 900)])
@pytest.mark.parametrize("value", [0, 7, 128, 255])
@pytest.mark.parametrize("recolour", [True, False])
def test_a_constant_image_is_blank_and_says_so(shape, value, recolour):
    box, steps = ink.box(np.full(shape, value, np.uint8), recolour=recolour)
    assert not box.any()
    assert box.shape == ink.SHAPE
    assert steps == ["blank: nothing is drawn on it"]


def test_a_shadow_over_blank_paper_is_blank():
    y, x = np.mgrid[:120, :90]
    assert not boxed((250 - 0.7 * x - 0.4 * y).astype(np.uint8)).any()


@pytest.mark.parametrize("side", [28, 100, 399])
def test_a_dot_of_one_pixel_fills_the_box(side):
    image = np.full((side, side), 255, np.uint8)
    image[side // 3, side // 4] = 0
    box = boxed(image)
    assert (box[4:24, 4:24] == 255).all()
    assert box.sum() == 400 * 255


@pytest.mark.parametrize("pen", [1, 2, 3])
def test_thin_strokes_are_thickened_to_what_mnist_has(pen):
    box, steps = ink.box(draw(pen=pen), recolour=True)
    assert "thin strokes thickened" in steps
    # MNIST's digits cover about a fifth of their 28×28 pixels.
    assert (box > 127).mean() >= 0.6 * (REFERENCE > 127).mean()


def test_broad_strokes_are_left_alone():
    assert "thin strokes thickened" not in ink.box(draw(pen=14), recolour=True)[1]


@pytest.mark.parametrize(
    ("paper", "colour", "light"),
    [(0, 255, True), (255, 0, False), (100, 130, True), (130, 100, False), (9, 9, True)],
)
def test_light_ink_is_told_from_dark_ink(paper, colour, light):
    assert ink.is_light_on_dark(draw(paper=(paper,) * 3, colour=(colour,) * 3)[..., 0]) is light


def test_boxing_what_is_boxed_changes_nothing_for_any_of_the_drawings():
    boxes = np.stack([prepare(path, FORM).pixels[..., 0] for path in DRAWINGS])
    assert len(boxes) == 200
    assert ink.is_boxed(boxes).all()
    for box in boxes:
        again, steps = ink.box(box, recolour=True)
        assert (again == box).all()
        assert steps == []


stroke = st.tuples(st.tuples(*[st.floats(0, 1)] * 4), st.floats(0.005, 0.25))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    size=st.tuples(st.integers(8, 150), st.integers(8, 150)),
    strokes=st.lists(stroke, min_size=1, max_size=4),
    paper=st.integers(0, 255),
    contrast=st.integers(60, 195),
)
@example(size=(217, 207), strokes=[((0.3226, 0.401, 0.4885, 0.9179), 0.0532)], paper=255, contrast=1)
@example(size=(112, 35), strokes=[((0.2, 0.4, 0.21, 0.41), 0.2), ((0.5, 0.9, 0.5, 0.1), 0.02)], paper=0, contrast=255)
def test_boxing_what_is_boxed_changes_nothing_for_any_strokes(size, strokes, paper, contrast):
    canvas = Image.new("L", size, paper)
    pencil = ImageDraw.Draw(canvas)
    for (x0, y0, x1, y1), pen in strokes:
        ends = [(x0 * size[0], y0 * size[1]), (x1 * size[0], y1 * size[1])]
        pencil.line(ends, fill=(paper + contrast) % 256, width=max(1, round(pen * min(size))))
    box = boxed(np.asarray(canvas))
    assert (boxed(box) == box).all()


@pytest.mark.parametrize(
    ("name", "count", "other"), [("train-images-idx3-ubyte", 60_000, 2), ("t10k-images-idx3-ubyte", 10_000, 0)]
)
def test_the_images_of_mnist_pass_unchanged(name, count, other):
    if not (MNIST / name).is_file():
        pytest.skip(f"the real MNIST is not at {MNIST.relative_to(REPOSITORY.parent)}")
    images = np.frombuffer((MNIST / name).read_bytes(), np.uint8, offset=16).reshape(-1, 28, 28)
    passes = ink.is_boxed(images)
    assert len(images) == count
    assert (~passes).sum() <= other
    for image in images[passes][::50]:
        assert (boxed(image) == image).all()
        assert (boxed(image, recolour=False) == image).all()
    for image in images[~passes]:
        # The few that the makers of MNIST centred otherwise hardly change.
        assert difference(boxed(image), image) <= 1.5


def test_images_of_another_size_are_not_boxed():
    assert ink.is_boxed(np.zeros((3, 32, 32), np.uint8)).tolist() == [False] * 3
    assert ink.is_boxed(np.zeros((2, 28, 28), np.uint8)).tolist() == [False] * 2
    assert ink.is_boxed(np.stack([REFERENCE, np.roll(REFERENCE, 2, 0), REFERENCE.T])).tolist() == [True, False, True]


def reference_is_light_on_dark(grey):
    """The rule as it is described, in the plainest way."""
    edges = np.sort(np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]]))
    difference = grey.astype(np.float32) - np.float32(edges[len(edges) // 2])
    strong = np.abs(difference) > 0.4 * np.abs(difference).max()
    return bool(difference[strong].sum() >= 0)


@st.composite
def marked(draw):
    """Return an image 28×28 with ink in a rectangle, often of 20 or 19 pixels and in the middle."""
    height, width = (draw(st.one_of(st.sampled_from([19, 20]), st.integers(0, 28))) for _ in range(2))
    top, left = (
        min(max((28 - side) // 2 + draw(st.integers(-2, 2)), 0), 28 - side) if draw(st.booleans()) else 0
        for side in (height, width)
    )
    seed, share = draw(st.integers(0, 2**32 - 1)), draw(st.floats(0, 1))
    rng = np.random.default_rng(seed)
    image = np.zeros(ink.SHAPE, np.uint8)
    image[top : top + height, left : left + width] = rng.integers(1, 256, (height, width)) * (
        rng.random((height, width)) < share
    )
    return image


@settings(max_examples=400, deadline=None, derandomize=True)
@given(images=st.lists(marked(), min_size=1, max_size=3))
def test_one_image_is_judged_as_many_together(images):
    together = ink.is_boxed(np.stack(images))
    many = ink.box_all(images * 8, recolour=True)
    for index, image in enumerate(images):
        alone = ink.box(image, recolour=True)
        assert (alone[0] == many[index][0]).all()
        assert alone[1] == many[index][1]
        if together[index] and ink.is_light_on_dark(image):
            assert (alone[0] == image).all()
            assert alone[1] == []
        assert ink.is_light_on_dark(image) == reference_is_light_on_dark(image)
        assert ink.is_light_on_dark(255 - image) == reference_is_light_on_dark(255 - image)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(side=st.tuples(st.integers(1, 40), st.integers(1, 40)), seed=st.integers(0, 2**32 - 1), low=st.integers(0, 255))
def test_the_paper_is_judged_by_its_border(side, seed, low):
    grey = np.random.default_rng(seed).integers(low, 256, side).astype(np.uint8)
    assert ink.is_light_on_dark(grey) == reference_is_light_on_dark(grey)


@pytest.mark.parametrize("pen", [1.0, 1.5, 2.5, 4.0])
def test_thin_strokes_are_widened_as_by_a_square_brush(monkeypatch, pen):
    image = draw(side=240, scale=2.0, pen=pen)
    pixels = boxed(image)

    def brush(values, reach):
        return np.asarray(Image.fromarray(values).filter(ImageFilter.MaxFilter(2 * reach + 1)))

    monkeypatch.setattr(ink, "_dilated", brush)
    assert (boxed(image) == pixels).all()


def test_the_digits_of_mnist_are_judged_one_by_one_as_together():
    if not MNIST.is_dir():
        pytest.skip("MNIST is not here")
    raw = (MNIST / "t10k-images-idx3-ubyte").read_bytes()
    images = np.frombuffer(raw, np.uint8, offset=16).reshape(-1, 28, 28)[:1000]
    together = ink.is_boxed(images)
    assert [not ink.box(image, recolour=False)[1] for image in images] == together.tolist()

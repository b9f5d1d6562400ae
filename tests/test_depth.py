"""The range of pixel values: one rule for a data set, whatever the order of its images."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from cnnkit.depth import PixelError, Span, describe, ends, misfit, scaled, value_range
from tests.expecting import expect_error

SETTINGS = settings(max_examples=150, deadline=None, derandomize=True)
INTEGERS = arrays.arrays(np.uint16, arrays.array_shapes(min_dims=2, max_dims=2, max_side=30))
FLOATS = arrays.arrays(
    np.float32, arrays.array_shapes(min_dims=2, max_dims=2, max_side=30), elements=st.floats(-(2**40), 2**40, width=32)
)
IMAGES = st.one_of(INTEGERS, FLOATS)


def ramp(high, low=0.0, dtype=np.uint16):
    return np.linspace(low, high, 784).reshape(28, 28).astype(dtype)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (ramp(200), (0, 255)),
        (ramp(1023), (0, 1023)),
        (ramp(4095), (0, 4095)),
        (ramp(12_000), (0, 16383)),
        (ramp(65535), (0, 65535)),
        (ramp(4095, dtype=np.int32), (0, 4095)),
        (np.round(ramp(4095, dtype=np.float32)), (0, 4095)),
        (ramp(0.7, dtype=np.float32), (0, 1)),
        (np.round(ramp(1, dtype=np.float32)), (0, 1)),
        (ramp(240, dtype=np.float32), (0, 255)),
        (ramp(4.5, -2.5, np.float32), (-2.5, 4.5)),
        (ramp(3e-7, dtype=np.float32), (0, pytest.approx(3e-7))),
        (ramp(2**30, dtype=np.int32), (0, 2**30)),
        (np.zeros((28, 28), np.uint16), (0, 255)),
        (np.full((28, 28), 3000, np.uint16), (0, 4095)),
        (np.zeros((28, 28), np.float32), (0, 1)),
        (np.full((28, 28), 700.5, np.float32), (0, 700.5)),
        (np.full((28, 28), -3, np.int32), (-3, 0)),
    ],
)
def test_the_range_is_that_of_the_kind_of_numbers(values, expected):
    assert value_range(Span.of(values)) == expected


@SETTINGS
@given(st.lists(IMAGES, min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_the_order_of_images_does_not_matter(images, random):
    spans = [Span.of(image) for image in images]
    joined = Span.join(spans)
    random.shuffle(spans)
    assert Span.join(spans) == joined
    cut = random.randrange(len(spans))
    parts = [Span.join(part) for part in (spans[:cut], spans[cut:]) if part]
    assert Span.join(parts) == joined


@SETTINGS
@given(IMAGES)
def test_the_range_holds_all_but_the_outliers(image):
    span = Span.of(image)
    low, high = value_range(span)
    assert low < high
    assert low <= span.low <= span.high <= high
    outside = (image < low) | (image > high)
    assert outside.sum() <= 2 * max(3, image.size // 1000)
    pixels = scaled(image, (low, high)).astype(int).ravel()
    assert (np.diff(pixels[np.argsort(image.ravel(), kind="stable")]) >= 0).all(), "brighter stays brighter"


@SETTINGS
@given(IMAGES, IMAGES)
def test_more_images_never_have_a_smaller_span(one, other):
    before, after = Span.of(one), Span.join([Span.of(one), Span.of(other)])
    assert after.least <= before.least
    assert after.most >= before.most
    assert after.low <= before.low
    assert after.high >= before.high
    assert after.count == one.size + other.size


@pytest.mark.parametrize("odd", [65535, 0])
@pytest.mark.parametrize("high", [200, 1000, 4000, 16000])
def test_one_outlier_does_not_change_the_range_of_whole_numbers(high, odd):
    values = ramp(high)
    expected = value_range(Span.of(values))
    values[14, 14] = odd
    assert value_range(Span.of(values)) == expected


@pytest.mark.parametrize("odd", [1e30, -1e30, -0.2, 1.5, 300])
@pytest.mark.parametrize("high", [1, 250])
def test_one_outlier_does_not_change_the_range_of_floating_point_numbers(high, odd):
    values = ramp(high, 0.1, np.float32)
    expected = value_range(Span.of(values))
    values[14, 14] = odd
    assert value_range(Span.of(values)) == expected


def test_outliers_of_a_measurement_are_clipped_only_where_they_squeeze_the_rest():
    values = ramp(10, -10, np.float32)
    values[0, 0] = 20
    assert value_range(Span.of(values)) == (pytest.approx(-10, abs=0.2), 20)
    values[0, 0] = 1e6
    low, high = value_range(Span.of(values))
    assert (low, high) == (pytest.approx(-10, abs=0.2), pytest.approx(10, abs=0.2))


def test_a_few_bright_pixels_on_a_constant_ground_are_no_outliers():
    values = np.zeros((28, 28), np.uint16)
    values[3, 3] = 4000
    span = Span.of(values)
    assert value_range(span) == (0, 4095)
    assert value_range(Span.join([span, Span.of(ramp(900))])) == (0, 1023), "but among others they are"


@SETTINGS
@given(INTEGERS)
def test_whole_numbers_of_any_type_have_the_same_span(image):
    assert Span.of(image) == Span.of(image.astype(np.int32)) == replace(Span.of(image.astype(float)), floating=False)


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_an_error(odd):
    with expect_error(PixelError, "numbers"):
        Span.of(np.array([[0.5, odd]], np.float32))
    with expect_error(PixelError, "pixels"):
        Span.of(np.empty((0, 3)))
    with expect_error(ValueError, "spans"):
        Span.join([])


def test_values_are_scaled_and_clipped():
    assert scaled(np.array([0, 4095, 5000], np.uint16), (0, 4095)).tolist() == [0, 255, 255]
    assert scaled(np.array([-3.0, -2, 0, 2, 9]), (-2, 2)).tolist() == [0, 0, 128, 255, 255]
    large = np.random.default_rng(0).integers(0, 2**31, (1200, 1000))
    assert (scaled(large, (0, 2**31)) == np.round(large / 2**31 * 255)).all()


@pytest.mark.parametrize(
    ("given", "short", "described"),
    [
        ((0, 4095), "0–4095", "0–4095 (12 bits)"),
        ((0.0, 255.0), "0–255", "0–255 (8 bits)"),
        ((0, 1), "0–1", "0–1"),
        ((-2.5, 4), "-2.5 to 4", "-2.5 to 4"),
        ((0, 3e-7), "0 to 3e-07", "0 to 3e-07"),
    ],
)
def test_ranges_in_words(given, short, described):
    assert (ends(given), describe(given)) == (short, described)


@pytest.mark.parametrize(
    ("values", "used", "fits"),
    [
        ((0, 4095), (0.0, 4095.0), True),
        ((100, 4000), (0.0, 4095.0), True),
        ((0, 65535), (0.0, 4095.0), False),
        ((0, 255), (0.0, 4095.0), False),
        ((-900, 2500), (-1000.0, 3000.0), True),
        ((0, 1), (-1000.0, 3000.0), False),
    ],
)
def test_a_range_of_other_images_may_not_fit(values: tuple[int, int], used: tuple[float, float], fits: bool) -> None:
    pixels = np.linspace(*values, 784).reshape(28, 28).astype(np.float32)
    assert (misfit(Span.of(pixels), used) == "") == fits


def test_a_narrow_band_of_a_depth_is_spread_over_all_levels() -> None:
    values = np.linspace(30_000, 30_400, 784).reshape(28, 28).astype(np.uint16)
    low, high = value_range(Span.of(values))
    assert 29_900 < low < 30_010
    assert 30_390 < high < 30_500

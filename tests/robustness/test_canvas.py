"""What is drawn on a canvas comes through the preprocessing as it is."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnkit.images import Preprocessing, prepare
from cnnkit.pictures import encoded
from cnnkit.robustness.canvas import Canvas

GREY, COLOUR = {"mean": (0.0,), "std": (1.0,)}, {"mean": (0.0,) * 3, "std": (1.0,) * 3}
FORMS = {
    "digits": Preprocessing(1, 28, 28, **GREY, fit="mnist-box", polarity="light-on-dark"),
    "boxed": Preprocessing(1, 28, 28, **GREY, fit="mnist-box"),
    "photos": Preprocessing(3, 12, 20, **COLOUR),
    "light": Preprocessing(1, 16, 16, **GREY, polarity="light-on-dark"),
    "dark": Preprocessing(3, 16, 16, **COLOUR, fit="stretch", polarity="dark-on-light"),
    "cropped": Preprocessing(3, 28, 28, **COLOUR, fit="cover", crop=0.875),
    "resized": Preprocessing(3, 20, 20, **COLOUR, fit="cover", resize=23),
    "photograph": Preprocessing(3, 112, 84, **COLOUR, fit="cover", crop=0.875),
}


@pytest.mark.parametrize("name", FORMS)
@settings(max_examples=25, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**16), tilt=st.floats(-20, 20), level=st.floats(-50, 300))
def test_any_image_becomes_one_that_the_preprocessing_leaves_alone(
    name: str, seed: int, tilt: float, level: float
) -> None:
    form = FORMS[name]
    canvas = Canvas(form)
    values = np.random.default_rng(seed).normal(level, 60, form.shape)
    values += tilt * (np.arange(form.width) - form.width / 2)[None, :, None]
    drawn = canvas.project(values)
    assert 0 <= drawn.min() <= drawn.max() <= 255
    seen = prepare(encoded(canvas.framed(drawn)), form)
    np.testing.assert_array_equal(seen.pixels, np.rint(drawn))


@pytest.mark.parametrize("name", ["photos", "cropped"])
def test_a_canvas_without_conditions_changes_nothing(name: str) -> None:
    form = FORMS[name]
    values = np.random.default_rng(0).uniform(1, 255, form.shape)
    np.testing.assert_array_equal(Canvas(form).project(values), values)


def test_a_boxed_image_is_moved_as_little_as_it_takes() -> None:
    canvas = Canvas(FORMS["digits"])
    values = canvas.project(np.random.default_rng(0).uniform(1, 255, canvas.shape))
    np.testing.assert_array_equal(canvas.project(values), values)
    moved = canvas.project(values + np.arange(28)[:, None, None])
    assert np.abs(moved - values)[canvas.free].mean() < 15

"""The drawn digits that training mixes in: in the form of MNIST's, seeded, and written as Europeans write them."""

import numpy as np
import pytest

from cnnkit.errors import UsageError
from cnnkit.training.digits import LABELS, STYLES, draw_digits


def ink(label: str, style: str) -> np.ndarray:
    """The mean of 120 drawings in one style, [28, 28] in [0, 1]."""
    return draw_digits(label, 120, seed=1, style=style).mean(0) / 255


@pytest.mark.parametrize("label", LABELS)
def test_drawings_have_the_form_of_mnists(label: str) -> None:
    images = draw_digits(label, 120, seed=3)
    assert images.shape == (120, 28, 28)
    assert images.dtype == np.uint8
    for image in images:
        marked = image > 0
        longer = max(np.ptp(np.flatnonzero(marked.any(axis))) + 1 for axis in (0, 1))
        assert 17 <= longer <= 20
        for axis in (0, 1):
            ink = image.sum(axis, dtype=np.float64)
            where = np.flatnonzero(ink)
            # At the centre, or as near to it as the box of 20x20, which the canvas holds, lets it be.
            assert abs(ink @ np.arange(28) / ink.sum() - 14) <= 0.5 or where[0] == 0 or where[-1] == 27
    assert (images.max((1, 2)) > 200).all()
    share = (images > 128).mean()
    assert 0.03 < share < 0.35  # neither blank nor a blot; of MNIST's images it is 0.10


def test_a_seed_repeats_its_drawings_and_another_gives_others() -> None:
    first = draw_digits("4", 40, seed=5)
    np.testing.assert_array_equal(draw_digits("4", 40, seed=5), first)
    other = draw_digits("4", 40, seed=6)
    assert not any(np.array_equal(a, b) for a, b in zip(first, other, strict=True))
    assert len(np.unique(first, axis=0)) == 40


def test_every_style_of_a_digit_has_drawings_of_its_own() -> None:
    for label in LABELS:
        assert STYLES[label]
        means = [ink(label, style) for style in STYLES[label]]
        for number, mean in enumerate(means):
            assert all(np.abs(mean - other).max() > 0.1 for other in means[:number]), (label, STYLES[label][number])


def test_the_european_forms_have_what_makes_them() -> None:
    middle, left = slice(12, 16), slice(7, 11)
    assert ink("0", "slashed")[middle, middle].mean() > 4 * ink("0", "plain")[middle, middle].mean()
    # The bar of a seven reaches to the right of its stem at half height.
    assert ink("7", "bar")[14, 19:21].mean() > 2 * ink("7", "plain")[14, 19:21].mean()
    # The upstroke of a one lies to the left of the stem's upper half, its foot beside the stem's end.
    assert ink("1", "upstroke")[8:16, left].mean() > 5 * ink("1", "stick")[8:16, left].mean()
    assert ink("1", "foot")[18:25, left].mean() > 3 * ink("1", "stick")[18:25, left].mean()
    # A four that is closed has its sides meet at the top.
    assert ink("4", "closed")[4:7, 12:18].mean() > ink("4", "open")[4:7, 12:18].mean()


def test_nothing_can_be_asked_for_and_nothing_impossible() -> None:
    assert draw_digits("0", 0, seed=0).shape == (0, 28, 28)
    assert draw_digits("0", 1, seed=0).shape == (1, 28, 28)
    for label, style, count, seed in (("x", None, 1, 0), ("7", "flat", 1, 0), ("7", None, -1, 0), ("7", None, 1, -1)):
        with pytest.raises(UsageError):
            draw_digits(label, count, seed=seed, style=style)

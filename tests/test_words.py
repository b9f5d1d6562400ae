"""How numbers are written: never more than the images behind them say."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cnnkit import words

images = st.one_of(st.integers(1, 300), st.integers(1, 200_000))
UNIT = {0: 1.0, 1: 0.1, 2: 0.01}


@st.composite
def counts(draw: st.DrawFn) -> tuple[int, int]:
    """Return a number of right images, and of all."""
    total = draw(images)
    return draw(st.one_of(st.integers(0, total), st.sampled_from([0, 1, total - 1, total]))), total


@pytest.mark.parametrize(
    ("right", "total", "text"),
    [
        (9_864, 10_000, "98.64%"),
        (1_000, 10_000, "10.00%"),
        (4_932, 5_000, "98.6%"),
        (986, 999, "99%"),
        (31, 36, "86%"),
        (1, 3, "33%"),
        (199, 200, ">99%"),
        (197, 200, "98%"),
        (1, 201, "<1%"),
        (2_999, 3_000, ">99.9%"),
        (59_999, 60_000, ">99.99%"),
        (1, 60_000, "<0.01%"),
        (90, 90, "100%"),
        (60_000, 60_000, "100%"),
        (0, 60_000, "0%"),
    ],
)
def test_decimals_follow_from_the_number_of_images(right: int, total: int, text: str) -> None:
    assert words.percent(right / total, of=total) == text


def test_what_is_not_known_is_a_dash() -> None:
    assert words.percent(None, of=10) == words.share(None, of=10) == "–"


def test_of_an_unknown_number_of_images_there_are_no_decimals() -> None:
    assert words.percent(0.98643, of=0) == words.share(0.98643, of=0) == "99%"


@given(counts())
@example((999, 1_000))
@example((9_999, 10_000))
def test_only_all_is_100_percent_and_only_none_is_0(count: tuple[int, int]) -> None:
    right, total = count
    text = words.percent(right / total, of=total)
    assert (text == "100%") == (right == total)
    assert (text == "0%") == (right == 0)
    if 0 < right < total:
        assert 0 < float(text.strip("<>%")) < 100


@given(counts())
def test_the_last_digit_is_at_least_one_image_and_the_number_is_within_one_of_it(count: tuple[int, int]) -> None:
    right, total = count
    text = words.percent(right / total, of=total)
    unit = UNIT[len(text.strip("<>%").partition(".")[2])]
    assert total * unit >= 100 or unit == 1
    assert abs(float(text.strip("<>%")) - 100 * right / total) <= unit


@given(st.one_of(st.integers(1, 100), st.sampled_from([1_000, 10_000])), st.data())
def test_other_counts_of_few_images_read_otherwise(total: int, data: st.DataObject) -> None:
    one = data.draw(st.integers(0, total - 1))
    other = data.draw(st.one_of(st.just(one + 1), st.integers(one + 1, total)))
    assert words.percent(one / total, of=total) != words.percent(other / total, of=total)


@given(counts(), st.integers(0, 200_000))
def test_more_right_images_never_read_as_fewer(count: tuple[int, int], more: int) -> None:
    right, total = count
    texts = [words.percent(n / total, of=total) for n in (right, min(right + more, total))]
    less, greater = ((float(text.strip("<>%")), "<>".find(text[0]) or -1) for text in texts)
    assert less <= greater


@given(counts())
def test_few_images_are_counted(count: tuple[int, int]) -> None:
    right, total = count
    text = words.share(right / total, of=total)
    assert text.endswith(words.percent(right / total, of=total) + ")" * (total < 100))
    assert text.startswith(f"{right} of {total} (") == (total < 100)


def test_the_percentage_is_of_the_count_that_is_shown() -> None:
    assert words.share(0.999, of=36) == "36 of 36 (100%)"
    assert words.share(0.01, of=36) == "0 of 36 (0%)"
    assert words.share(0.5, of=25) == "12 of 25 (48%)"


@pytest.mark.parametrize(
    ("size", "text"),
    [(0.0004, "0.4 kB"), (0.0044, "4.4 kB"), (0.0996, "99.6 kB"), (0.1, "0.10 MB"), (4.196, "4.20 MB")],
)
def test_small_sizes_are_in_kilobytes(size: float, text: str) -> None:
    assert words.megabytes(size) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 images"), (1, "1 image"), (2, "2 images"), (1_200, "1,200 images"), (1.0, "1 image"), (0.5, "0.5 images")],
)
def test_a_noun_agrees_with_its_number(number: float, text: str) -> None:
    assert words.counted(number, "image") == text


def test_a_plural_may_be_given() -> None:
    assert [words.counted(n, "class", "classes") for n in (1, 2)] == ["1 class", "2 classes"]


@pytest.mark.parametrize(("value", "text"), [(0.9, "90%"), (0.975, "97.5%"), (0.9864, "98.64%"), (0.07, "7%")])
def test_what_somebody_chose_has_the_digits_that_it_has(value: float, text: str) -> None:
    assert words.plain_percent(value) == text

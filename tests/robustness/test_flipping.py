"""The smallest severity that flips an answer, against what it is by hand."""

from collections.abc import Callable
from pathlib import Path

import pytest

from cnnkit.operation import result_of
from cnnkit.pictures import decode
from cnnkit.progress import WorkProgress
from cnnkit.robustness.flipping import flip_search
from cnnkit.robustness.results import FlipSearch
from cnnkit.robustness.subject import Subject

Make = Callable[..., Subject]
OF_ONE = 25.5
"""Grey values that brightness adds at severity 1, and with each further one."""


def search(subject: Subject) -> FlipSearch:
    return result_of(flip_search(subject, "brightness"))


def test_the_severity_is_found_to_a_128th_from_above(make_subject: Make) -> None:
    levels = (200, 180, 150, 100, 75)
    found = search(make_subject([(200.5, 256)], *levels))
    assert found.numbers == (10, 11, 12, 13, 14)
    for level, severity in zip(levels, found.severities, strict=True):
        least = (200.5 - level) / OF_ONE  # values are whole, and a half more is rounded up
        assert severity is not None
        assert least <= severity <= least + 1 / 128 + 1e-9


def test_what_5_does_not_flip_is_said_and_what_is_wrong_anyway_is_left_out(make_subject: Make) -> None:
    found = search(make_subject([(200.5, 256)], 60, 210, 190, 20, 230))
    assert found.numbers == (10, 12, 13)
    assert [severity is None for severity in found.severities] == [True, False, True]
    assert found.flipped == pytest.approx(1 / 3)
    assert (found.quantile(0), found.quantile(1 / 3), found.quantile(0.5)) == (found.severities[1],) * 2 + (None,)


def test_a_share_is_reached_when_as_many_or_more_are_flipped() -> None:
    found = FlipSearch("noise", tuple(float(n) for n in range(1, 11)), (), ())
    assert [found.quantile(share) for share in (0, 0.1, 0.25, 0.3, 0.5, 1)] == [1, 1, 3, 3, 5, 10]
    thirty = FlipSearch("noise", tuple(n / 10 for n in range(30)), (), ())
    assert thirty.quantile(0.1) == 0.2


def test_the_first_of_several_flips_counts(make_subject: Make) -> None:
    # 100 is light from 130 to 160, dark again up to 190, and light from there on.
    found = search(make_subject([(129.5, 160), (190, 256)], 100))
    assert found.severities[0] == pytest.approx(29.5 / OF_ONE, abs=1 / 100)


def test_nothing_right_is_nothing_to_flip(make_subject: Make) -> None:
    found = search(make_subject([(0, 256)], 100, 120))
    assert (found.severities, found.examples, found.flipped, found.quantile(0.5)) == ((), (), 0.0, None)


def test_the_easiest_are_kept_as_pictures_that_are_wrong_when_read_again(make_subject: Make, tmp_path: Path) -> None:
    subject = make_subject([(200.5, 256)], *range(80, 200, 8), folder=tmp_path)
    found = search(subject)
    assert len(found.examples) == 10
    strengths = [example.strength for example in found.examples]
    assert strengths == sorted(severity for severity in found.severities if severity is not None)[:10]
    for example in found.examples:
        assert (example.label, example.taken_for) == ("dark", "light")
        assert example.changed == tmp_path / "flip-brightness" / f"{example.number:05}.png"
        assert example.changed is not None
        assert example.original is not None
        original, changed = (decode(path)[0].getpixel((2, 3)) for path in (example.original, example.changed))
        assert original == subject.images[example.number - 10, 0, 0, 0]
        assert changed == 201


def test_progress_goes_to_its_end(make_subject: Make) -> None:
    steps = list(flip_search(make_subject([(200.5, 256)], 100), "brightness"))
    assert [step.done for step in steps] == list(range(1, steps[0].total + 1))
    assert isinstance(steps[0], WorkProgress)

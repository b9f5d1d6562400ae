"""Pages: everything escaped, one file, the templates complete, and written whole."""

import base64
import io
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import UndefinedError
from markupsafe import escape
from PIL import Image

from cnnkit.errors import OutputError
from cnnkit.evaluation.results import ConfusedPair, Mistake, Mistakes, TrainingImage
from cnnkit.inspection.explanations import Explanation
from cnnkit.render import explanation as rendered
from cnnkit.render import mistakes, pages
from cnnkit.runtime.prediction import ClassScore, Prediction
from tests.expecting import expect_error

HOSTILE = "<script>alert('x')</script>&\"' {0} {{ style }} {% raw %}"
FRAME = {"kind": "", "subtitle": "", "versions": {"cnnkit": "0.1.0"}}


@pytest.fixture
def hostile_mistakes() -> Mistakes:
    """A result in which every name is hostile."""
    pixels = np.random.default_rng(0).integers(0, 255, (28, 28, 1), np.uint8)
    near = TrainingImage(HOSTILE, HOSTILE, 0.9, pixels)
    wrong = Mistake(HOSTILE, HOSTILE, HOSTILE, 0.9, 0.1, near, pixels)
    return Mistakes(
        model=HOSTILE, data=HOSTILE, split=HOSTILE, engine=HOSTILE, images=10, seen=False, wrong=1, accuracy=0.9,
        worst=(wrong,), confused=(ConfusedPair(HOSTILE, HOSTILE, 1, 0.1, (pixels,)),), candidates=0, mislabelled=(),
        training_images=7, nearest_by=HOSTILE, no_nearest_because="", versions={HOSTILE: HOSTILE}, seconds=1.0,
        assumptions=(HOSTILE,), warnings=(HOSTILE,),
    )  # fmt: skip


def test_nothing_from_outside_is_markup(
    hostile_mistakes: Mistakes, tmp_path: Path, stands_alone: Callable[[Path], str]
) -> None:
    page = mistakes.page(hostile_mistakes)
    assert "<script" not in page
    assert page.count(str(escape(HOSTILE))) > 15
    pages.write(tmp_path / "page.html", page)
    assert "<script>alert('x')</script>" in stands_alone(tmp_path / "page.html")


def test_nothing_from_outside_is_markup_in_an_explanation(explanation: Explanation, tmp_path: Path) -> None:
    scores = (ClassScore(HOSTILE, 0.9), ClassScore("b", 0.1))
    layers = tuple(replace(maps, layer=HOSTILE, kind=HOSTILE) for maps in explanation.layers)
    found = replace(
        explanation, prediction=Prediction(HOSTILE, scores, (HOSTILE,)), target=scores[0], model=HOSTILE,
        engine=HOSTILE, assumptions=(HOSTILE,), layers=layers, notes=(HOSTILE,), versions={HOSTILE: HOSTILE},
    )  # fmt: skip
    rendered.save(found, tmp_path)
    page = (tmp_path / "index.html").read_text("utf-8")
    assert "<script" not in page
    assert page.count(str(escape(HOSTILE))) > 15


@given(st.text())
def test_any_text_comes_back_as_it_was(text: str) -> None:
    assert f"<h1>{escape(text)}</h1>" in pages.render("base.html.j2", **{**FRAME, "title": text})


def test_a_name_that_a_template_lacks_is_an_error() -> None:
    with expect_error(UndefinedError, "title"):
        pages.render("base.html.j2", **FRAME)


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (5, 7, 3)])
def test_an_image_is_its_pixels(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(1).integers(0, 255, shape, np.uint8)
    found = pages.picture(pixels)
    assert (found.width, found.height, found.is_small) == (7, 5, True)
    content = base64.b64decode(found.address.partition(",")[2])
    with Image.open(io.BytesIO(content)) as decoded:
        np.testing.assert_array_equal(np.asarray(decoded), pixels.reshape(shape[:2] if shape[-1] == 1 else shape))
    assert pages.picture(content) == found


def test_large_images_are_smoothed_and_small_in_bytes() -> None:
    ramp = np.linspace(0, 255, 224 * 224 * 3).astype(np.uint8).reshape(224, 224, 3)
    found = pages.picture(ramp)
    kind, _, content = found.address.partition(",")
    assert (kind, found.is_small) == ("data:image/jpeg;base64", False)
    with Image.open(io.BytesIO(base64.b64decode(content))) as decoded:
        assert np.abs(np.asarray(decoded, np.int16) - ramp).max() < 8


def test_a_table_has_headings_for_columns_and_rows(hostile_mistakes: Mistakes) -> None:
    page = mistakes.page(hostile_mistakes)
    table = page[page.index("<table>") : page.index("</table>")]
    assert re.findall(r'<th scope="col">([^<]+)</th>', table) == [
        "Is",
        "Taken for",
        "Images of the class",
        "The surest",
    ]
    assert f'<th scope="row">{escape(HOSTILE)}</th>' in table
    assert 'aria-label="Pairs of classes with the most mistakes"' in page


def test_a_page_with_names_that_are_no_text_is_written(tmp_path: Path) -> None:
    pages.write(tmp_path / "a.html", pages.render("base.html.j2", title="bad\udcff name", **FRAME))
    assert "<h1>bad? name</h1>" in (tmp_path / "a.html").read_text("utf-8")


def test_a_page_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError):
        pages.write(tmp_path / "file" / "a.html", "")

"""Pages: everything escaped, one file, readable in a browser."""

import base64
import io
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup, escape
from PIL import Image

from cnnkit.errors import OutputError
from cnnkit.render import html

HOSTILE = "<script>alert('x')</script>&\"' {0} {style}"
VERSIONS = {"cnnkit": "0.1.0"}


def whole_page() -> str:
    """A page with everything that there is, all of its texts hostile."""
    rng = np.random.default_rng(0)
    digit = rng.integers(0, 255, (28, 28, 1), np.uint8)
    photo = rng.integers(0, 255, (120, 200, 3), np.uint8)
    long = "a-name-without-any-place-to-break-it" * 4
    wide_row = (HOSTILE, *["number"] * 30)
    cards = [
        html.card(
            html.side_by_side(html.figure(html.image(digit, HOSTILE), "it"), html.figure(html.image(digit, "b"), long)),
            html.paragraph(html.bad("seven"), html.good(HOSTILE)),
        )
    ] * 9
    return html.page(
        HOSTILE,
        html.section(
            HOSTILE,
            html.facts({"images": "10,000", HOSTILE: HOSTILE, "long": long}),
            html.table(HOSTILE, wide_row, [wide_row] * 3, align="lrr"),
            html.warning(HOSTILE, html.code(long)),
        ),
        html.section(
            "Pictures", html.grid(cards), html.grid(cards, wide=True), html.figure(html.image(photo, "c"), "d")
        ),
        html.contents([HOSTILE, "Pictures"]),
        html.lead(HOSTILE, long),
        html.glossary(HOSTILE, (HOSTILE, "b", "c"), [(long, long, HOSTILE)] * 2),
        html.columns(html.table(HOSTILE, wide_row, [wide_row]), html.paragraph(long)),
        html.section("Scores", html.subsection("By class", html.bars([("7", 0.9), (long, 0.1)], right="7"))),
        html.section(
            "Rest", html.strip([html.image(digit, "e")] * 30), html.note(HOSTILE), html.paragraph(html.faint(HOSTILE))
        ),
        kind=HOSTILE,
        subtitle=HOSTILE,
        versions={HOSTILE: HOSTILE},
    )


def test_a_page_stands_alone_in_a_browser(stands_alone: Callable[[Path], str], tmp_path: Path) -> None:
    html.write(tmp_path / "page.html", whole_page())
    text = stands_alone(tmp_path / "page.html")
    assert "<script>alert('x')</script>" in text
    assert "90.00%" in text


def test_nothing_from_outside_is_markup() -> None:
    page = whole_page()
    assert "<script" not in page
    assert page.count(escape(HOSTILE)) > 15


@given(st.text())
def test_any_text_comes_back_as_it_was(text: str) -> None:
    assert html.paragraph(text) == f"<p>{escape(text)}</p>"
    assert escape(text) in html.table("t", ["a", text], [[text, text]])
    assert escape(text) in html.page(text, text, kind=text, subtitle=text, versions=VERSIONS)


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (5, 7, 3)])
def test_an_image_is_its_pixels(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(1).integers(0, 255, shape, np.uint8)
    tag = html.image(pixels, 'a "seven"')
    assert 'width="7" height="5" alt="a &#34;seven&#34;" class="small"' in tag
    content = base64.b64decode(re.search('base64,([^"]+)', tag)[1])
    with Image.open(io.BytesIO(content)) as decoded:
        np.testing.assert_array_equal(np.asarray(decoded), pixels.reshape(shape[:2] if shape[-1] == 1 else shape))
    assert html.image(content, 'a "seven"') == tag


def test_large_images_are_smoothed_and_small_in_bytes() -> None:
    ramp = np.linspace(0, 255, 224 * 224 * 3).astype(np.uint8).reshape(224, 224, 3)
    tag = html.image(ramp, "wide")
    assert tag.startswith('<img src="data:image/jpeg;base64,')
    assert "class" not in tag
    with Image.open(io.BytesIO(base64.b64decode(re.search('base64,([^"]+)', tag)[1]))) as decoded:
        assert np.abs(np.asarray(decoded, np.int16) - ramp).max() < 8


def test_a_table_has_headings_for_columns_and_rows() -> None:
    found = html.table("Scores", ["class", "images"], [["circles", "3"]], align="lr")
    assert '<th scope="col">class</th><th scope="col" class="right">images</th>' in found
    assert '<th scope="row">circles</th><td class="right">3</td>' in found
    assert 'aria-label="Scores"' in found


def test_sections_can_be_linked_to() -> None:
    assert html.section("Most confused: pairs!", Markup("<p>x</p>")) == (
        '<section id="most-confused-pairs"><h2>Most confused: pairs!</h2><p>x</p></section>'
    )


def test_a_page_with_names_that_are_no_text_is_written(tmp_path: Path) -> None:
    html.write(tmp_path / "a.html", html.page("bad\udcff name", kind="", versions=VERSIONS))
    assert "<h1>bad? name</h1>" in (tmp_path / "a.html").read_text("utf-8")


def test_a_page_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError):
        html.write(tmp_path / "file" / "a.html", "")

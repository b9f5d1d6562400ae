"""Charts as SVG: well-formed, in the page's colours, true to their numbers, the same each time."""

import base64
import io
import math
import re
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cnnkit.evaluation.results import CalibrationBin
from cnnkit.render import charts

FINITE = st.floats(-1e6, 1e6)
LINK = "{http://www.w3.org/1999/xlink}href"


def parsed(svg: str) -> ET.Element:
    # As in a page, the names of SVG need no namespaces.
    return ET.fromstring(svg.replace("<svg", '<svg xmlns:xlink="http://www.w3.org/1999/xlink"', 1))


def texts(chart: ET.Element) -> list[str]:
    return [str(text.text) for text in chart.iter("text")]


def drawn(chart: ET.Element, colour: str) -> list[np.ndarray]:
    """Return the points [N, 2] of the paths that are filled or stroked in a colour of the page, markers left out."""
    marks = {mark for group in chart.iter("defs") for mark in group.iter("path")}
    paths = [path for path in chart.iter("path") if path not in marks and f"var(--{colour})" in path.attrib["style"]]
    return [np.array(re.findall(r"[-\d.]+", path.attrib["d"]), float).reshape(-1, 2) for path in paths]


def test_points_lie_where_their_numbers_say() -> None:
    chart = parsed(charts.lines({"a": [(0, 0.0), (1, 0.5), (2, 1.0)]}, x="radius", fractions=True))
    ((left, middle, right),) = drawn(chart, "accent")
    assert left[0] < right[0]
    assert left[1] > right[1]
    np.testing.assert_allclose(middle, (left + right) / 2, atol=0.1)
    assert {"0%", "100%", "radius"} <= set(texts(chart))


def test_several_lines_are_named_and_one_is_not() -> None:
    two = {"<b>first</b>": [(1, 1.0), (2, 1.0)], "second": [(1, 2.0), (2, 3.0)]}
    assert {"<b>first</b>", "second"} <= set(texts(parsed(charts.lines(two, x="epoch", mark=1))))
    assert "<b>" not in charts.lines(two, x="epoch")
    assert "first" not in charts.lines({"first": [(1, 1.0), (2, 2.0)]}, x="epoch")


@pytest.mark.parametrize("count", [2, 5])
def test_no_line_is_left_out(count: int) -> None:
    data = {f"line {i}": [(0, float(i)), (1, float(i))] for i in range(count)}
    chart = parsed(charts.lines(data, x="epoch"))
    assert {*data} <= set(texts(chart))


def test_whole_numbers_are_marked_by_whole_numbers() -> None:
    chart = parsed(charts.lines({"a": [(1, 5.0), (2, 6.0), (3, 6.0)]}, x="epoch", whole=True))
    below = [text.text for text in chart.iter("text") if "middle" in text.attrib["style"]]
    assert below == ["1", "2", "3", "epoch"]


@settings(max_examples=25)
@given(st.lists(st.tuples(FINITE, FINITE), min_size=1, max_size=40))
def test_whatever_the_numbers_the_chart_stays_in_its_frame(places: list[tuple[float, float]]) -> None:
    chart = parsed(charts.lines({"a": [*places, (1.0, math.nan), (1.0, math.inf)], "none": []}, x="x"))
    for points in drawn(chart, "accent"):
        assert ((points >= 0) & (points <= (360, 220))).all()


def test_nothing_finite_is_no_chart() -> None:
    assert charts.lines({"a": [(1, math.nan)]}, x="x") == ""


BINS = [
    CalibrationBin(0.0, 0.5, 10, 0.4, 0.45),
    CalibrationBin(0.5, 0.75, 0, 0, 0),
    CalibrationBin(0.75, 1, 1000, 0.95, 0.9),
]


def test_a_bin_is_as_high_as_its_accuracy() -> None:
    chart = parsed(charts.reliability(BINS))
    low, high = (np.ptp(bar[:, 1]) for bar in drawn(chart, "accent"))
    assert high == pytest.approx(2 * low, abs=0.2)
    few, many = (np.ptp(bar[:, 1]) for bar in drawn(chart, "soft") if len(bar) > 2)
    assert many / few == pytest.approx(math.log(1000 / 0.5) / math.log(10 / 0.5), abs=0.02)


def test_bins_without_images_are_drawn_empty() -> None:
    assert drawn(parsed(charts.reliability([CalibrationBin(0.0, 1.0, 0, 0, 0)])), "accent") == []


def test_a_matrix_is_a_picture_of_its_counts() -> None:
    counts = np.diag(np.full(21, 9)).tolist()
    counts[3][7], counts[5][2], counts[8][8] = 5, 1, 0
    (image,) = parsed(charts.matrix(counts)).iter("image")
    content = base64.b64decode(image.attrib[LINK].partition(",")[2])
    with Image.open(io.BytesIO(content)) as opened:
        pixels = np.asarray(opened.convert("RGBA"))
    assert pixels.shape == (21, 21, 4)
    assert ((pixels[..., 3] > 0) == (np.array(counts) > 0)).all()
    assert pixels[3, 7, 3] > pixels[5, 2, 3]
    assert pixels[3, 7, 0] > pixels[0, 0, 0]


def test_the_same_numbers_give_the_same_chart_and_ids_are_never_shared() -> None:
    def draw() -> list[str]:
        lines = [charts.lines({name: [(0, 1.0), (1, 2.0)]}, x="x") for name in "ab"]
        return [*lines, charts.reliability(BINS), charts.matrix([[1, 0], [0, 1]])]

    made = draw()
    assert draw() == made
    ids = [found for chart in made for found in set(re.findall(r'\bid="([^"]+)"', chart))]
    assert len(ids) == len(set(ids))


def test_every_colour_is_the_page_s_own() -> None:
    for chart in (charts.reliability(BINS), charts.lines({"a": [(0, 1.0)], "b": [(0, 2.0)]}, x="x", mark=0)):
        assert not re.search(r"(?:fill|stroke): *(?:#|rgb)", chart)
        assert "font-family" not in chart
        assert "<style" not in chart

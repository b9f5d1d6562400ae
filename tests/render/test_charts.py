"""Charts as SVG: well-formed, in their frame, true to their numbers."""

import math
import re
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnkit.render import charts
from cnnkit.render.charts import Line
from cnnkit.results import CalibrationBin

SVG = re.compile(r"<svg.*?</svg>", re.DOTALL)
FINITE = st.floats(-1e6, 1e6)


def parsed(markup: str) -> ET.Element:
    found = SVG.search(markup)
    assert found, markup
    return ET.fromstring(found[0])


def points(chart: ET.Element) -> list[list[tuple[float, float]]]:
    places = [line.attrib["points"].split() for line in chart.iter("polyline")]
    return [[(float(x), float(y)) for x, y in (place.split(",") for place in line)] for line in places]


def test_points_lie_where_their_numbers_say() -> None:
    chart = parsed(charts.lines([Line("a", [(0, 0.0), (1, 0.5), (2, 1.0)])], alt="it", x="x", fractions=True))
    (((x0, y0), (x1, y1), (x2, y2)),) = points(chart)
    assert x0 < x1 < x2
    assert y0 > y1 > y2
    assert (x1, y1) == (pytest.approx((x0 + x2) / 2, abs=0.1), pytest.approx((y0 + y2) / 2, abs=0.1))
    texts = [text.text for text in chart.iter("text")]
    assert {"0%", "100%", "x"} <= set(texts)
    assert chart.attrib["aria-label"] == "it"


def test_several_lines_are_named_and_one_is_not() -> None:
    two = charts.lines([Line("<b>", [(1, 1.0)]), Line("second", [(1, 2.0)])], alt="", x="epoch", mark=1)
    assert '<span class="key key-1">&lt;b&gt;</span> <span class="key key-2">second</span>' in two
    assert 'class="mark"' in two
    assert "key-1" not in charts.lines([Line("first", [(1, 1.0), (2, 2.0)])], alt="", x="epoch")


def test_whole_numbers_are_marked_by_whole_numbers() -> None:
    chart = parsed(charts.lines([Line("a", [(1, 5.0), (2, 6.0), (3, 6.0)])], alt="", x="epoch", whole=True))
    below = [text.text for text in chart.iter("text") if text.attrib["text-anchor"] == "middle"]
    assert below == ["1", "2", "3", "epoch"]


@given(st.lists(st.tuples(FINITE, FINITE), min_size=1, max_size=40))
def test_whatever_the_numbers_the_chart_stays_in_its_frame(places: list[tuple[float, float]]) -> None:
    chart = parsed(charts.lines([Line("a", [*places, (1.0, math.nan), (1.0, math.inf)])], alt="", x="x"))
    (drawn,) = points(chart)
    assert len(drawn) == len(places)
    assert all(0 <= x <= 360 and 0 <= y <= 220 for x, y in drawn)


def test_nothing_finite_is_said() -> None:
    assert "no number is finite" in charts.lines([Line("a", [(1, math.nan)])], alt="", x="x")


def test_a_bin_is_as_high_as_its_accuracy() -> None:
    bins = [
        CalibrationBin(0.0, 0.5, 10, 0.4, 0.5),
        CalibrationBin(0.5, 0.75, 0, 0, 0),
        CalibrationBin(0.75, 1, 1000, 0.9, 1),
    ]
    chart = parsed(charts.reliability(bins, alt="calibration"))
    heights = [float(bar.attrib["height"]) for bar in chart.iter("rect") if bar.attrib["class"] == "bin"]
    assert len(heights) == 2
    assert heights[1] == pytest.approx(2 * heights[0], abs=0.2)
    counts = [float(bar.attrib["height"]) for bar in chart.iter("rect") if bar.attrib["class"] == "count"]
    assert counts[0] / counts[1] == pytest.approx(math.log1p(10) / math.log1p(1000), abs=0.01)
    assert [title.text for title in chart.iter("title")] == [
        "0.00% to 50.00%: 10 images, 5 of 10 (50%) right",
        "75.00% to 100.00%: 1,000 images, 100% right",
    ]


def test_a_small_matrix_is_a_table_of_its_counts() -> None:
    table = charts.confusion(["cat", "<dog>"], [[90, 10], [0, 50]], caption="Confusion matrix")
    cells = re.findall(r'<td class="(\w+)"(?: style="--share:([\d.]+)")?>([^<]+)</td>', table)
    assert cells == [("hit", "0.9", "90"), ("miss", "1.0", "10"), ("none", "", "·"), ("hit", "1.0", "50")]
    assert "&lt;dog&gt;" in table


@pytest.mark.parametrize("classes", [21, 300])
def test_a_large_matrix_is_a_picture_of_its_counts(classes: int) -> None:
    counts = np.diag(np.full(classes, 9)).tolist()
    counts[3][7] = 5
    chart = parsed(charts.confusion([str(i) for i in range(classes)], counts, caption="Confusion matrix"))
    paths = {path.attrib["class"]: path.attrib["d"] for path in chart.iter("path")}
    assert paths["miss"] == "M7 3h1v1h-1z"
    assert chart.attrib["viewBox"] == f"0 0 {classes} {classes}"
    assert sum(path.attrib["d"].count("M") for path in chart.iter("path")) == classes + 1

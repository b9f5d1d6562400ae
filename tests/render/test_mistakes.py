"""Mistakes as tables, page, contact sheet and JSON."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnnkit.evaluation.results import ConfusedPair, LabelCandidate, Mistake, Mistakes, TrainingImage
from cnnkit.render import mistakes
from tests.expecting import rows_of

Captured = pytest.CaptureFixture[str]


def picture(seed: int, side: int = 28) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (side, side, 3), np.uint8)


def make(count: int = 12, *, nearest: bool = True, label: str = "circles", side: int = 28) -> Mistakes:
    """A result with that many mistakes, some of them with doubtful labels."""
    near = TrainingImage("train/triangles/0812.jpg", "triangles", 0.934, picture(1, side)) if nearest else None
    worst = tuple(
        Mistake(f"test/{label}/{i:04}.jpg", label, "triangles", 0.99 - i / 100, 0.01 + i / 200, near, picture(i, side))
        for i in range(count)
    )
    doubtful = tuple(
        LabelCandidate(m.source, m.label, m.predicted, m.probability, m.label_probability, near, m.pixels)
        for m in worst[: count // 2]
    )
    return Mistakes(
        model="runs/net-1",
        data="photos",
        split="test",
        engine="PyTorch CPU",
        images=1200,
        seen=False,
        wrong=count and count + 20,
        accuracy=1 - (count and count + 20) / 1200,
        worst=worst,
        confused=(ConfusedPair(label, "triangles", count, 0.031, (picture(1, side),) * 4),) if count else (),
        candidates=len(doubtful),
        mislabelled=doubtful,
        training_images=48_000 if nearest else 0,
        nearest_by="the input of the layer fc" if nearest else "",
        no_nearest_because="" if nearest else "net does not say what it was trained on",
        versions={"cnnkit": "0.1.0"},
        seconds=1.5,
    )


@pytest.mark.parametrize("width", [80, 120])
def test_tables(
    width: int, golden: Callable[[str, str], None], capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    mistakes.show(make())
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= width
    if width == 80:
        golden("mistakes", out)


def test_without_nearest_images_the_reason_is_said(capsys: Captured) -> None:
    mistakes.show(make(3, nearest=False))
    out = capsys.readouterr().out
    assert ["test/circles/0002.jpg", "circles", "triangles", "97.00%"] in rows_of(out)
    assert out.count("net does not say what it was trained on") == 1


def test_no_mistake_is_said(capsys: Captured) -> None:
    mistakes.show(make(0))
    out = capsys.readouterr().out
    assert ("1,200 images" in out, "100%" in out, len(rows_of(out)) <= 3) == (True, True, True)


@pytest.mark.parametrize(
    "result",
    [
        make(),
        make(0),
        make(40, nearest=False),
        make(label="a label\u202e that is <b>quite</b> long " * 5),
        make(side=120),
    ],
    ids=["usual", "none", "no-nearest", "long", "large"],
)
def test_the_page_stands_alone_in_a_browser(
    result: Mistakes, stands_alone: Callable[[Path], str], tmp_path: Path
) -> None:
    page, *_ = mistakes.write(result, tmp_path)
    text = stands_alone(page)
    assert "Mistakes of runs/net-1" in text
    for mistake in result.worst:
        assert mistake.source in text
    assert ("The network has all 1,200 images right." in text) == (not result.worst)
    assert ("does not say what it was trained on" in text) == (not result.training_images)


def test_what_the_page_says_of_a_mistake() -> None:
    page = mistakes.page(make(1))
    assert '<h3>circles taken for <span class="bad">triangles</span></h3>' in page
    assert "labelled triangles, similarity 0.93" in page
    assert 'alt="test/circles/0000.jpg, labelled circles"' in page
    assert "The first 1 of 21 mistakes." in page
    assert "99.00%" in page


@pytest.mark.parametrize("seen", [False, True])
def test_images_that_were_trained_on_are_warned_of(seen: bool, capsys: Captured) -> None:
    result = replace(make(), seen=seen)
    mistakes.show(result)
    for text in (mistakes.page(result), " ".join(capsys.readouterr().out.split())):
        assert ("was trained on some of these images" in text) == seen


def test_warnings_are_on_the_page() -> None:
    page = mistakes.page(replace(make(), warnings=("./b&c has no test set", "labels may be wrong")))
    assert "./b&amp;c has no test set." in page
    assert "Labels may be wrong." in page


def test_the_json_has_everything_but_pixels(tmp_path: Path) -> None:
    mistakes.write(make(1), tmp_path)
    found = json.loads((tmp_path / "mistakes.json").read_text("utf-8"))
    assert (found["cnnkit"], found["command"], found["status"]) == (1, "mistakes", "ok")
    assert found["data"]["worst"] == [
        {
            "source": "test/circles/0000.jpg",
            "label": "circles",
            "predicted": "triangles",
            "probability": 0.99,
            "label_probability": 0.01,
            "nearest": {"source": "train/triangles/0812.jpg", "label": "triangles", "similarity": 0.934},
        }
    ]
    assert found["data"]["confused"] == [{"label": "circles", "predicted": "triangles", "images": 1, "share": 0.031}]


def test_older_files_are_replaced(tmp_path: Path) -> None:
    mistakes.write(make(12), tmp_path)
    with Image.open(tmp_path / "mistakes.png") as image:
        before = image.size
    mistakes.write(make(0), tmp_path)
    with Image.open(tmp_path / "mistakes.png") as image:
        assert image.size[1] < before[1]
    assert "taken for <span" not in (tmp_path / "mistakes.html").read_text("utf-8")
    assert len(list(tmp_path.iterdir())) == 3

"""Predictions: bars, one image, many images, and what was assumed."""

from collections.abc import Callable
from pathlib import Path

import pytest

from cnnkit.cautions import Caution
from cnnkit.errors import ImageError
from cnnkit.render import predictions
from cnnkit.runtime.prediction import Prediction
from tests.expecting import rows_of

Make = Callable[..., Prediction]
Golden = Callable[[str, str], None]
Captured = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("fraction", "text"),
    [(0, ""), (1, "████████"), (0.5, "████"), (1 / 64, "▏"), (3 / 16, "█▌"), (0.999, "████████"), (1e-6, "")],
)
def test_a_bar_is_exact_to_an_eighth_of_a_character(fraction: float, text: str) -> None:
    assert predictions.bar(fraction, 8) == text


def test_one_image(golden: Golden, capsys: Captured, make_prediction: Make) -> None:
    scores = (("7", 0.9713), ("1", 0.02), ("9", 0.0087), ("2", 0.0), ("3", 0.0))
    found = make_prediction("seven.png", *scores, steps=("colour to grey", "inverted"))
    predictions.show([found], "digits", "onnxruntime CPU", [])
    out = capsys.readouterr().out
    assert [row[:2] for row in rows_of(out)[3:6]] == [["7", "97.13%"], ["1", "2.00%"], ["9", "0.87%"]]
    assert "colour to grey; inverted" in out


def test_many_images(golden: Golden, capsys: Captured, make_prediction: Make) -> None:
    found = [
        make_prediction("a.png", ("circles", 0.9), ("squares", 0.0999), ("triangles", 0.0001)),
        make_prediction("some/longer/folder/b.png", ("triangles", 1.0), ("squares", 0.0), ("circles", 0.0)),
    ]
    predictions.show(found, "shapes.onnx", "onnxruntime CPU", ["layout NCHW", "no labels given: classes are numbered"])
    golden("predict", capsys.readouterr().out)


SMALL = ("contain from 40×40 to 28×28",)
GUESSED = (Caution("16-bit to 8-bit, range 0–4095 guessed from this image", "guessed"), *SMALL)


def test_what_was_done_to_all_images_alike_is_said_once(capsys: Captured, make_prediction: Make) -> None:
    predictions.show([make_prediction(f"{i}.png", ("a", 1.0), steps=SMALL) for i in range(3)], "net", "PyTorch", [])
    out = capsys.readouterr().out
    assert "all seen as: contain from 40×40 to 28×28\n" in out
    assert out.count("contain") == 1


@pytest.mark.parametrize("width", [80, 120])
def test_what_was_done_to_images_is_said_for_each_where_it_differs(
    width: int, golden: Golden, capsys: Captured, make_prediction: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    steps = [SMALL, GUESSED, SMALL, (), (Caution("first of 3 frames", "frames"), "palette to RGB")]
    scores = ("circles", 0.8), ("squares", 0.15), ("triangles", 0.05)
    found = [make_prediction(f"{index}.png", *scores, steps=each) for index, each in enumerate(steps)]
    predictions.show(found, "net", "PyTorch", [])
    out = capsys.readouterr().out
    rows = [row for row in rows_of(out) if row[0].endswith(".png")]
    assert [row[4] for row in rows] == ["1", "2", "1", "3", "4"] if width == 80 else len(rows) == 5
    assert [out.count(text) for text in ("seen 1: ", "seen 2: ", "seen 3: ", "seen 4: ")] == [1, 1, 1, 1]
    assert out.index("range 0–4095") < out.index("first of 3 frames") < out.index("palette to RGB")


def test_what_may_make_a_prediction_wrong_is_yellow(
    capsys: Captured, make_prediction: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    found = [make_prediction(f"{index}.png", ("a", 1.0), steps=each) for index, each in enumerate((GUESSED, SMALL))]
    for shown in (found[:1], found):
        predictions.show(shown, "net", "PyTorch", [])
        assert "\x1b[33m16-bit to 8-bit, range 0–4095 guessed from this image\x1b[0m" in capsys.readouterr().out


def test_at_most_ten_ways_are_written_out(capsys: Captured, make_prediction: Make) -> None:
    for count, last in ((10, "seen 10: contain from 9×9"), (11, "and 1 more way ("), (24, "and 14 more ways (")):
        steps = [(f"contain from {side}×{side} to 28×28",) for side in range(count)]
        found = [make_prediction(f"{index}.png", ("a", 1.0), steps=each) for index, each in enumerate(steps)]
        predictions.show(found, "net", "PyTorch", [])
        lines = capsys.readouterr().out.splitlines()
        assert sum(line.startswith("seen ") for line in lines) == min(count, 10)
        assert lines[-2].startswith(last)


def test_one_class_an_image_needs_no_second_column(capsys: Captured, make_prediction: Make) -> None:
    predictions.show([make_prediction(name, ("a", 0.75)) for name in ("x.png", "y.png")], "net", "PyTorch", [])
    out = capsys.readouterr().out
    assert "next" not in out
    assert out.count("75.00%") == 2


def test_no_image_still_names_the_model(capsys: Captured) -> None:
    predictions.show([], "net", "PyTorch", [])
    assert capsys.readouterr().out == "model net, PyTorch\n"


@pytest.mark.parametrize("name", ["cat[old].png", "[/].png", "[bold]x.png"])
def test_brackets_in_file_names_and_labels_are_shown_as_they_are(
    name: str, capsys: Captured, make_prediction: Make
) -> None:
    found = [make_prediction(source, (f"label {name}", 0.9)) for source in (name, "b.png")]
    predictions.show(found, "net", "PyTorch", [])
    predictions.show(found[:1], "net", "PyTorch", [])
    assert capsys.readouterr().out.count(name) == 2 + 1 + 2


def test_files_below_the_working_folder_lose_its_path(
    capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_prediction: Make
) -> None:
    monkeypatch.chdir(tmp_path)
    for place in (tmp_path / "in" / "a.png", tmp_path.parent / "a.png"):
        predictions.show([make_prediction(str(place), ("a", 1.0))], "net", "PyTorch", [])
    first, second = (line for line in capsys.readouterr().out.splitlines() if "a.png" in line)
    assert first == str(Path("in") / "a.png")
    assert second == str(tmp_path.parent / "a.png")


def test_good_and_bad_images_are_told_apart_in_order(capsys: Captured, make_prediction: Make) -> None:
    good = [make_prediction(f"{index}.png", ("a", 1.0)) for index in range(3)]
    bad = ImageError("x.png is damaged")
    assert predictions.collect(iter([good[0], bad, *good[1:]]), 4) == (good, [bad])
    assert predictions.collect(iter([bad]), 1) == ([], [bad])
    assert capsys.readouterr() == ("", "")


def test_a_terminal_sees_a_bar_for_many_images(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch, make_prediction: Make
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    predictions.collect(iter([make_prediction("a.png", ("a", 1.0))] * 12), 12)
    out, err = capsys.readouterr()
    assert out == ""
    assert "predicting" in err
    assert "12/12" in err

"""Explanations: a folder that is its own, and a page that stands alone in a real browser."""

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnnkit.errors import OutputError
from cnnkit.inspection.explanations import Explanation
from cnnkit.render import explanation as rendered
from tests.expecting import expect_error

FILES = [
    "input.png", "occlusion.png", "grad-cam.png", "integrated-gradients.png", "maps-01-block.conv.png",
    "maps-02-block.drop.png", "filters-block.conv.png", "filters-deep.png", "index.html", "explanation.json",
]  # fmt: skip


def test_the_folder_holds_a_page_a_png_for_each_picture_and_the_numbers(
    explanation: Explanation, tmp_path: Path
) -> None:
    folder = tmp_path / "new" / "folder"
    rendered.require_own(folder)
    assert rendered.save(explanation, folder) == FILES
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    for path in folder.glob("*.png"):
        with Image.open(path) as image:
            image.load()
            assert image.format == "PNG"
    with Image.open(folder / "input.png") as image:
        np.testing.assert_array_equal(np.asarray(image), explanation.pixels)


def test_the_numbers_are_those_of_the_result_without_its_arrays(explanation: Explanation, tmp_path: Path) -> None:
    rendered.save(explanation, tmp_path)
    found = json.loads((tmp_path / "explanation.json").read_text("utf-8"))
    assert found["files"] == FILES
    assert found["target"] == {"label": "square", "probability": 0.875}
    assert found["occlusion"] == {"patch": [2, 2], "stride": [1, 1], "colour": [0, 0, 0], "lowest": 0.125}
    assert found["grad_cam"] == {"layer": "block.relu", "shape": [2, 2]}
    assert found["integrated_gradients"] == {"colour": [0, 0, 0], "difference": 4.3, "total": 4.25, "steps": 64}
    assert found["layers"][1] == {
        "layer": "block.drop", "kind": "Dropout", "shape": [3, 8, 10], "silent": 1, "same_as": "block.conv",
    }  # fmt: skip
    assert found["prediction"]["steps"] == ["stretch from 80×64 to 10×8"]


def test_the_page_stands_alone_and_says_what_was_found(
    explanation: Explanation, tmp_path: Path, stands_alone: Callable[[Path], str]
) -> None:
    rendered.save(explanation, tmp_path)
    text = stands_alone(tmp_path / "index.html")
    for said in (
        "a<b>.png",
        "net says square (87.50%)",
        "What speaks for square",
        "at worst, 87.50% became 12.50%",
        "where the maps of block.relu (2×2) speak for square",
        "They sum to 4.25, the logits differ by 4.30",
        "Conv2d, 3×8×10, values from −0.5 to 0.5; 1 of 3 maps nowhere above zero",
        "Dropout: the maps of block.conv, as it does nothing outside training",
        "4 kernels of 3×3, in the colours that they look for",
        "a column for each of 3 outputs, a row for each of 2 inputs, kernels of 3×3",
        "Something was left out.",
        "stretch from 80×64 to 10×8",
        "torch 2.15.0",
    ):
        assert said in text
    assert "never trained" not in text


def test_a_page_without_layers_and_gradients_leaves_their_places_out(explanation: Explanation, tmp_path: Path) -> None:
    bare = dataclasses.replace(
        explanation, grad_cam=None, integrated_gradients=None, layers=(), filters=(), notes=(), trained=False
    )
    assert rendered.save(bare, tmp_path) == ["input.png", "occlusion.png", "index.html", "explanation.json"]
    page = (tmp_path / "index.html").read_text("utf-8")
    assert "The weights are random" in page
    for absent in ("Grad-CAM", "Integrated", "What the layers see", "filters", "Notes"):
        assert absent not in page


def test_a_class_that_was_not_predicted_is_named_as_what_is_explained(explanation: Explanation, tmp_path: Path) -> None:
    other = dataclasses.replace(explanation, target=explanation.prediction.scores[2])
    rendered.save(other, tmp_path)
    page = (tmp_path / "index.html").read_text("utf-8")
    assert "net says square (87.50%); explained here: triangle (2.50%)" in page
    assert "What speaks for triangle" in page


def test_where_nothing_speaks_for_the_class_the_page_says_so(explanation: Explanation, tmp_path: Path) -> None:
    cam = dataclasses.replace(explanation.grad_cam, values=np.zeros((2, 2), np.float32))
    rendered.save(dataclasses.replace(explanation, grad_cam=cam), tmp_path)
    assert "Nowhere do the maps of block.relu speak for it." in (tmp_path / "index.html").read_text("utf-8")


def test_where_hiding_costs_nothing_the_page_says_so(explanation: Explanation, tmp_path: Path) -> None:
    hidden = dataclasses.replace(explanation.occlusion, values=explanation.occlusion.values / 1000, lowest=0.8745)
    rendered.save(dataclasses.replace(explanation, occlusion=hidden), tmp_path)
    page = (tmp_path / "index.html").read_text("utf-8")
    assert "No part that is hidden costs much." in page
    assert "87.50% became 87.45%" in page


def test_an_older_explanation_is_replaced_and_leaves_nothing(explanation: Explanation, tmp_path: Path) -> None:
    rendered.save(explanation, tmp_path)
    (tmp_path / ".cnnkit.0123abcd.tmp").write_bytes(b"left by a killed writer")
    rendered.require_own(tmp_path)
    files = rendered.save(dataclasses.replace(explanation, filters=(), layers=()), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(files)
    assert len(files) == 6


@pytest.mark.parametrize("numbers", [None, "{", "[]", '{"files": ["notes.txt"]}', '{"made_by": "cnnkit explain"}'])
def test_a_folder_with_anything_else_is_left_alone(numbers: str | None, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    if numbers is not None:
        (tmp_path / "explanation.json").write_text(numbers)
    with expect_error(OutputError, "notes.txt"):
        rendered.require_own(tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_after_a_writer_that_was_stopped_the_folder_is_still_its_own(
    explanation: Explanation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendered.save(explanation, tmp_path)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    shorter = dataclasses.replace(explanation, filters=())
    for place in ("page", "write"):
        with monkeypatch.context() as patch:
            patch.setattr(rendered if place == "page" else rendered.pages, place, stop)
            with pytest.raises(KeyboardInterrupt):
                rendered.save(shorter, tmp_path)
        rendered.require_own(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(rendered.save(explanation, tmp_path))


def test_a_file_or_a_place_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with expect_error(OutputError):
        rendered.require_own(tmp_path / "file")
    if os.name == "posix":
        with expect_error(OutputError, "/proc/nowhere"):
            rendered.require_own(Path("/proc/nowhere"))

"""The terminal version: pictures of half blocks, as wide as there is room for."""

import dataclasses
import io
import re
from collections.abc import Callable

import numpy as np
import pytest
from rich.console import Console

from cnnkit.inspection.explanations import Explanation
from cnnkit.render import blocks, console

Golden = Callable[[str, str], None]


def drawn(pixels: np.ndarray, width: int, *, colours: bool) -> str:
    terminal = Console(
        file=io.StringIO(), force_terminal=True, color_system="truecolor" if colours else None, width=200
    )
    terminal.print(blocks.half_blocks(pixels, width, colours=colours))
    return terminal.file.getvalue()


def test_a_character_is_two_pixels_the_upper_one_in_front() -> None:
    pixels = np.array([[[255, 0, 0]], [[0, 0, 255]]], np.uint8)
    assert drawn(pixels, 1, colours=True) == "\x1b[38;2;255;0;0;48;2;0;0;255m▀\x1b[0m\n"


def test_without_colours_there_are_shades() -> None:
    pixels = np.repeat(np.array([0, 64, 128, 191, 255], np.uint8)[None, :, None], 2, 0).repeat(3, 2)
    assert drawn(pixels, 5, colours=False) == " ░▒▓█\n"


@pytest.mark.parametrize(("shape", "lines"), [((28, 28), 12), ((10, 40), 3), ((40, 10), 48), ((1, 300), 1)])
def test_the_shape_is_that_of_the_image(shape: tuple[int, int], lines: int) -> None:
    text = blocks.half_blocks(np.zeros((*shape, 3), np.uint8), 24, colours=False)
    assert [len(line) for line in text.plain.split("\n")] == [24] * lines


@pytest.mark.parametrize("width", [80, 120])
def test_what_a_terminal_shows(
    width: int,
    explanation: Explanation,
    golden: Golden,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    blocks.show(explanation)
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= width
    if width == 80:
        golden("explain", out)


def test_a_narrow_terminal_gets_fewer_pictures(
    explanation: Explanation, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    blocks.show(explanation)
    out = capsys.readouterr().out
    assert "the image" in out
    assert "Grad-CAM" not in out
    assert "map 1" in out
    assert "map 3" not in out


def test_an_onnx_file_shows_its_occlusion(explanation: Explanation, capsys: pytest.CaptureFixture[str]) -> None:
    blocks.show(
        dataclasses.replace(explanation, grad_cam=None, integrated_gradients=None, layers=(), filters=(), notes=())
    )
    out = capsys.readouterr().out
    assert "occlusion for square" in out
    assert "maps" not in out


def test_in_a_real_terminal_the_pictures_have_colours(
    explanation: Explanation, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Console(file=io.StringIO(), force_terminal=True, color_system="truecolor", width=80)
    monkeypatch.setattr(console, "out", lambda: terminal)
    blocks.show(explanation)
    out = terminal.file.getvalue()
    assert "▀" in out
    reds = [tuple(map(int, found)) for found in re.findall(r"38;2;(\d+);(\d+);(\d+)", out)]
    assert any(red > 150 > blue for red, _, blue in reds)

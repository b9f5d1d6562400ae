"""How an attack looks in a terminal of 80 columns, as curves, and at a glance."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnnkit.errors import OutputError
from cnnkit.render import robustness
from cnnkit.render.plots import LINES
from cnnkit.robustness.results import (
    CORRUPTIONS,
    CorruptionCurve,
    FlipSearch,
    FooledImage,
    FoolingImage,
    FoolingSearch,
    GradientAttack,
    Robustness,
)
from tests.expecting import expect_error, rows_of

Golden = Callable[[str, str], None]
Captured = pytest.CaptureFixture[str]
RADII = {"linf": (8 / 255, 0.05, 0.1), "l2": (0.25, 1.0, 3.0)}


def picture(path: Path, level: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8), level, np.uint8)).save(path)
    return path


@pytest.fixture
def found() -> Robustness:
    flips = tuple(
        FlipSearch(name, tuple(0.25 * step if step < 12 else None for step in range(index, index + 14)), (), ())
        for index, name in enumerate(CORRUPTIONS, 1)
    )
    return Robustness(
        model="runs/net-1",
        engine="PyTorch CPU",
        data="photos",
        split="test",
        images=1000,
        seed=0,
        accuracy=0.987,
        corruptions=tuple(
            CorruptionCurve(name, (1, 2, 3, 4, 5), "", tuple(0.98 - 0.02 * index * s for s in range(1, 6)), ())
            for index, name in enumerate(CORRUPTIONS)
        ),
        attacks=tuple(
            GradientAttack(name, norm, steps, RADII[norm], (0.1,) * 3, (0.95, 0.5 / steps, 0.0), ())
            for norm in ("linf", "l2")
            for name, steps in (("fgsm", 1), ("pgd", 20))
        ),
        flips=flips,
        fooling=FoolingSearch(
            0.99,
            "gradient",
            (FoolingImage("dark", "dark", 0.9973, 12, None), FoolingImage("light", "dark", 0.4, 300, None)),
        ),
        notes=(),
        folder=None,
        seconds=3.0,
    )


def test_the_tables(found: Robustness, golden: Golden, capsys: Captured) -> None:
    robustness.show(found)
    shown = capsys.readouterr().out
    golden("attack", shown)
    assert max(map(len, shown.splitlines())) <= 80


def test_images_without_a_gradient_have_a_column(found: Robustness, capsys: Captured) -> None:
    fgsm, pgd, *others = found.attacks
    robustness.show(replace(found, attacks=(fgsm, replace(pgd, without_gradient=(777, 5, 0)), *others)))
    shown = capsys.readouterr().out
    assert (shown.count("no gradient, pgd"), "no gradient, fgsm" in shown) == (1, False)
    assert next(line for line in shown.splitlines() if "777" in line).split() == ["0.03137", "95.0%", "95.0%", "777"]
    assert max(map(len, shown.splitlines())) <= 80


def test_a_note_that_was_shown_as_a_warning_is_not_repeated(found: Robustness, capsys: Captured) -> None:
    robustness.show(replace(found, notes=("said before", "new"), warnings=("said before",)))
    shown = capsys.readouterr().out
    assert ("said before" in shown, "new." in shown) == (False, True)


def test_a_file_without_gradients_says_what_was_left_out(found: Robustness, capsys: Captured) -> None:
    assert found.fooling is not None
    less = replace(
        found,
        images=0,
        accuracy=None,
        data=None,
        split=None,
        corruptions=(),
        attacks=(),
        flips=(),
        fooling=replace(found.fooling, method="evolution"),
        notes=("fgsm and pgd follow gradients, which an ONNX file has none of: name the run of it",),
    )
    robustness.show(less)
    out = capsys.readouterr().out
    assert ["light", "40.00%", "dark", "300"] in rows_of(out)
    assert ("evolution" in out, "ONNX" in out, "fgsm" in out) == (True, True, True)


def test_one_of_a_kind_is_said_as_one(found: Robustness, capsys: Captured) -> None:
    fooling = FoolingSearch(0.99, "evolution", (FoolingImage("cat", "cat", 0.995, 1, None),))
    robustness.show(replace(found, images=1, fooling=fooling))
    shown = capsys.readouterr().out
    assert "runs/net-1 on photos, test: 1 image, PyTorch CPU" in shown
    assert "1 of 1 class with 99% or more" in shown


def test_a_network_that_is_never_right_has_nothing_to_flip(found: Robustness, capsys: Captured) -> None:
    robustness.show(replace(found, accuracy=0.0, flips=(FlipSearch("noise", (), (), ()),)))
    row = next(line for line in capsys.readouterr().out.splitlines() if line.count("–") == 5)
    assert row.split() == ["noise", *"–––––"]


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"), np.int16)


def shows(image: np.ndarray, colour: str) -> bool:
    return bool((np.abs(image - tuple(bytes.fromhex(colour[1:]))).max(2) < 12).sum() > 30)


def test_the_plot_has_a_panel_for_each_part_and_a_line_for_each_kind(found: Robustness, tmp_path: Path) -> None:
    robustness.plot(found, tmp_path / "plot.png")
    image = pixels(tmp_path / "plot.png")
    middle, centre = image.shape[0] // 2, image.shape[1] // 2
    for panel, lines in (
        (image[:middle, :centre], LINES),
        (image[:middle, centre:], LINES[:2]),
        (image[middle:, :centre], LINES[:2]),
        (image[middle:, centre:], LINES),
    ):
        assert all(shows(panel, colour) for colour in lines)


@pytest.mark.parametrize("part", ["corruptions", "attacks", "flips"])
def test_a_part_alone_is_drawn(part: str, found: Robustness, tmp_path: Path) -> None:
    empty = {"corruptions": (), "attacks": (), "flips": (), "fooling": None}
    del empty[part]
    robustness.plot(replace(found, **empty), tmp_path / "plot.png")
    assert shows(pixels(tmp_path / "plot.png"), LINES[0])


def fooled(folder: Path, number: int, strength: float) -> FooledImage:
    changed = picture(folder / "changed" / f"{strength}-{number}.png", 120)
    return FooledImage(number, "dark", "light and more", 0.9, strength, None, changed)


def test_the_sheets_show_what_is_in_the_folder(found: Robustness, tmp_path: Path) -> None:
    fgsm, *others = found.attacks
    fgsm = replace(fgsm, examples=tuple(fooled(tmp_path, number, 0.1) for number in range(3)))
    curve = replace(found.corruptions[0], samples=tuple(picture(tmp_path / f"c{s}.png", 99) for s in range(5)))
    flip = replace(found.flips[0], examples=(fooled(tmp_path, 7, 1.25),))
    image = FoolingImage("dark", "dark", 0.995, 3, picture(tmp_path / "fooling" / "dark.png", 120))
    kept = replace(
        found,
        corruptions=(curve, *found.corruptions[1:]),
        attacks=(fgsm, *others),
        flips=(flip,),
        fooling=FoolingSearch(0.99, "gradient", (image,)),
    )
    written = robustness.write_sheets(kept, tmp_path)
    assert [path.name for path in written] == ["corruptions.png", "fgsm-linf.png", "flips.png", "fooling.png"]
    for path in written:
        assert shows(pixels(path), "#636363" if path.stem == "corruptions" else "#787878")


def test_a_sheet_of_many_classes_is_no_ribbon(found: Robustness, tmp_path: Path) -> None:
    path = picture(tmp_path / "fooling" / "any.png", 120)
    images = tuple(FoolingImage(f"class {index}", f"class {index}", 0.995, 3, path) for index in range(400))
    only = {"corruptions": (), "attacks": (), "flips": (), "fooling": FoolingSearch(0.99, "evolution", images)}
    (sheet,) = robustness.write_sheets(replace(found, **only), tmp_path)
    with Image.open(sheet) as image:
        assert 0.5 < image.width / image.height < 2


def test_a_curve_that_was_stopped_before_the_last_kind_is_drawn(found: Robustness, tmp_path: Path) -> None:
    some = replace(found, corruptions=found.corruptions[:2], attacks=(), flips=found.flips[:1], fooling=None)
    robustness.plot(some, tmp_path / "plot.png")
    assert shows(pixels(tmp_path / "plot.png"), LINES[1])


def test_where_no_picture_is_kept_no_sheet_is_drawn(found: Robustness, tmp_path: Path) -> None:
    assert robustness.write_sheets(found, tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_a_plot_that_cannot_be_written_is_an_output_error(found: Robustness, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with expect_error(OutputError, "plot.png"):
        robustness.plot(found, tmp_path / "file" / "plot.png")

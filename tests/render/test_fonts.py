"""Names in scripts that matplotlib's font lacks: drawn in a font of the machine, or said to be missing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen

from cnnkit.render import fonts

RARE = "\U00010570"
"""A letter of Vithkuqi, which few machines have a font for."""

DRAW = """
import sys
import numpy as np
from cnnkit.render import contact_sheet, fonts, plots
from matplotlib.figure import Figure
from pathlib import Path

name, folder = sys.argv[1], Path(sys.argv[2])
figure = Figure()
figure.suptitle(name)
plots.save(figure, folder / "plot.png")
contact_sheet.write(folder / "sheet.png", name, "", [contact_sheet.Tile("", [(np.zeros((4, 4, 1), np.uint8), name)])])
print(fonts.path_for(name))
print(fonts.note([name]))
"""


def make_font(path: Path, characters: str) -> None:
    """Write a font in which some characters are squares."""
    pen = TTGlyphPen(None)
    pen.moveTo((100, 0))
    for corner in ((100, 800), (900, 800), (900, 0)):
        pen.lineTo(corner)
    pen.closePath()
    names = [".notdef", *(f"u{ord(each):X}" for each in characters)]
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(each): name for each, name in zip(characters, names[1:], strict=True)})
    builder.setupGlyf(dict.fromkeys(names, pen.glyph()))
    builder.setupHorizontalMetrics(dict.fromkeys(names, (1000, 100)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Rare", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    path.parent.mkdir(parents=True)
    builder.save(path)


@pytest.mark.parametrize("text", ["", "cat", "été, Ελλάδα, кот", "line\nbreak"])
def test_what_the_own_font_has_is_drawn_in_it(text: str) -> None:
    assert fonts.path_for(text).name == "DejaVuSans.ttf"
    assert fonts.note([text]) == ""


@pytest.mark.skipif(sys.platform != "linux", reason="where fonts lie differs")
@pytest.mark.parametrize("installed", [False, True])
def test_a_font_of_the_machine_is_used_where_there_is_one(installed: bool, tmp_path: Path) -> None:
    if installed:
        make_font(tmp_path / ".local" / "share" / "fonts" / "rare.ttf", RARE)
    home = {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path / ".local" / "share")}
    done = subprocess.run(
        [sys.executable, "-c", DRAW, RARE, str(tmp_path)],
        capture_output=True,
        check=True,
        env={**os.environ, **home},
        text=True,
    )
    path, note = done.stdout.splitlines()
    if Path(path).name not in {"rare.ttf", "DejaVuSans.ttf"}:
        pytest.skip("this machine has a font of that script")
    assert Path(path).name == ("rare.ttf" if installed else "DejaVuSans.ttf")
    assert bool(note) != installed
    assert done.stderr == ""

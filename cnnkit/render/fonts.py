"""Fonts for pictures: matplotlib's own, and for scripts that it lacks one of this machine's."""

import re
import warnings
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from cnnkit.words import listed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_OFTEN = ("notosanscjk", "notosans", "sourcehan", "wqy", "hiragino", "yahei", "msgothic", "malgun", "arialuni", "droid")
"""Parts of the names of files of fonts with many scripts: these are chosen before others that have as much."""


def path_for(text: str) -> Path:
    """Return the font file that has the most characters of a text: matplotlib's own unless another has more."""
    return _best(frozenset(filter(str.isprintable, text)))


def apply(figure: "Figure") -> None:
    """Let each text of a figure be drawn in matplotlib's own font, and what that lacks in another one."""
    from matplotlib.font_manager import FontProperties, fontManager
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        if isinstance(text, Text) and (other := path_for(text.get_text())) != _own():
            fontManager.addfont(other)
            text.set_fontfamily(["DejaVu Sans", FontProperties(fname=other).get_name()])


def note(texts: Iterable[str]) -> str:
    """Say which characters of some texts pictures lack, as a sentence without its full stop; "" for none of them."""
    lost = sorted({each for text in texts for each in set(filter(str.isprintable, text)) - _characters(path_for(text))})
    if not lost:
        return ""
    which = listed([repr(each) for each in lost], 5)
    return f"no font of this machine has {which}, so pictures show boxes. Install one, such as Noto Sans CJK"


@cache
def _own() -> Path:
    from matplotlib import get_data_path

    return Path(get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"


@cache
def _best(wanted: frozenset[str]) -> Path:
    if wanted <= _characters(_own()):
        return _own()
    from matplotlib.font_manager import findSystemFonts

    upright = (path for path in map(Path, sorted(findSystemFonts())) if not re.search("bold|italic", path.stem.lower()))
    often = sorted(upright, key=lambda path: not any(name in path.stem.lower() for name in _OFTEN))
    return max([_own(), *often], key=lambda path: len(wanted & _characters(path)))


@cache
def _characters(path: Path) -> frozenset[str]:
    """Return the characters that a font has; none of one that cannot be read or scaled."""
    from matplotlib.ft2font import FT2Font

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            font = FT2Font(path)
        except Exception:  # whatever a font file of the machine is
            return frozenset()
        return frozenset(map(chr, font.get_charmap())) if font.scalable else frozenset()

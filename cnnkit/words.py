"""How numbers and names are written in messages, tables and pages.

A number has no more digits than the images behind it give.
"""

import re
import shlex
from collections.abc import Iterable


def counted(number: float, one: str, many: str = "") -> str:
    """Write a number of things, as 1 image, 1,200 images and 0.5 seconds.

    Args:
        number: of the things.
        one: the noun in the singular.
        many: its plural, where that is not `one` with an s.
    """
    written = f"{number:,}" if isinstance(number, int) else f"{number:g}"
    return f"{written} {agree(number, one, many or f'{one}s')}"


def part_of(number: int, total: int, one: str) -> str:
    """Write how many of all things something was measured on; a total of 0 is not known.

    >>> part_of(1_000, 10_000, "image"), part_of(10_000, 10_000, "image")
    ('1,000 of 10,000 images', '10,000 images')
    """
    return f"{number:,} of {counted(total, one)}" if number < total else counted(number, one)


def shown_of(shown: int, total: int, one: str, many: str) -> str:
    """Say how many of all things are shown.

    >>> shown_of(12, 133, "mistake", "mistakes"), shown_of(2, 2, "mistake", "mistakes")
    ('The first 12 of 133 mistakes.', 'All 2 mistakes.')
    """
    things = counted(total, one, many)
    if shown < total:
        return f"The first {shown:,} of {things}."
    return f"All {things}." if total > 1 else f"{things}."


def duration(seconds: float) -> str:
    """Write a time as 49 seconds, 2.5 minutes or 1.3 hours."""
    for unit, length in (("hour", 3600), ("minute", 60)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.1f} {unit}s"
    return counted(round(seconds), "second") if seconds >= 1 else "less than a second"


def agree(number: float, one: str, many: str) -> str:
    """Choose the form of a word that agrees with a number of things, as has and have."""
    return one if number == 1 else many


def listed(names: Iterable[str], most: int = 3) -> str:
    """Name a few of many.

    >>> listed(["cat", "dog"]), listed(["cat", "cow", "dog", "emu", "fox"])
    ('cat and dog', 'cat, cow, dog and 2 others')
    """
    names = list(names)
    if len(names) > most + 1:  # "and 1 other" would be no shorter than its name
        names = [*names[:most], f"{len(names) - most:,} others"]
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def sentence(text: str) -> str:
    """Write a remark as a sentence; a path or a number at its start stays as it is."""
    first = text.partition(" ")[0]
    return f"{text[0].upper() if first.isalpha() else text[0]}{text[1:]}."


def percent(fraction: float | None, *, of: int) -> str:
    """Write a fraction that was measured on images: 98.64%, 98.6% or 99%.

    The last digit stands for at least one image: two decimals from 10,000 images on, one from 1,000 on, none for fewer.
    Only all of them are 100%, and only none of them 0%: what would round to these is >99% or <1%.

    Args:
        fraction: from 0 to 1: a share of the images, or a mean over them; None is a dash.
        of: number of images; 0 where it is not known.

    >>> percent(0.9864, of=10_000), percent(0.9864, of=1_000), percent(0.9864, of=500), percent(0.9986, of=500)
    ('98.64%', '98.6%', '99%', '>99%')
    """
    if fraction is None:
        return "–"
    if fraction <= 0 or fraction >= 1:
        return f"{fraction:.0%}"
    decimals = _decimals(of)
    unit = 10.0 ** (-2 - decimals)
    shown = round(100 * fraction, decimals)
    if shown <= 0:
        return f"<{unit:.{decimals}%}"
    return f">{1 - unit:.{decimals}%}" if shown >= 100 else f"{shown:.{decimals}f}%"


def share(fraction: float | None, *, of: int) -> str:
    """Write a share of images as `percent` does; of fewer than 100 with the count, as 31 of 36 (86%)."""
    if fraction is None or not 0 < of < 100:
        return percent(fraction, of=of)
    count = round(fraction * of)
    return f"{count} of {of} ({percent(count / of, of=of)})"


def points(difference: float, *, of: int) -> str:
    """Write a difference of two accuracies, in percentage points, with a decimal more than `percent` has, at most two.

    >>> points(1.1111, of=90), points(0.0312, of=10_000)
    ('1.1', '0.03')
    """
    return f"{difference:.{min(2, _decimals(of) + 1)}f}"


def megabytes(size: float) -> str:
    """Write a size that is given in MB as 4.20 MB, and a small one as 88 kB."""
    return f"{size * 1000:,.3g} kB" if size < 0.1 else f"{size:,.2f} MB"


def probability(fraction: float) -> str:
    """Write a probability that the network gives to one image, as 99.73%."""
    return f"{fraction:.2%}"


def plain_percent(fraction: float) -> str:
    """Write a fraction that somebody chose or reported with the digits that it has, as 99.5% and 90%."""
    return f"{100 * fraction:.6g}%"


def _decimals(images: int) -> int:
    return 2 if images >= 10_000 else 1 if images >= 1_000 else 0


def quoted(name: str) -> str:
    """Put a name or path with blanks in quotes, as a shell wants it.

    >>> quoted("cat"), quoted("my cat")
    ('cat', "'my cat'")
    """
    return shlex.quote(name) if re.search(r"\s", name) else name

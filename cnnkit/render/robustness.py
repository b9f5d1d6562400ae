"""How easily a network is fooled: the tables, the curves, and the pictures at a glance."""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.table import Table
from rich.text import Text

from cnnkit.pictures import Pixels, decode
from cnnkit.render import console, contact_sheet
from cnnkit.render.contact_sheet import Tile
from cnnkit.render.plots import LINES, save
from cnnkit.robustness.results import (
    CorruptionCurve,
    FlipSearch,
    FooledImage,
    FoolingSearch,
    GradientAttack,
    Robustness,
)
from cnnkit.words import counted, part_of, percent, plain_percent, probability, share

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.ticker import PercentFormatter

_NORMS = {"linf": "L∞", "l2": "L2"}
_SHARES = (0.1, 0.25, 0.5)


def show(result: Robustness) -> None:
    """Draw what was found, a table for each part."""
    out = console.out()
    if result.accuracy is not None:
        title = f"{result.model} on {result.data}, {result.split}: {_measured(result)}, {result.engine}"
        console.say(out, Text(title, "bold"))
        out.print(Text.assemble(share(result.accuracy, of=result.images), " right as they are", style="green"))
        out.print()
    else:
        console.say(out, Text(f"{result.model}, {result.engine}", "bold"))
        out.print()
    if result.corruptions:
        console.titled(out, "Accuracy by severity of a corruption", _corruptions(result.corruptions, result.images))
    for norm in dict.fromkeys(found.norm for found in result.attacks):
        found = [attack for attack in result.attacks if attack.norm == norm]
        console.titled(out, _attack_title(found), _attacks(found, result.images))
    if result.attacks:
        console.say(out, Text("Upper bounds of the robust accuracy: another attack may fool more.", "dim"))
        out.print()
    if result.flips:
        console.titled(out, "Smallest severity that flips a right answer", _flips(result.flips))
    if result.fooling is not None:
        console.titled(out, _fooling_title(result.fooling), _fooling(result.fooling))
    for note in result.notes:
        if note in result.warnings:  # which were shown on the way
            continue
        console.say(out, Text(f"{console.printable(note)}.", "yellow"))
    console.assumed(out, result.assumptions)


def _measured(result: Robustness) -> str:
    return part_of(result.images, result.split_images, "image")


def _corruptions(curves: Sequence[CorruptionCurve], images: int) -> Table:
    table = console.table()
    table.add_column("corruption", style="bold")
    for severity in range(1, 1 + len(curves[0].accuracies)):
        table.add_column(str(severity), justify="right")
    table.add_column("mean", justify="right")
    for curve in curves:
        mean = sum(curve.accuracies) / len(curve.accuracies)
        table.add_row(curve.name, *(_accuracy(value, images) for value in (*curve.accuracies, mean)))
    return table


def _accuracy(value: float, images: int) -> Text:
    return Text(percent(value, of=images), "green" if value >= 0.9 else "yellow" if value >= 0.5 else "red")


def _attack_title(found: Sequence[GradientAttack]) -> str:
    title = f"Accuracy by radius in {_NORMS[found[0].norm]}, pixels counted as 0 to 1"
    for attack in found:
        if attack.attack == "pgd":
            title += f", pgd of {counted(attack.steps, 'step')}"
            title += f" and {attack.restarts} restarts" if attack.restarts > 1 else ""
    return title


def _attacks(found: Sequence[GradientAttack], images: int) -> Table:
    table = console.table()
    table.add_column("radius", justify="right", style="bold")
    masked = [attack for attack in found if any(attack.without_gradient)]
    for attack in found:
        table.add_column(attack.attack, justify="right")
    for attack in masked:
        table.add_column(f"no gradient, {attack.attack}", justify="right")
    for index, epsilon in enumerate(found[0].epsilons):
        accuracies = [_accuracy(attack.accuracies[index], images) for attack in found]
        counts = [f"{attack.without_gradient[index]:,}" for attack in masked]
        table.add_row(f"{epsilon:.4g}", *accuracies, *counts)
    return table


def _flips(found: Sequence[FlipSearch]) -> Table:
    table = console.table()
    table.add_column("corruption", style="bold")
    for name in ("least", "a tenth by", "a quarter by", "half by", "flipped up to 5"):
        table.add_column(name, justify="right")
    for search in found:
        least = search.quantile(0)
        marks = [least, *map(search.quantile, _SHARES)]
        share = percent(search.flipped if search.severities else None, of=len(search.severities))
        table.add_row(search.name, *("–" if mark is None else f"{mark:.2f}" for mark in marks), share)
    return table


def _fooling_title(found: FoolingSearch) -> str:
    how = "along the gradient" if found.method == "gradient" else "by evolution"
    classes = counted(len(found.images), "class", "classes")
    return f"Images from noise, {how}: {found.fooled} of {classes} with {plain_percent(found.confidence)} or more"


def _fooling(found: FoolingSearch) -> Table:
    table = console.table()
    table.add_column("class", style="bold", overflow="fold")
    table.add_column("probability", justify="right", no_wrap=True)
    table.add_column("taken for", overflow="fold")
    table.add_column("steps", justify="right", no_wrap=True)
    for image in found.images:
        fooled = image.probability >= found.confidence
        sure = Text(probability(image.probability), "green" if fooled else "red")
        table.add_row(console.printable(image.label), sure, console.printable(image.taken_for), str(image.steps))
    return table


def plot(result: Robustness, path: Path) -> None:
    """Draw accuracy over severity and radius, and the share of flipped images over severity, to a PNG.

    Raises:
        OutputError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    by_norm: dict[str, list[GradientAttack]] = {}
    for attack in result.attacks:
        by_norm.setdefault(attack.norm, []).append(attack)
    clean = result.accuracy or 0.0
    panels: list[Callable[[Axes], None]] = [partial(_plot_attacks, found, clean) for found in by_norm.values()]
    if result.corruptions:
        panels.insert(0, partial(_plot_corruptions, result.corruptions, clean))
    if result.flips:
        panels.append(partial(_plot_flips, result.flips))
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(5.4 * columns, 0.5 + 3.9 * rows), layout="constrained")
    figure.suptitle(f"{result.model} on {result.data}: {_measured(result)}", parse_math=False)
    places = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes, draw in zip(places, panels, strict=False):
        draw(axes)
        axes.set_ylim(-0.02, 1.02)
        axes.yaxis.set_major_formatter(_percent_of_one())
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8)
    for axes in places[len(panels) :]:
        axes.remove()
    save(figure, path)


def _percent_of_one() -> "PercentFormatter":
    from matplotlib.ticker import PercentFormatter

    return PercentFormatter(1.0)


def _plot_corruptions(curves: Sequence[CorruptionCurve], clean: float, axes: "Axes") -> None:
    for colour, curve in zip(LINES, curves, strict=False):
        accuracies = (clean, *curve.accuracies)
        axes.plot(range(len(accuracies)), accuracies, color=colour, marker="o", markersize=4, label=curve.name)
    axes.set_xlabel("severity of the corruption")
    axes.set_ylabel("accuracy")


def _plot_attacks(found: Sequence[GradientAttack], clean: float, axes: "Axes") -> None:
    for colour, attack in zip(LINES, found, strict=False):
        radii, accuracies = (0, *attack.epsilons), (clean, *attack.accuracies)
        name = attack.attack if attack.attack == "fgsm" else f"pgd, {counted(attack.steps, 'step')}"
        axes.plot(radii, accuracies, color=colour, marker="o", markersize=4, label=name)
    axes.set_xlabel(f"radius in {_NORMS[found[0].norm]}, pixels counted as 0 to 1")
    axes.set_ylabel("upper bound of the robust accuracy")


def _plot_flips(found: Sequence[FlipSearch], axes: "Axes") -> None:
    for colour, search in zip(LINES, found, strict=False):
        at = sorted(value for value in search.severities if value is not None)
        shares = [count / len(search.severities) for count in range(1, len(at) + 1)]
        axes.step([0, *at, 5], [0, *shares, search.flipped], where="post", color=colour, label=search.name)
    axes.set_xlabel("severity of the corruption")
    axes.set_ylabel("right answers that are flipped")


def write_sheets(result: Robustness, folder: Path) -> list[Path]:
    """Draw the images that an attack left in its folder at a glance, one PNG a kind, and return these.

    Raises:
        OutputError: they cannot be written.
    """
    written = []
    for name, title, explanation, tiles in _sheets(result):
        shown = [tile for tile in tiles if tile.images]
        if shown:
            contact_sheet.write(folder / name, title, explanation, shown, columns=1)
            written.append(folder / name)
    return written


def captions(result: Robustness) -> Iterator[str]:
    """Yield the names of classes that the sheets show."""
    examples = [image for attack in result.attacks for image in attack.examples]
    for image in (*examples, *(image for flip in result.flips for image in flip.examples)):
        yield from (image.label, image.taken_for)
    if result.fooling is not None:
        yield from (image.label for image in result.fooling.images)


def _sheets(result: Robustness) -> Iterator[tuple[str, str, str, list[Tile]]]:
    amounts = [
        Tile(
            curve.name,
            [(_read(path), f"{amount:g}") for path, amount in zip(curve.samples, curve.amounts, strict=False)],
        )
        for curve in result.corruptions
    ]
    yield "corruptions.png", "Corruptions", "one image at severities 1 to 5, with the amounts", amounts
    turned = "images with their class; below, what the changed ones are taken for"
    for attack in result.attacks:
        rows = [
            tile
            for epsilon in attack.epsilons
            for tile in _pair(
                f"radius {epsilon:.4g}", [image for image in attack.examples if image.strength == epsilon]
            )
        ]
        yield f"{attack.attack}-{attack.norm}.png", f"{attack.attack} in {_NORMS[attack.norm]}", turned, rows
    flips = [tile for found in result.flips for tile in _pair(found.name, found.examples, at=True)]
    yield (
        "flips.png",
        "The least that flips an answer",
        "images with their class; below, the severity that changes it",
        flips,
    )
    if result.fooling is not None:
        cells = [
            (_read(image.image), f"{image.probability:.1%} {image.label}")
            for image in result.fooling.images
            if image.image is not None
        ]
        # Ten classes in two rows, a thousand about as wide as high.
        across = max(5, math.isqrt(len(cells)))
        rows = [Tile("", cells[at : at + across]) for at in range(0, len(cells), across)]
        yield "fooling.png", "Images from noise", "how surely each is taken for its class", rows


def _pair(heading: str, images: Sequence[FooledImage], *, at: bool = False) -> tuple[Tile, Tile]:
    """Return a row of images as they are, and below it one of what was changed, with its severity where that counts."""
    as_they_are = [(_read(image.original), image.label) for image in images if image.original is not None]
    changed = [
        (_read(image.changed), f"{f'{image.strength:.2f} ' if at else ''}→ {image.taken_for}")
        for image in images
        if image.changed is not None
    ]
    return Tile(heading, as_they_are), Tile("", changed)


def _read(path: Path) -> Pixels:
    return np.asarray(decode(path)[0].convert("RGB"))

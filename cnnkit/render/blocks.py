"""An explanation in a terminal: small pictures of half blocks, two pixels a character."""

import numpy as np
from PIL import Image
from rich.console import Console
from rich.style import Style
from rich.table import Table
from rich.text import Text

from cnnkit.inspection.explanations import Explanation
from cnnkit.pictures import Pixels
from cnnkit.render import console, heat, predictions
from cnnkit.render.explanation import shortened
from cnnkit.words import counted

_LARGE, _SMALL = 24, 12
"""Widths of pictures in characters."""
_SHADES = " ░▒▓█"


def show(found: Explanation) -> None:
    """Draw the image, what its class rests on, the classes, and the maps of the first layer."""
    out = console.out()
    count = max(1, min(3, (out.width + 2) // (_LARGE + 2)))
    seen = np.asarray(heat.grey(found.pixels).convert("RGB"))
    pictures = [("the image", seen)]
    target = found.target.label
    if found.grad_cam is not None:
        cam = found.grad_cam.values
        pictures.append((f"Grad-CAM for {target}", heat.colour(cam, float(cam.max()))))
    hidden = found.occlusion.values
    pictures.append((f"occlusion for {target}", heat.colour(hidden, heat.occlusion_limit(hidden))))
    out.print(_row(pictures[:count], _LARGE, out))
    out.print()
    predictions.show([shortened(found.prediction)], found.model, found.engine, found.assumptions, trained=found.trained)
    if found.layers:
        first = found.layers[0]
        limit = heat.limit_of(first.maps)
        fitting = max(1, (out.width + 2) // (_SMALL + 2))
        maps = [(f"map {index}", heat.colour(values, limit)) for index, values in enumerate(first.maps[:fitting], 1)]
        out.print()
        out.print(Text(f"{first.layer}, {len(maps)} of {counted(len(first.maps), 'map')}", "bold"))
        out.print(_row(maps, _SMALL, out))
    if found.notes:
        out.print()
    for note in found.notes:
        console.say(out, Text(note, "dim"))


def _row(pictures: list[tuple[str, Pixels]], width: int, out: Console) -> Table:
    """Put pictures, uint8 [H, W, 3], side by side under their titles."""
    row = Table.grid(padding=(0, 2, 0, 0))
    for _ in pictures:
        row.add_column(width=width, no_wrap=True, overflow="ellipsis")
    row.add_row(*(Text(console.printable(title), "dim") for title, _ in pictures))
    row.add_row(*(half_blocks(pixels, width, colours=out.color_system is not None) for _, pixels in pictures))
    return row


def half_blocks(pixels: Pixels, width: int, *, colours: bool) -> Text:
    """Draw uint8 [H, W, 3] so many characters wide; where there are no colours, in shades of one."""
    height = max(1, round(width * pixels.shape[0] / pixels.shape[1] / 2))
    way = Image.Resampling.BOX if pixels.shape[1] > width else Image.Resampling.BICUBIC
    small = np.asarray(Image.fromarray(pixels).resize((width, 2 * height), way))
    drawn = Text()
    for line in range(height):
        for upper, lower in zip(small[2 * line], small[2 * line + 1], strict=True):
            if colours:
                drawn.append("▀", Style.parse(f"{_rgb(upper)} on {_rgb(lower)}"))
            else:
                brightness = (int(upper.max()) + int(lower.max())) / 2
                drawn.append(_SHADES[round(brightness / 255 * (len(_SHADES) - 1))])
        if line < height - 1:
            drawn.append("\n")
    return drawn


def _rgb(colour: Pixels) -> str:
    return f"rgb({','.join(map(str, colour))})"

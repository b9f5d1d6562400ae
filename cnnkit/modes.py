"""From pictures of any mode of Pillow to upright grey or RGB ones of 8 bits. numpy and Pillow only."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops

from cnnkit import sixteen
from cnnkit.cautions import Caution
from cnnkit.depth import DEPTHS, PixelError, Range, Span, ends, misfit, scaled, value_range

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""How to turn an image by its EXIF orientation."""

_WORDS = {"1": "black and white", "L": "grey", "LA": "grey with alpha", "P": "palette", "PA": "palette with alpha"}
_SIGNED = 2
_ALPHA = {"LA", "La", "PA", "RGBA", "RGBa"}


class Picture(NamedTuple):
    """An upright picture of mode `L` or `RGB`, and what it was before.

    Attributes:
        image: the picture.
        steps: what was done to get there.
        mode: of the original, in words.
        span: of its values, where they are deeper than 8 bits.
        first_of_frames: others were left out.
        coarse: the upper 8 of 16 bits were read.
    """

    image: Image.Image
    steps: list[str]
    mode: str
    span: Span | None = None
    first_of_frames: bool = False
    coarse: bool = False


def to_grey_or_rgb(image: Image.Image, values_range: Range | None, steps: list[str], *, frames: bool) -> Picture:
    """Convert a loaded image of 8 bits, or of the modes `I` and `F`, whose values of the range are scaled to 8 bits.

    Raises:
        PixelError: the pixels make no picture.
    """
    unsigned = white_is_zero = False
    if hasattr(image, "tag_v2"):
        bits, form = (sixteen.tag(image, number) or () for number in (sixteen.BITS_PER_SAMPLE, sixteen.SAMPLE_FORMAT))
        if _SIGNED in form and 8 in bits:
            raise PixelError("has signed pixels of 8 bits, which cnnkit does not read; save it with unsigned ones")
        # Pillow has one mode for whole numbers of 32 bits, with a sign and without; a TIFF that does not say has none.
        unsigned = image.mode == "I" and 32 in bits and _SIGNED not in form
        white_is_zero = sixteen.tag(image, sixteen.PHOTOMETRIC) == 0
    turn = _UPRIGHT.get(image.getexif().get(0x0112, 1))
    if turn is not None:
        image = image.transpose(turn)
        steps.append("turned upright by its EXIF orientation")
    mode = image.mode
    if mode[0] == "I" or mode == "F":
        values = np.asarray(image)
        grey, kind, span = _deep_grey(values.view(np.uint32) if unsigned else values, values_range, steps)
        if white_is_zero:  # which Pillow sees to for 8 bits only
            grey = ImageChops.invert(grey)
            steps.append("inverted: it stores white as 0")
        transparent = image.info.get("transparency")
        if isinstance(transparent, int):
            grey = grey.convert("RGBA")
            grey.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
            grey = _flatten(grey, steps)
        return Picture(grey, steps, f"{kind} grey", span, frames)
    words = _WORDS.get(mode, mode)
    if mode in _ALPHA or "transparency" in image.info:
        return Picture(_flatten(image.convert("RGBA"), steps), steps, words, None, frames)
    if mode in {"1", "L"}:
        return Picture(image if mode == "L" else image.convert("L"), steps, words, None, frames)
    if mode in {"CMYK", "P"}:
        steps.append(f"{'palette' if mode == 'P' else 'CMYK'} to RGB")
    return Picture(image.convert("RGB"), steps, words, None, frames)


def from_sixteen_bits(
    image: Image.Image, again: Image.Image | None, values_range: Range | None, steps: list[str], *, frames: bool
) -> Picture:
    """Convert a colour image of 16 bits a channel (see `cnnkit.sixteen`).

    Args:
        image: opened and not loaded, where there is a file.
        again: the same file, opened once more, None where there is none.
        values_range: that becomes 0 to 255, None to guess it.
        steps: what was done so far.
        frames: others were left out.

    Raises:
        PixelError: only the upper 8 bits can be read, and they hold too little.
    """
    values = None
    if again is None:
        sixteen.load_upper(image)
    else:
        values = sixteen.values(image, again)
    kind, how = "16-bit colour", ""
    coarse = values is None
    if values is None:
        _require_depth(image, is_file=again is not None)
        # Twice the upper 8 bits: the brightness is right, in fewer levels.
        values = np.asarray(image.convert("RGB") if image.mode == "CMYK" else image).astype(np.uint16) * np.uint16(257)
        how = " by its upper 8 bits"
    transparent = image.info.get("transparency")
    alpha = None
    if values.shape[2] in {2, 4}:
        values, alpha = values[..., :-1], values[..., -1]
    elif isinstance(transparent, tuple):
        alpha = np.where((values == transparent).all(-1), np.uint16(0), np.uint16(65535))
    colours, span = _eight_bits(np.ascontiguousarray(values), kind, values_range, steps, how)
    small = Image.fromarray(colours[..., 0] if colours.shape[2] == 1 else colours)
    if alpha is not None:
        small = small.convert("RGB")
        # A file that uses 12 bits may use them for its transparency, too.
        opaque = next(2.0**bits - 1 for bits in DEPTHS if alpha.max() < 2**bits)
        small.putalpha(Image.fromarray(scaled(np.ascontiguousarray(alpha), (0.0, opaque))))
    turn = _UPRIGHT.get(image.getexif().get(0x0112, 1))
    if turn is not None:
        small = small.transpose(turn)
        steps.append("turned upright by its EXIF orientation")
    if alpha is not None:
        small = _flatten(small, steps)
    words = "RGB" if alpha is None else "grey with alpha" if values.shape[2] == 1 else "RGBA"
    return Picture(small, steps, f"16-bit {words}", span, frames, coarse)


def _require_depth(image: Image.Image, *, is_file: bool) -> None:
    """Refuse an image whose upper 8 bits are hardly used, as of 12 bits in 16: a few levels would be left of it."""
    most = np.asarray(image).max((0, 1)).tolist()
    # Where colours were multiplied by the transparency, Pillow has divided them by it.
    colours, alpha = (most[:3], most[3]) if image.mode == "RGBA" else (most, 0)
    if max(colours) >= 256 / 4 and not 0 < alpha < 256 / 4:
        return
    to_do = (
        "Convert it to an uncompressed TIFF with contiguous channels, or to 8 bits"
        if is_file
        else "Give the path or the content of its file"
    )
    raise PixelError(
        "has colours of 16 bits of which Pillow reads only the upper 8, and those hold nearly nothing, as where 12 "
        f"bits are stored in 16. {to_do}"
    )


def _deep_grey(
    values: NDArray[np.generic], values_range: Range | None, steps: list[str]
) -> tuple[Image.Image, str, Span]:
    if values.dtype.kind == "u" and values.itemsize == 2:
        values, kind = values.astype(np.uint16, copy=False), "16-bit"
    elif values.dtype.kind == "f":
        kind = "float"
    else:  # Pillow has the same mode for both
        kind = "16-bit" if values.min() >= -(2**15) and values.max() < 2**16 else "32-bit"
    pixels, span = _eight_bits(values, kind, values_range, steps)
    return Image.fromarray(pixels), kind, span


def _eight_bits(
    values: NDArray[np.generic], kind: str, values_range: Range | None, steps: list[str], how: str = ""
) -> tuple[NDArray[np.uint8], Span]:
    span = Span.of(values)
    used = value_range(span) if values_range is None else values_range
    # A file of 16 bits that fills them leaves nothing to guess.
    guessed = values_range is None and not (kind.startswith("16-bit") and used == (0, 65535))
    step = f"{kind} to 8-bit{how}, range {ends(used)}{' guessed from this image' if guessed else ''}"
    kinds = ["only the upper 8 of 16 bits are read"] * bool(how)
    kinds += ["the range of values is guessed from each image by itself"] * guessed
    steps.append(Caution(step, *kinds) if kinds else step)
    if values_range is not None and (problem := misfit(span, values_range)):
        kind = f"the values do not fit the range {ends(values_range)} of the training"
        steps.append(Caution(f"does not fit that range: {problem}", kind))
    return scaled(values, used), span


def _flatten(image: Image.Image, steps: list[str]) -> Image.Image:
    alpha = image.getchannel("A")
    if alpha.getextrema() == (255, 255):
        return image.convert("RGB")
    # White ink on transparency vanishes on white paper; there, black paper shows it.
    colour, flat = "white", _over(image, "white")
    if not _has_contrast(flat) and _has_contrast(on_black := _over(image, "black")):
        colour, flat = "black", on_black
    steps.append(f"transparency over {colour}")
    return flat


def _over(image: Image.Image, colour: str) -> Image.Image:
    return Image.alpha_composite(Image.new("RGBA", image.size, colour), image).convert("RGB")


def _has_contrast(image: Image.Image) -> bool:
    values = np.asarray(image.convert("L"))
    return int(values.max()) - int(values.min()) >= 16

"""From image files to pictures and back. numpy and Pillow only.

`decode` turns hostile bytes into an upright grey or RGB picture, `opened` does the same to pictures and arrays of the
caller; `as_picture` and `encoded` are the way back. `cnnkit.images` brings pictures to a network's size and polarity.
"""

import io
import math
import warnings
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from cnnkit import sixteen
from cnnkit.cautions import Caution
from cnnkit.decoding.bounds import PATIENT_SECONDS
from cnnkit.decoding.file import MAX_BYTES, File, read, unreadable
from cnnkit.depth import PixelError, Range
from cnnkit.errors import ImageError, ImageTooLargeError
from cnnkit.formats import CONVERTIBLE, FORMATS, SUFFIXES, format_of, how_to_convert
from cnnkit.modes import Picture, from_sixteen_bits, to_grey_or_rgb

__all__ = [
    "CONVERTIBLE",
    "FORMATS",
    "MAX_BYTES",
    "MAX_PIXELS",
    "SUFFIXES",
    "File",
    "Header",
    "ImageSource",
    "Pixels",
    "as_picture",
    "decode",
    "decoded",
    "encoded",
    "header",
    "how_to_convert",
    "is_image_file",
    "opened",
    "read",
]

MAX_PIXELS = 50_000_000

Pixels = NDArray[np.uint8]
ImageSource = bytes | Path | Image.Image | Pixels

# What Pillow finds odd about a file's EXIF data says nothing about its pixels.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


def is_image_file(path: Path) -> bool:
    """Whether a path is a file that is not hidden and is named like an image."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def decode(
    source: bytes | Path, *, formats: tuple[str, ...] = FORMATS, max_pixels: int | None = None
) -> tuple[Image.Image, list[str]]:
    """Decode an image file into an upright image of mode `L` or `RGB`, and say what was done on the way.

    Raises:
        ImageFormatError: not an image of one of these formats.
        ImageTooLargeError: more than `MAX_BYTES`, or than `max_pixels`.
        ImageError: a damaged one.
    """
    picture = opened(source, formats=formats, max_pixels=max_pixels)
    return picture.image, picture.steps


def opened(
    source: ImageSource,
    *,
    formats: tuple[str, ...] = FORMATS,
    max_pixels: int | None = None,
    values_range: Range | None = None,
) -> Picture:
    """Return a file, a picture of any mode or an array as an upright picture; formats and pixels hold for files.

    Args:
        source: the image.
        formats: that are read.
        max_pixels: that it may have.
        values_range: the values that become black and white where it has more than 8 bits; None guesses them.

    Raises:
        ImageError: the source is not an acceptable image.
    """
    if isinstance(source, bytes | Path):
        file = read(source, formats, MAX_PIXELS if max_pixels is None else max_pixels)
        return decoded(file, values_range) if file.takes(PATIENT_SECONDS) else _apart(file, values_range)
    if isinstance(source, Image.Image):
        return _from_pillow(source, values_range)
    if isinstance(source, np.ndarray):
        image = _from_array(source)
        return Picture(image, [], "grey" if image.mode == "L" else "RGB")
    raise ImageError(f"expected a path, bytes, a Pillow image or a uint8 array, got {type(source).__name__}.")


def _apart(file: File, values_range: Range | None) -> Picture:
    """Let a process with limits decode a file that may cost too much."""
    from cnnkit.decoding import apart  # which ordinary images do without

    image = apart.prepared(file, None, values_range)
    what = image.original
    picture = as_picture(image.pixels)
    return Picture(picture, list(image.steps), what.mode, what.span, what.first_of_frames, what.coarse)


class Header(NamedTuple):
    """What a file says of its image before it is decoded: upright height and width, and whether it is grey."""

    height: int
    width: int
    grey: bool


def header(path: Path) -> Header | None:
    """Read the header of an image file; None where it has none that can be read."""
    try:
        file = read(path, FORMATS, MAX_PIXELS)
        if not math.isfinite(file.work.seconds):  # opening it may take as long as decoding it
            return None
        with Image.open(io.BytesIO(file.data), formats=(file.kind,)) as image:
            width, height = image.size
            turned = image.getexif().get(0x0112, 1) in {5, 6, 7, 8}
            return Header(width, height, _is_grey(image)) if turned else Header(height, width, _is_grey(image))
    except Exception:  # a parser fed with hostile bytes may raise anything; decoding the file says what is wrong
        return None


def _is_grey(image: Image.Image) -> bool:
    if image.mode in {"P", "PA"}:
        palette = np.array(image.getpalette("RGB") or []).reshape(-1, 3)
        return bool((palette == palette[:, :1]).all())
    return image.mode[0] in "1LIF" and image.mode != "LAB"


def as_picture(pixels: Pixels) -> Image.Image:
    """Return pixels, uint8 [H, W], [H, W, 1] or [H, W, 3], as a picture, grey or RGB."""
    return Image.fromarray(pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels)


def encoded(pixels: Pixels, kind: Literal["PNG", "JPEG"] = "PNG", *, compression: int = 6) -> bytes:
    """Return the same as the content of an image file; `compression` of a PNG, 1 is quickest and 9 smallest."""
    file = io.BytesIO()
    as_picture(pixels).save(file, kind, quality=90, compress_level=compression)
    return file.getvalue()


def decoded(file: File, values_range: Range | None = None) -> Picture:
    """Decode a file in this process, whatever it takes.

    Raises:
        ImageTooLargeError: more pixels than it may have.
        ImageError: a damaged one.
    """
    name, data, formats, max_pixels = file.name, file.data, (file.kind,), file.max_pixels
    try:
        image = Image.open(io.BytesIO(data), formats=formats)
        if image.width * image.height > max_pixels:
            raise ImageTooLargeError(
                f"{name} has {image.width}×{image.height} pixels, more than {max_pixels:,}. Make it smaller."
            )
        frames = _frames(image, data)
        steps: list[str] = [Caution(frames, "only the first of several frames or pages is used")] if frames else []
        if sixteen.is_sixteen_bit(image):
            again = Image.open(io.BytesIO(data), formats=formats)
            return from_sixteen_bits(image, again, values_range, steps, frames=bool(frames))
        image.load()
        return to_grey_or_rgb(image, values_range, steps, frames=bool(frames))
    except ImageTooLargeError:
        raise
    except PixelError as error:
        raise ImageError(f"{name} {error}.") from error
    except UnidentifiedImageError as error:
        raise unreadable(name, format_of(data, formats) or file.kind, file.formats) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageTooLargeError(f"{name} has more than {max_pixels:,} pixels. Make it smaller.") from error
    except MemoryError as error:
        raise ImageError(f"{name} takes too much memory to decode.") from error
    except Exception as error:  # a decoder fed with hostile bytes may raise anything
        raise ImageError(f"{name} is damaged: {error}.") from error


def _frames(image: Image.Image, data: bytes) -> str:
    """Say that a file has more frames than the first, without decoding any of them."""
    kind = image.format
    if kind == "GIF":
        # Looking for the second frame of a GIF moves to it, so another reader does.
        try:
            several = Image.open(io.BytesIO(data), formats=("GIF",)).is_animated  # type: ignore[attr-defined]
        except Exception:  # the second is damaged, which the first does not suffer from
            several = True
        return "first of several frames" if several else ""
    if not getattr(image, "is_animated", False):
        return ""
    # The others say at their start how many there are.
    return "first of several pages" if kind == "TIFF" else f"first of {image.n_frames} frames"  # type: ignore[attr-defined]


def _from_pillow(image: Image.Image, values_range: Range | None) -> Picture:
    if not image.width or not image.height:
        raise ImageError(f"the image has no pixels: {image.width}×{image.height}.")
    try:
        if sixteen.is_sixteen_bit(image):
            return from_sixteen_bits(image, None, values_range, [], frames=False)
        image.load()
        return to_grey_or_rgb(image, values_range, [], frames=False)
    except PixelError as error:
        raise ImageError(f"the image {error}.") from error
    except Exception as error:  # a file that is read only now, or a mode that Pillow does not convert
        raise ImageError(f"the image is damaged: {error}.") from error


def _from_array(array: Pixels) -> Image.Image:
    if array.dtype != np.uint8 or array.ndim not in {2, 3} or (array.ndim == 3 and array.shape[2] not in {1, 3}):
        raise ImageError(f"expected uint8 [H, W], [H, W, 1] or [H, W, 3], got {array.dtype} {list(array.shape)}.")
    if array.size == 0:
        raise ImageError(f"the image has no pixels: {list(array.shape)}.")
    return as_picture(array)

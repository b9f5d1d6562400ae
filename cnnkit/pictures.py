"""From image files to pictures and back. numpy and Pillow only.

`decode` turns hostile bytes into an upright grey or RGB picture, `opened` does the same to pictures and arrays of the
caller; `as_picture` and `encoded` are the way back. `cnnkit.images` brings pictures to a network's size and polarity.
"""

import io
import warnings
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from cnnkit.errors import ImageError, ImageFormatError, ImageTooLargeError
from cnnkit.words import counted

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm"})
MAX_BYTES = 64 * 2**20
MAX_PIXELS = 50_000_000

Pixels = NDArray[np.uint8]
ImageSource = bytes | Path | Image.Image | Pixels

# What Pillow finds odd about a file's EXIF data is no business of whoever wants its pixels.
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
    name = str(source) if isinstance(source, Path) else "the image"
    max_pixels = MAX_PIXELS if max_pixels is None else max_pixels
    data = _read(source)
    try:
        image = Image.open(io.BytesIO(data), formats=formats)
        if image.width * image.height > max_pixels:
            raise ImageTooLargeError(
                f"{name} has {image.width}×{image.height} pixels, more than {max_pixels:,}. Make it smaller."
            )
        image.load()
        return _to_grey_or_rgb(image)
    except ImageTooLargeError:
        raise
    except UnidentifiedImageError as error:
        what = name if isinstance(source, Path) else "what came"
        raise ImageFormatError(f"{what} is not an image in one of the formats {', '.join(formats)}.") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageTooLargeError(f"{name} has more than {counted(max_pixels, 'pixel')}. Make it smaller.") from error
    except Exception as error:  # a decoder fed with hostile bytes may raise anything
        raise ImageError(f"{name} is damaged: {error}.") from error


def opened(
    source: ImageSource, *, formats: tuple[str, ...] = FORMATS, max_pixels: int | None = None
) -> tuple[Image.Image, list[str]]:
    """Return a file, a picture of any mode or an array as `decode` returns a file; the two options hold for files.

    Raises:
        ImageError: the source is not an acceptable image.
    """
    if isinstance(source, bytes | Path):
        return decode(source, formats=formats, max_pixels=max_pixels)
    if isinstance(source, Image.Image):
        return _from_pillow(source)
    if isinstance(source, np.ndarray):
        return _from_array(source), []
    raise ImageError(f"expected a path, bytes, a Pillow image or a uint8 array, got {type(source).__name__}.")


def as_picture(pixels: Pixels) -> Image.Image:
    """Return pixels, uint8 [H, W], [H, W, 1] or [H, W, 3], as a picture, grey or RGB."""
    return Image.fromarray(pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels)


def encoded(pixels: Pixels, kind: Literal["PNG", "JPEG"] = "PNG", *, compression: int = 6) -> bytes:
    """Return the same as the content of an image file; `compression` of a PNG, 1 is quickest and 9 smallest."""
    file = io.BytesIO()
    as_picture(pixels).save(file, kind, quality=90, compress_level=compression)
    return file.getvalue()


def _read(source: bytes | Path) -> bytes:
    if isinstance(source, bytes):
        data, name = source, "the image"
    else:
        name = str(source)
        try:
            with source.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
        except (OSError, ValueError) as error:  # ValueError: a NUL in the path
            raise ImageError(f"cannot read {name}: {getattr(error, 'strerror', None) or error}.") from error
    if not data:
        raise ImageError(f"{name} is empty.")
    if len(data) > MAX_BYTES:
        raise ImageTooLargeError(f"{name} has more than {MAX_BYTES // 2**20} MiB.")
    return data


def _from_pillow(image: Image.Image) -> tuple[Image.Image, list[str]]:
    if not image.width or not image.height:
        raise ImageError(f"the image has no pixels: {image.width}×{image.height}.")
    try:
        image.load()
        return _to_grey_or_rgb(image)
    except Exception as error:  # a file that is read only now, or a mode that Pillow does not convert
        raise ImageError(f"the image is damaged: {error}.") from error


def _from_array(array: Pixels) -> Image.Image:
    if array.dtype != np.uint8 or array.ndim not in {2, 3} or (array.ndim == 3 and array.shape[2] not in {1, 3}):
        raise ImageError(f"expected uint8 [H, W], [H, W, 1] or [H, W, 3], got {array.dtype} {list(array.shape)}.")
    if array.size == 0:
        raise ImageError(f"the image has no pixels: {list(array.shape)}.")
    return as_picture(array)


def _to_grey_or_rgb(image: Image.Image) -> tuple[Image.Image, list[str]]:
    steps = []
    if image.getexif().get(0x0112) in range(2, 9):
        image = ImageOps.exif_transpose(image)  # which would copy an upright one
        steps.append("turned upright by its EXIF orientation")
    if image.mode.startswith("I") or image.mode == "F":
        steps.append(f"{'16-bit' if image.mode.startswith('I') else 'float'} to 8-bit")
        return _high_depth_to_grey(image), steps
    if image.mode in {"LA", "La", "PA", "RGBA", "RGBa"} or "transparency" in image.info:
        return _flatten(image.convert("RGBA"), steps), steps
    if image.mode in {"1", "L"}:
        return image if image.mode == "L" else image.convert("L"), steps
    if image.mode in {"CMYK", "P"}:
        steps.append(f"{'palette' if image.mode == 'P' else 'CMYK'} to RGB")
    return image.convert("RGB"), steps


def _high_depth_to_grey(image: Image.Image) -> Image.Image:
    # Pillow's own conversion clips at 255 where it should scale.
    values = np.asarray(image, np.float64)
    if not np.isfinite(values).all():
        raise ValueError("it has pixels that are not finite numbers")
    if image.mode == "F" and values.max() <= 1:
        top = 1.0
    else:
        top = 255.0 if image.mode == "F" and values.max() <= 255 else 65535.0
    return Image.fromarray(np.round(np.clip(values / top, 0, 1) * 255).astype(np.uint8))


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

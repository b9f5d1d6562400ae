"""The one way from image files to the pixels that a network sees. numpy and Pillow only.

`decode` turns hostile bytes into an upright grey or RGB image; `prepare` brings that image to a network's size and
polarity. Training, evaluation, prediction and serving all come through here, so that the same image gets the same
pixels everywhere. Images of a data set that already have the network's form pass through unchanged.
"""

import io
import math
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from cnnkit import ink
from cnnkit.errors import ImageError, ImageFormatError, ImageTooLargeError, without_frames
from cnnkit.pictures import as_picture

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm"})
MAX_BYTES = 64 * 2**20
MAX_PIXELS = 50_000_000
MAX_SIDE = 4096
"""Of a network's input."""

Pixels = NDArray[np.uint8]
ImageSource = bytes | Path | Image.Image | Pixels
Fit = Literal["stretch", "contain", "cover", "mnist-box"]
Polarity = Literal["as-is", "light-on-dark", "dark-on-light"]

# What Pillow finds odd about a file's EXIF data is no business of whoever wants its pixels.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


@dataclass(frozen=True)
class Preprocessing:
    """What a network expects of its input; part of the model card.

    `mean` and `std` have one value a channel and apply to pixels scaled to [0, 1]. `fit` says how an image of another
    size gets there: `stretch` ignores the aspect ratio, `contain` pads with the colour of the border, `cover` crops
    the centre (`crop` of the covered size), `mnist-box` treats the image as one drawn symbol (see `cnnkit.ink`).
    """

    channels: Literal[1, 3]
    height: int
    width: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fit: Fit = "contain"
    polarity: Polarity = "as-is"
    crop: float = 1.0

    def __post_init__(self) -> None:
        if not (1 <= self.height <= MAX_SIDE and 1 <= self.width <= MAX_SIDE):
            raise ValueError(f"height and width must be from 1 to {MAX_SIDE}, got {self.height}×{self.width}")
        if len(self.mean) != self.channels or len(self.std) != self.channels or min(self.std) <= 0:
            raise ValueError(f"mean and std need {self.channels} values each, std positive")
        if not all(map(math.isfinite, (*self.mean, *self.std))):
            raise ValueError("mean and std must be finite numbers")
        if self.fit == "mnist-box" and (self.channels != 1 or (self.height, self.width) != ink.SHAPE):
            raise ValueError("mnist-box makes 1×28×28 images")
        if self.fit == "mnist-box" and self.polarity == "dark-on-light":
            raise ValueError("mnist-box makes light symbols on black; polarity dark-on-light contradicts it")
        if not 0 < self.crop <= 1:
            raise ValueError(f"crop must be in (0, 1], got {self.crop}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels, as the pixels are laid out."""
        return self.height, self.width, self.channels


@dataclass(frozen=True)
class Prepared:
    """An image as the network sees it: uint8 [H, W, C], and what was done to get there."""

    pixels: Pixels
    steps: tuple[str, ...]


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
        raise ImageFormatError(f"{name} is not an image in one of the formats {', '.join(formats)}.") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageTooLargeError(f"{name} has more than {max_pixels:,} pixels. Make it smaller.") from error
    except Exception as error:  # a decoder fed with hostile bytes may raise anything
        raise ImageError(f"{name} is damaged: {error}.") from error


def prepare(source: ImageSource, preprocessing: Preprocessing) -> Prepared:
    """Bring one image to the form that a network expects.

    Args:
        source: a file's bytes or path, a Pillow image of any mode, or uint8 [H, W], [H, W, 1] or [H, W, 3].
        preprocessing: the form.

    Raises:
        ImageError: the source is not an acceptable image.
    """
    prepared = prepare_all([source], preprocessing)[0]
    if isinstance(prepared, ImageError):
        raise prepared
    return prepared


def prepare_all(
    sources: Iterable[ImageSource],
    preprocessing: Preprocessing,
    *,
    formats: tuple[str, ...] = FORMATS,
    max_pixels: int | None = None,
) -> list[Prepared | ImageError]:
    """Bring images to the form that a network expects, as `prepare` does, with the error of a bad one in its place."""
    results: dict[int, Prepared | ImageError] = {}
    waiting: dict[int, tuple[Image.Image, list[str]]] = {}
    for index, source in enumerate(sources):
        try:
            image, steps = _open(source, formats, max_pixels)
        except ImageError as error:
            without_frames(error)  # which hold all of these images
            results[index] = error
            continue
        if preprocessing.fit == "mnist-box" and image.size == ink.SHAPE:
            waiting[index] = image, steps
        else:  # at once: a group of photographs would not fit into memory
            results[index] = _fitted(image, steps, preprocessing)
    boxed = ink.box_all(
        [np.asarray(image) for image, _ in waiting.values()], recolour=preprocessing.polarity == "light-on-dark"
    )
    for (index, (_, before)), (grey, after) in zip(waiting.items(), boxed, strict=True):
        results[index] = Prepared(grey[..., None], (*before, *after))
    return [results[index] for index in range(len(results))]


def _open(source: ImageSource, formats: tuple[str, ...], max_pixels: int | None) -> tuple[Image.Image, list[str]]:
    if isinstance(source, bytes | Path):
        return decode(source, formats=formats, max_pixels=max_pixels)
    if isinstance(source, Image.Image):
        return _from_pillow(source)
    if isinstance(source, np.ndarray):
        return _from_array(source), []
    raise ImageError(f"expected a path, bytes, a Pillow image or a uint8 array, got {type(source).__name__}.")


def _fitted(image: Image.Image, steps: list[str], preprocessing: Preprocessing) -> Prepared:
    if preprocessing.fit == "mnist-box":
        grey, done = ink.box(np.asarray(image), recolour=preprocessing.polarity == "light-on-dark")
        return Prepared(grey[..., None], (*steps, *done))
    if preprocessing.channels == 1 and image.mode != "L":
        image = image.convert("L")
        steps.append("colour to grey")
    elif preprocessing.channels == 3 and image.mode != "RGB":
        image = image.convert("RGB")
    # Polarity is judged before the fit: a crop may take away the border that shows the background.
    if preprocessing.polarity != "as-is" and ink.is_light_on_dark(np.asarray(image.convert("L"))) != (
        preprocessing.polarity == "light-on-dark"
    ):
        image = ImageOps.invert(image)
        steps.append("inverted")
    size = image.size
    image = _FITS[preprocessing.fit](image, preprocessing)
    if image.size != size:
        steps.append(f"{preprocessing.fit} from {size[0]}×{size[1]} to {image.width}×{image.height}")
    pixels = np.asarray(image, np.uint8).reshape(preprocessing.shape)
    return Prepared(pixels, tuple(steps))


def prepare_arrays(images: Pixels, preprocessing: Preprocessing) -> Pixels:
    """Bring a data set's arrays to the form that a network expects, as `prepare` would one by one.

    Args:
        images: uint8 [N, H, W] or [N, H, W, C].
        preprocessing: the form.

    Returns:
        uint8 [N, H, W, C]; images already in that form are copied without being decoded one by one.
    """
    if images.ndim == 3:
        images = images[..., None]
    result = np.empty((len(images), *preprocessing.shape), np.uint8)
    todo = np.ones(len(images), bool)
    if images.shape[1:] == preprocessing.shape:
        if preprocessing.fit == "mnist-box":
            todo = ~ink.is_boxed(images[..., 0])
        elif preprocessing.polarity == "as-is" and not (preprocessing.fit == "cover" and preprocessing.crop < 1):
            todo[:] = False
        result[~todo] = images[~todo]
    for index in np.flatnonzero(todo):
        result[index] = prepare(images[index], preprocessing).pixels
    return result


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


def _stretch(image: Image.Image, to: Preprocessing) -> Image.Image:
    return image if image.size == (to.width, to.height) else image.resize((to.width, to.height), _RESAMPLING)


def _contain(image: Image.Image, to: Preprocessing) -> Image.Image:
    if image.width * to.height == image.height * to.width:
        return _stretch(image, to)
    pixels = np.asarray(image)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    colour = tuple(int(value) for value in np.atleast_1d(np.quantile(border, 0.5, axis=0)))
    return ImageOps.pad(image, (to.width, to.height), _RESAMPLING, color=colour if len(colour) > 1 else colour[0])


def _cover(image: Image.Image, to: Preprocessing) -> Image.Image:
    # The published evaluation: shorter side to size/crop, then the centre; ImageOps.fit does both in one resampling.
    margin = (1 - to.crop) / 2
    return ImageOps.fit(image, (to.width, to.height), _RESAMPLING, bleed=margin)


_RESAMPLING = Image.Resampling.BILINEAR
_FITS: dict[Fit, Callable[[Image.Image, Preprocessing], Image.Image]] = {
    "stretch": _stretch,
    "contain": _contain,
    "cover": _cover,
}

"""The one way from images to the pixels that a network sees. numpy and Pillow only.

`prepare` brings an image, which `cnnkit.pictures` has decoded, to a network's size and polarity. Training, evaluation,
prediction and serving all come through here, so that the same image gets the same pixels everywhere. Images of a data
set that already have the network's form pass through unchanged.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image, ImageOps

from cnnkit import ink
from cnnkit.errors import ImageError, without_frames
from cnnkit.pictures import FORMATS, ImageSource, Pixels, opened
from cnnkit.words import counted

MAX_SIDE = 4096
"""Of a network's input."""

Fit = Literal["stretch", "contain", "cover", "mnist-box"]
Polarity = Literal["as-is", "light-on-dark", "dark-on-light"]


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
            raise ValueError(f"mean and std need {counted(self.channels, 'value')} each, std positive")
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
            image, steps = opened(source, formats=formats, max_pixels=max_pixels)
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

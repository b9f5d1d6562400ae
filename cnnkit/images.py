"""The one way from images to the pixels that a network sees. numpy and Pillow only.

`prepare` brings an image, which `cnnkit.pictures` has decoded, to a network's size and polarity. Training, evaluation,
prediction and serving all come through here, so that the same image gets the same pixels everywhere. Images of a data
set that already have the network's form pass through unchanged.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np
from PIL import Image, ImageChops

from cnnkit import fits, ink
from cnnkit.cautions import Caution
from cnnkit.depth import Range, Span
from cnnkit.errors import ImageError, without_frames
from cnnkit.fits import RESAMPLING, Fit, Interpolation
from cnnkit.modes import Picture
from cnnkit.pictures import FORMATS, ImageSource, Pixels, opened
from cnnkit.words import counted

__all__ = ["MAX_SIDE", "Fit", "Interpolation", "Original", "Polarity", "Prepared", "Preprocessing", "prepare",
    "prepare_all", "prepare_arrays"]  # fmt: skip

MAX_SIDE = 4096
"""Of a network's input."""

Polarity = Literal["as-is", "light-on-dark", "dark-on-light"]


@dataclass(frozen=True)
class Preprocessing:
    """What a network expects of its input; part of the model card.

    `mean` and `std` have one value a channel and apply to pixels scaled to [0, 1]. `fit` says how an image of another
    size gets there: `stretch` ignores the aspect ratio, `contain` pads with the colour of the border, `cover` crops
    the centre (`crop` of the covered size), `mnist-box` treats the image as one drawn symbol (see `cnnkit.ink`).
    `resize` stands in place of `crop`: the shorter side of the image gets this many pixels, and the centre is cut out
    of the result at whole pixels, which are the pixels of torchvision's `Resize` and `CenterCrop`.
    `interpolation` is the filter that all but `mnist-box`, which has its own, resize by. `value_range` has the values
    that become black and white in images deeper than 8 bits; None guesses them for each image by itself.
    """

    channels: Literal[1, 3]
    height: int
    width: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fit: Fit = "contain"
    polarity: Polarity = "as-is"
    crop: float = 1.0
    interpolation: Interpolation = "bilinear"
    value_range: Range | None = None
    resize: int | None = None

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
        if self.resize is not None:
            if self.fit != "cover" or self.height != self.width or self.crop != 1:
                raise ValueError("resize is for fit cover and a square input, without crop")
            if not self.height <= self.resize <= 4 * self.height:  # of less, a narrow image has hardly anything left
                raise ValueError(f"resize must be from 1 to 4 times the side {self.height}, got {self.resize}")
        if self.interpolation not in RESAMPLING:
            raise ValueError(f"interpolation must be one of {', '.join(RESAMPLING)}, got {self.interpolation!r}")
        if self.value_range is not None:
            low, high = self.value_range
            if not (low < high and math.isfinite(high - low)):
                raise ValueError(f"value_range must be two finite numbers, the smaller first, got {self.value_range}")

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height and width, as a network takes them."""
        return self.channels, self.height, self.width

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels, as the pixels are laid out."""
        return self.height, self.width, self.channels

    @property
    def share(self) -> float:
        """Of each side that `cover` keeps where the aspect ratio is right already."""
        return self.crop if self.resize is None else self.height / self.resize

    @property
    def crops(self) -> bool:
        """Whether an image that has the size of the input loses its margin all the same."""
        return self.fit == "cover" and self.share < 1

    def resized_to(self, height: int, width: int) -> Self:
        """Return it for another size of the input; a crop keeps the same share of each side."""
        if (height, width) == (self.height, self.width):
            return self
        fit: Fit = "contain" if self.fit == "mnist-box" else self.fit
        return replace(self, height=height, width=width, fit=fit, crop=self.share, resize=None)


@dataclass(frozen=True, slots=True)
class Original:
    """What an image was before it was prepared.

    Attributes:
        width, height: in pixels, upright.
        mode: in words, such as grey, RGB, palette, 16-bit grey.
        span: of its values, where they are deeper than 8 bits.
        first_of_frames: the file has more frames or pages, which were left out.
        kept: share of the picture's area that the fit keeps.
        coarse: only the upper 8 of its 16 bits could be read.
    """

    width: int
    height: int
    mode: str
    span: Span | None = None
    first_of_frames: bool = False
    kept: float = 1.0
    coarse: bool = False


@dataclass(frozen=True, slots=True)
class Prepared:
    """An image as the network sees it: uint8 [H, W, C], what was done to get there, and what it was before."""

    pixels: Pixels
    steps: tuple[str, ...]
    original: Original


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
    waiting: dict[int, Picture] = {}
    for index, source in enumerate(sources):
        try:
            picture = opened(source, formats=formats, max_pixels=max_pixels, values_range=preprocessing.value_range)
        except ImageError as error:
            without_frames(error)  # which hold all of these images
            results[index] = error
            continue
        if preprocessing.fit == "mnist-box" and picture.image.size == ink.SHAPE:
            waiting[index] = picture
        else:  # at once: a group of photographs would not fit into memory
            results[index] = _fitted(picture, preprocessing)
    if waiting:
        drawings = [np.asarray(picture.image) for picture in waiting.values()]
        boxed = ink.box_all(drawings, recolour=preprocessing.polarity == "light-on-dark")
        for (index, picture), (grey, after) in zip(waiting.items(), boxed, strict=True):
            results[index] = Prepared(grey[..., None], (*picture.steps, *after), _original(picture))
    return [results[index] for index in range(len(results))]


def _original(picture: Picture, kept: float = 1.0) -> Original:
    width, height = picture.image.size
    return Original(width, height, picture.mode, picture.span, picture.first_of_frames, kept, picture.coarse)


def _fitted(picture: Picture, preprocessing: Preprocessing) -> Prepared:
    image, steps = picture.image, picture.steps
    if preprocessing.fit == "mnist-box":
        grey, done = ink.box(np.asarray(image), recolour=preprocessing.polarity == "light-on-dark")
        return Prepared(grey[..., None], (*steps, *done), _original(picture))
    if preprocessing.channels == 1 and image.mode != "L":
        image = image.convert("L")
        steps.append("colour to grey")
    elif preprocessing.channels == 3 and image.mode != "RGB":
        image = image.convert("RGB")
    # Polarity is judged before the fit: a crop may take away the border that shows the background.
    if preprocessing.polarity != "as-is" and ink.is_light_on_dark(np.asarray(image.convert("L"))) != (
        preprocessing.polarity == "light-on-dark"
    ):
        image = ImageChops.invert(image)
        steps.append("inverted")
    size = image.size
    image, kept = _resized(image, preprocessing)
    if image.size != size or kept < 1:
        wanted = f"{image.width}×{image.height}"
        fitted = f"{preprocessing.fit} from {size[0]}×{size[1]} to {wanted}"
        if preprocessing.resize is not None:
            width, height = fits.size_before_crop(size, preprocessing.resize)
            fitted = f"{preprocessing.fit} from {size[0]}×{size[1]}: resized to {width}×{height}, centre of {wanted}"
        if kept < 0.5:
            share = f"{kept:.0%}" if kept >= 0.01 else "less than 1%"
            fitted = Caution(f"{fitted}, {share} of the picture kept", "less than half of the picture is kept")
        steps.append(fitted)
    pixels = np.asarray(image, np.uint8).reshape(preprocessing.shape)
    return Prepared(pixels, tuple(steps), _original(picture, kept))


def _resized(image: Image.Image, to: Preprocessing) -> tuple[Image.Image, float]:
    """Return an image at the size of the input, and the share of it that is kept."""
    size = to.width, to.height
    if to.fit == "cover":
        return fits.covered(image, size, to.interpolation, to.crop, to.resize)
    return (fits.contained if to.fit == "contain" else fits.stretched)(image, size, to.interpolation), 1.0


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
        elif preprocessing.polarity == "as-is" and not preprocessing.crops:
            todo[:] = False
        result[~todo] = images[~todo]
    for index in np.flatnonzero(todo):
        result[index] = prepare(images[index], preprocessing).pixels
    return result

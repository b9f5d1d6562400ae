"""The one way from images to the pixels that a network sees. numpy and Pillow only.

`prepare` brings an image, which `cnnkit.pictures` has decoded, to a network's size and polarity. Training, evaluation,
prediction and serving all come through here, so that the same image gets the same pixels everywhere. Images of a data
set that already have the network's form pass through unchanged.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops

from cnnkit import fits, ink, pictures
from cnnkit.cautions import Caution
from cnnkit.decoding.bounds import PATIENT_SECONDS
from cnnkit.errors import CostlyImageError, ImageError, without_frames
from cnnkit.fits import Fit, Interpolation
from cnnkit.modes import Picture
from cnnkit.pictures import FORMATS, ImageSource, Pixels, decoded, opened, read
from cnnkit.preprocessing import MAX_SIDE, Original, Polarity, Prepared, Preprocessing

__all__ = ["MAX_SIDE", "Fit", "Interpolation", "Original", "Polarity", "Prepared", "Preprocessing", "prepare",
    "prepare_all", "prepare_arrays"]  # fmt: skip


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
    within: float | None = None,
    here: float = PATIENT_SECONDS,
) -> list[Prepared | ImageError]:
    """Bring images to the form that a network expects, as `prepare` does, with the error of a bad one in its place.

    Args:
        sources: as of `prepare`.
        preprocessing: the form.
        formats: of files, that are read.
        max_pixels: that a file may have.
        within: seconds that a file may take; of one that may take longer, a `CostlyImageError` stands in its place.
        here: seconds that a file may take in this process; one that may take longer is left to a process with limits.
    """
    results: dict[int, Prepared | ImageError] = {}
    waiting: dict[int, Picture] = {}
    for index, source in enumerate(sources):
        try:
            if isinstance(source, bytes | Path):
                file = read(source, formats, pictures.MAX_PIXELS if max_pixels is None else max_pixels)
                if within is not None and not file.takes(within):
                    raise CostlyImageError(f"{file.name} may take more than {within:g} s to decode.")
                if not file.takes(here):
                    from cnnkit.decoding import apart  # which ordinary images do without

                    results[index] = apart.prepared(file, preprocessing)
                    continue
                picture = decoded(file, preprocessing.value_range)
            else:
                picture = opened(source, values_range=preprocessing.value_range)
        except ImageError as error:
            without_frames(error)  # which hold all of these images
            results[index] = error
            continue
        if preprocessing.fit == "mnist-box" and picture.image.size == ink.SHAPE:
            waiting[index] = picture
        else:  # at once: a group of photographs would not fit into memory
            results[index] = fitted(picture, preprocessing)
    if waiting:
        drawings = [np.asarray(picture.image) for picture in waiting.values()]
        boxed = ink.box_all(drawings, recolour=preprocessing.polarity == "light-on-dark")
        for (index, picture), (grey, after) in zip(waiting.items(), boxed, strict=True):
            results[index] = Prepared(grey[..., None], (*picture.steps, *after), _original(picture))
    return [results[index] for index in range(len(results))]


def _original(picture: Picture, kept: float = 1.0) -> Original:
    width, height = picture.image.size
    return Original(width, height, picture.mode, picture.span, picture.first_of_frames, kept, picture.coarse)


def fitted(picture: Picture, preprocessing: Preprocessing) -> Prepared:
    """Bring a decoded picture to the form that a network expects."""
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

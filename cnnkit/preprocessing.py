"""What a network expects of its input images, and what becomes of one. numpy only."""

import math
from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from cnnkit import ink
from cnnkit.depth import Range, Span
from cnnkit.fits import RESAMPLING, Fit, Interpolation
from cnnkit.words import counted

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

    pixels: NDArray[np.uint8]
    steps: tuple[str, ...]
    original: Original

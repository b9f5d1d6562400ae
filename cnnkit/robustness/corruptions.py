"""What happens to images on their way to a network, each in five severities.

After Hendrycks and Dietterich, "Benchmarking neural network robustness to common corruptions and perturbations", 2019,
and Mu and Gilmer, "MNIST-C", 2019; the amounts are chosen for images of 28 to 64 pixels a side, and lengths are shares
of the shorter side. The elastic deformation is that of Simard, Steinkraus and Platt, 2003.
"""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.v2 import functional as V

from cnnkit.pictures import Pixels
from cnnkit.robustness.results import CORRUPTIONS, CorruptionName

SEVERITIES = 5
_SMOOTHNESS = 0.08
"""Of an elastic deformation, the deviation of its Gaussian as a share of the shorter side."""

Amounts = NDArray[np.float64]
Sources = Sequence[np.random.Generator]


@dataclass(frozen=True)
class Corruption:
    """One kind of corruption.

    Attributes:
        amounts: at severity 0, where nothing happens, to 5; in between they are interpolated.
        unit: what an amount is.
        apply: from uint8 [N, H, W, C], amounts [N], and a source of random numbers for each image, to uint8
            [N, H, W, C]. It draws the same numbers whatever the amount.
    """

    amounts: tuple[float, ...]
    unit: str
    apply: Callable[[Pixels, Amounts, Sources], Pixels]


def corrupt(images: Pixels, name: CorruptionName, severities: Amounts, numbers: Sequence[int], seed: int = 0) -> Pixels:
    """Corrupt images, each by a severity of its own.

    What is random about it, the noise or the direction, depends on the seed, the kind and the image's number only: from
    one severity to the next the same thing happens, but stronger.

    Args:
        images: as a network sees them, uint8 [N, H, W, C].
        name: the kind.
        severities: from 0, which changes nothing, to 5; float64 [N].
        numbers: of the images in their data set.
        seed: of the random numbers.

    Returns:
        uint8 [N, H, W, C].
    """
    kind, index = KINDS[name], CORRUPTIONS.index(name)
    sources = [np.random.default_rng([seed, index, number]) for number in numbers]
    amounts = np.interp(severities, range(SEVERITIES + 1), kind.amounts)
    changed = kind.apply(images, amounts, sources)
    return np.where((np.asarray(severities) > 0)[:, None, None, None], changed, images)


def _whole(values: NDArray[np.floating]) -> Pixels:
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)


def _each(amounts: Amounts) -> NDArray[np.float32]:
    return amounts.astype(np.float32)[:, None, None, None]


def _noise(images: Pixels, amounts: Amounts, sources: Sources) -> Pixels:
    drawn = np.stack([source.standard_normal(images.shape[1:], np.float32) for source in sources])
    return _whole(images + 255 * _each(amounts) * drawn)


def _contrast(images: Pixels, amounts: Amounts, _: Sources) -> Pixels:
    mean = images.mean((1, 2), keepdims=True, dtype=np.float32)
    return _whole(mean + (images - mean) * (1 - _each(amounts)))


def _brightness(images: Pixels, amounts: Amounts, _: Sources) -> Pixels:
    return _whole(images + 255 * _each(amounts))


def _blur(images: Pixels, amounts: Amounts, _: Sources) -> Pixels:
    side = min(images.shape[1:3])
    return _by_pillow(images, amounts, lambda image, share: image.filter(ImageFilter.GaussianBlur(share * side)))


def _jpeg(images: Pixels, amounts: Amounts, _: Sources) -> Pixels:
    def stored(image: Image.Image, quality: float) -> Image.Image:
        content = io.BytesIO()
        image.save(content, "JPEG", quality=round(quality))
        return Image.open(content, formats=("JPEG",))

    return _by_pillow(images, amounts, stored)


def _by_pillow(images: Pixels, amounts: Amounts, change: Callable[[Image.Image, float], Image.Image]) -> Pixels:
    shaped = images[..., 0] if images.shape[-1] == 1 else images
    pairs = zip(shaped, amounts.tolist(), strict=True)
    return np.stack([np.asarray(change(Image.fromarray(i), amount)) for i, amount in pairs]).reshape(images.shape)


def _rotation(images: Pixels, amounts: Amounts, sources: Sources) -> Pixels:
    turns = torch.tensor(np.radians(amounts) * [source.choice((-1, 1)) for source in sources], dtype=torch.float32)
    y, x = _places(images)
    sine, cosine = turns.sin().view(-1, 1, 1), turns.cos().view(-1, 1, 1)
    return _sampled(images, cosine * y - sine * x, sine * y + cosine * x)


def _shift(images: Pixels, amounts: Amounts, sources: Sources) -> Pixels:
    angles = np.array([source.uniform(0, 2 * np.pi) for source in sources])
    length = amounts * min(images.shape[1:3])
    down, right = (torch.tensor(length * part, dtype=torch.float32) for part in (np.sin(angles), np.cos(angles)))
    y, x = _places(images)
    return _sampled(images, y - down.view(-1, 1, 1), x - right.view(-1, 1, 1))


def _elastic(images: Pixels, amounts: Amounts, sources: Sources) -> Pixels:
    height, width = images.shape[1:3]
    side = min(height, width)
    field = torch.from_numpy(np.stack([source.random((2, height, width), np.float32) for source in sources])) - 0.5
    sigma = max(1.0, _SMOOTHNESS * side)
    reach = 2 * min(int(3 * sigma), side - 1) + 1
    for kernel in ([reach, 1], [1, reach]):  # torchvision would go through the whole square for each pixel
        field = V.gaussian_blur(field, kernel, [sigma, sigma])
    # An amount is the root mean square of the pixels' ways, so that it means the same for all sizes.
    field = field / field.square().sum(1, keepdim=True).mean((2, 3), keepdim=True).sqrt().clamp_min(1e-9)
    down, right = (field * torch.from_numpy(_each(amounts * side))).unbind(1)
    y, x = _places(images)
    return _sampled(images, y + down, x + right)


def _places(images: Pixels) -> tuple[Tensor, Tensor]:
    """Return where the pixels are, from the centre of the image: rows [H, 1] and columns [W]."""
    height, width = images.shape[1:3]
    return (torch.arange(height) - (height - 1) / 2).view(-1, 1), torch.arange(width) - (width - 1) / 2


def _sampled(images: Pixels, y: Tensor, x: Tensor) -> Pixels:
    """Take each pixel from another place, bilinearly; beyond the edge is what stands at it. `y`, `x`: [N, H, W]."""
    height, width = images.shape[1:3]
    shape = len(images), height, width
    grid = torch.stack([(2 * x / width).expand(shape), (2 * y / height).expand(shape)], -1)
    values = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    found = F.grid_sample(values, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return _whole(found.permute(0, 2, 3, 1).numpy())


KINDS: dict[CorruptionName, Corruption] = {
    "noise": Corruption((0, 0.05, 0.1, 0.2, 0.3, 0.4), "Gaussian noise, deviation", _noise),
    "blur": Corruption((0, 0.02, 0.03, 0.04, 0.055, 0.07), "Gaussian blur, deviation in sides", _blur),
    "contrast": Corruption((0, 0.25, 0.5, 0.6, 0.7, 0.85), "contrast taken away", _contrast),
    "brightness": Corruption((0, 0.1, 0.2, 0.3, 0.4, 0.5), "added to every value", _brightness),
    "jpeg": Corruption((100, 40, 25, 15, 10, 5), "quality of JPEG", _jpeg),
    "rotation": Corruption((0, 10, 20, 30, 45, 60), "degrees, either way", _rotation),
    "shift": Corruption((0, 0.04, 0.08, 0.12, 0.16, 0.2), "sides, in any direction", _shift),
    "elastic": Corruption((0, 0.015, 0.03, 0.045, 0.06, 0.08), "way of a pixel in sides, root mean square", _elastic),
}

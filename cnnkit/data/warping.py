"""Images turned, shifted, bent and drawn with another pen: a batch at a time, on its device."""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Warp:
    """How far a batch is varied. On a non-square image, angles and lengths are those of its pixels.

    Attributes:
        rotation: farthest angle in degrees.
        scale: farthest change in size, as a share: 0.2 is from 1/1.2 to 1.2 times.
        aspect: farthest change of width to height, as a share.
        shear: farthest tangent of the angle that an upright line leans by.
        shift: farthest way in each direction, as a share of half the width and of half the height.
        warp: farthest way of the points of a 4x4 net, as a share of half the shorter side in both directions.
        stroke: how much of a stroke of one more or one less pixel is mixed in.
        blur: how much of a 3x3 mean is mixed in.
        contrast: how much of the contrast may be lost.
        hflip: whether left and right change places in half of the images.
    """

    rotation: float = 0.0
    scale: float = 0.0
    aspect: float = 0.0
    shear: float = 0.0
    shift: float = 0.0
    warp: float = 0.0
    stroke: float = 0.0
    blur: float = 0.0
    contrast: float = 0.0
    hflip: bool = False

    def draw(self, images: int, generator: Generator) -> Tensor:
        """Return the random numbers of an epoch: float32 [images, K] in [-1, 1)."""
        return torch.rand(images, _COLUMNS, generator=generator) * 2 - 1

    def apply(self, images: Tensor, numbers: Tensor) -> Tensor:
        """Vary a batch.

        Args:
            images: float32 [N, C, H, W] in [0, 1], or uint8.
            numbers: the rows of `draw` that belong to these images, [N, K].

        Returns:
            [N, C, H, W] of the same type; uint8 is rounded, as if it had been stored.
        """
        if images.dtype == torch.uint8:
            return (self.apply(images.float() / 255, numbers) * 255).round().to(torch.uint8)
        images = F.grid_sample(images, self._grid(images, numbers), padding_mode="border", align_corners=False)
        if self.stroke:
            images = _restroke(images, numbers[:, 7] * self.stroke)
        if self.blur:
            share = (numbers[:, 8].clamp(min=0) * self.blur).view(-1, 1, 1, 1)
            images = images + share * (F.avg_pool2d(images, 3, 1, 1, count_include_pad=False) - images)
        if self.contrast:
            gain = 1 + (numbers[:, 9].clamp(max=0) * self.contrast).view(-1, 1, 1, 1)
            # Towards the ground, so that white paper stays white and black stays black.
            ground = torch.where(images.mean((1, 2, 3), keepdim=True) > 0.5, 1.0, 0.0)
            images = ground + (images - ground) * gain
        return images.clamp(0, 1)

    def _grid(self, images: Tensor, numbers: Tensor) -> Tensor:
        """Return where each output pixel looks in the input: [N, H, W, 2] in [-1, 1]."""
        height, width = images.shape[2:]
        # [-1, 1] is another length across than down: where x and y mix, one is expressed in the other's unit.
        taller = height / width
        angle = numbers[:, 0] * math.radians(self.rotation)
        scale = torch.exp(numbers[:, 1] * math.log1p(self.scale))
        aspect = torch.exp(numbers[:, 2] * math.log1p(self.aspect) / 2)
        shear = numbers[:, 3] * self.shear
        cos, sin = torch.cos(angle), torch.sin(angle)
        across, down = scale * aspect, scale / aspect
        if self.hflip:
            across = across * torch.where(numbers[:, 6] < 0, -1.0, 1.0)
        theta = torch.stack(
            [
                torch.stack([cos * across, (shear * cos - sin) * down * taller, numbers[:, 4] * self.shift], 1),
                torch.stack([sin * across / taller, (shear * sin + cos) * down, numbers[:, 5] * self.shift], 1),
            ],
            1,
        )
        grid = F.affine_grid(theta, list(images.shape), align_corners=False)
        if self.warp:
            knots = numbers[:, 10:].reshape(-1, 2, _KNOTS, _KNOTS) * self.warp
            field = F.interpolate(knots, size=(height, width), mode="bicubic", align_corners=True).permute(0, 2, 3, 1)
            shorter = min(height, width)
            grid = grid + field * field.new_tensor([shorter / width, shorter / height])
        return grid


def _restroke(images: Tensor, amount: Tensor) -> Tensor:
    """Thicken (amount > 0) or thin (< 0) light strokes on dark, or dark on light, by mixing in a dilation."""
    light = images.mean((1, 2, 3), keepdim=True) <= 0.5
    ink = torch.where(light, images, 1 - images)
    amount = amount.view(-1, 1, 1, 1)
    thick = F.max_pool2d(ink, 3, 1, 1)
    thin = -F.max_pool2d(-ink, 3, 1, 1)
    ink = torch.where(amount > 0, ink + amount * (thick - ink), ink - amount * (thin - ink))
    return torch.where(light, ink, 1 - ink)


_KNOTS = 4
_COLUMNS = 10 + 2 * _KNOTS**2

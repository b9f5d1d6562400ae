"""Mirrored and shifted crops: the augmentation of residual networks on small photos (He et al., 2015)."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor


@dataclass(frozen=True)
class Crops:
    """Shifts each image by whole pixels, what leaves one side reflected into the other, and mirrors half of them.

    A single gather: pixels are copied and never mixed, so any dtype comes back as it went in.

    Attributes:
        shift: the farthest shift in each direction, in pixels.
        hflip: whether left and right change places in half of the images.
    """

    shift: int = 2
    hflip: bool = True

    def draw(self, images: int, generator: Generator) -> Tensor:
        """Return the random numbers of an epoch: float32 [images, 3] in [-1, 1)."""
        return torch.rand(images, 3, generator=generator) * 2 - 1

    def apply(self, images: Tensor, numbers: Tensor) -> Tensor:
        """Vary a batch.

        Args:
            images: [N, C, H, W] of any dtype.
            numbers: the rows of `draw` that belong to these images, [N, 3].

        Returns:
            [N, C, H, W] of the same dtype, channels-last in memory.
        """
        count, _, height, width = images.shape
        rows = self._looked_at(height, numbers[:, 1])
        columns = self._looked_at(width, numbers[:, 2])
        if self.hflip:
            columns = torch.where(numbers[:, :1] < 0, columns.flip(1), columns)
        each = torch.arange(count, device=images.device)
        pixels = images.permute(0, 2, 3, 1)
        return pixels[each[:, None, None], rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)

    def _looked_at(self, side: int, numbers: Tensor) -> Tensor:
        """Return which row or column of the input each one of the output shows, int64 [N, side]."""
        farthest = min(self.shift, side - 1)
        steps = ((numbers + 1) / 2 * (2 * farthest + 1)).long().clamp(max=2 * farthest) - farthest
        there = (torch.arange(side, device=numbers.device) + steps[:, None]).abs()
        return side - 1 - (side - 1 - there).abs()


AUGMENTATION = Crops()

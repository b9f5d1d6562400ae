"""Which places of a dimension each place of a result is made of, for windows that slide, even windows and resizing."""

from functools import lru_cache
from typing import Any

import numpy as np
import torch

from cnnkit.inspection.bounds import Sources, UnknownError

# Of source and result together; a longer one takes seconds.
_MOST = 2**29
_BLOCK = 2**22


@lru_cache(maxsize=4096)
def sliding(size: int, places: int, kernel: int, stride: int, padding: int, dilation: int) -> Sources:
    """Return the sources of a convolution or a pooling; padding is none."""
    found = (np.arange(places) * stride - padding)[:, None] + np.arange(kernel) * dilation
    return np.where((found >= 0) & (found < size), found, size)


@lru_cache(maxsize=1024)
def transposed(size: int, places: int, kernel: int, stride: int, padding: int, dilation: int) -> Sources:
    """Return the sources of a transposed convolution: where a step of the kernel hits a place."""
    steps = (np.arange(places) + padding)[:, None] - np.arange(kernel) * dilation
    hit = (steps % stride == 0) & (steps >= 0) & (steps < size * stride)
    return np.where(hit, steps // stride, size)


@lru_cache(maxsize=1024)
def adaptive(size: int, places: int) -> Sources:
    """Return the sources of adaptive pooling: windows as even as can be, which may overlap."""
    place = np.arange(places)
    first, end = place * size // places, -(-(place + 1) * size // places)
    found = first[:, None] + np.arange((end - first).max(initial=0))
    return np.where(found < end[:, None], found, size)


@lru_cache(maxsize=1024)
def resized(function: Any, rank: int, size: int, places: int, corners: tuple[bool, ...], scale: float | None) -> Sources:
    """Return the sources of an operator that resizes, found by giving it each place alone.

    Args:
        function: the operator, of images with `rank` axes; each is resized on its own.
        size: before.
        places: after.
        corners: `align_corners` where the operator takes it, nothing otherwise.
        scale: how much larger, where that was said in place of the size.

    Raises:
        UnknownError: too many places to try.
    """
    if size * places > _MOST:
        raise UnknownError(f"{size} places, resized to {places}")
    ones = (1,) * (rank - 1)
    pairs = []
    step = max(1, _BLOCK // max(size, places))
    for start in range(0, size, step):
        count = min(step, size - start)
        alone = torch.eye(count, size, dtype=torch.float64)
        alone = alone.roll(start, 1).reshape(count, 1, *ones, size)
        weights = function(alone, [*ones, places], *corners, *(None,) * (rank - 1), scale).reshape(count, places)
        pairs.append(weights.T.nonzero().numpy() + (0, start))
    rows, columns = np.concatenate(pairs).T
    order = np.argsort(rows, kind="stable")
    rows, columns = rows[order], columns[order]
    counts = np.bincount(rows, minlength=places)
    found = np.full((places, counts.max(initial=1)), size)
    found[rows, np.arange(len(rows)) - (counts.cumsum() - counts)[rows]] = columns
    return found

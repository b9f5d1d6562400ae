"""Occlusion sensitivity: what a network loses while a patch hides a part of the image. It needs no gradients.

Zeiler and Fergus, "Visualizing and understanding convolutional networks", 2014.
"""

from collections.abc import Generator
from itertools import product

import numpy as np

from cnnkit.inspection.explanations import Occlusion
from cnnkit.pictures import Pixels
from cnnkit.progress import WorkProgress
from cnnkit.runtime.classifier import Network, probabilities_of

_PATCH = 0.2  # of a side
_STEPS = 28  # of a patch along a side, about
_BATCH = 64
_BATCH_BYTES = 2**25


def plain_colour(pixels: Pixels) -> Pixels:
    """Return the median colour of an image, uint8 [C] for uint8 [H, W, C]: of a drawing that is its paper."""
    return np.asarray(np.round(np.median(pixels, (0, 1))), np.uint8)


def occlude(network: Network, pixels: Pixels, target: int) -> Generator[WorkProgress, None, Occlusion]:
    """Slide a patch of the image's median colour over it, and see what becomes of a class's probability.

    The patch is a fifth of each side, about as in the paper, and takes about 28 steps along a side, so that the work
    is that of some 550 images of any size.

    Args:
        network: takes the image.
        pixels: uint8 [H, W, C].
        target: index of the class.

    Raises:
        OnnxError: the network failed.
    """
    height, width = pixels.shape[:2]
    size = max(1, round(_PATCH * height)), max(1, round(_PATCH * width))
    stride = max(1, round(height / _STEPS)), max(1, round(width / _STEPS))
    places = list(product(_starts(height, size[0], stride[0]), _starts(width, size[1], stride[1])))
    colour = plain_colour(pixels)
    whole = probabilities_of(network.logits(pixels[None]), network.card)[0, target]
    lost = np.zeros((height, width))
    covered = np.zeros((height, width))
    lowest = float(whole)
    batch = max(1, min(_BATCH, _BATCH_BYTES // pixels.nbytes))
    for start in range(0, len(places), batch):
        yield WorkProgress("hiding parts of the image", start, len(places))
        windows = [np.s_[top : top + size[0], left : left + size[1]] for top, left in places[start : start + batch]]
        hidden = np.repeat(pixels[None], len(windows), 0)
        for image, window in zip(hidden, windows, strict=True):
            image[window] = colour
        left_over = probabilities_of(network.logits(hidden), network.card)[:, target]
        lowest = min(lowest, float(left_over.min()))
        for window, probability in zip(windows, left_over, strict=True):
            lost[window] += whole - probability
            covered[window] += 1
    return Occlusion((lost / covered).astype(np.float32), size, stride, tuple(map(int, colour)), lowest)


def _starts(side: int, patch: int, stride: int) -> list[int]:
    """Return where a patch begins along a side, the last time so that it ends with it."""
    last = side - patch
    return [*range(0, last, stride), last]

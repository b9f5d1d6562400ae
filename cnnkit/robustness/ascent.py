"""Ways upwards, to images that a network takes more for a class: along its gradient, or along an estimate of it."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from cnnkit.errors import OnnxError
from cnnkit.pictures import Pixels
from cnnkit.robustness.canvas import Canvas, Values
from cnnkit.robustness.gradients import PixelNetwork
from cnnkit.robustness.losses import log_odds_against
from cnnkit.runtime.classifier import Network

_PAIRS, _SPREAD, _GRID = 16, 16.0, 16
"""Of an evolution: pairs of a generation, how far they are from their parent, and the squares to a side they vary."""
_MOMENTUM = 0.8
_REMEMBERED_BYTES = 2**28


class Ascent(Protocol):
    """A way upwards for one class after the other, in their order.

    Attributes:
        steps: that a search for a class may take.
    """

    steps: int

    def begin(self, target: int, source: np.random.Generator) -> Values:
        """Return where the search for a class starts, float64 [H, W, C] in [0, 255]."""

    def direction(self, values: Values, target: int, source: np.random.Generator) -> Values:
        """Return the way from an image to more log-odds of a class, float64 [H, W, C] of any length."""


class Gradient:
    """The gradient of the log-odds by the pixels; from noise."""

    steps = 300

    def __init__(self, network: PixelNetwork, canvas: Canvas) -> None:
        self._network, self._canvas = network, canvas

    def begin(self, target: int, source: np.random.Generator) -> Values:
        """Return noise."""
        return _noise(self._canvas, source)

    def direction(self, values: Values, target: int, source: np.random.Generator) -> Values:
        """Return the gradient at an image."""
        pixels = torch.from_numpy(values / 255).permute(2, 0, 1)[None].float().to(self._network.device)
        pixels.requires_grad_()
        with torch.enable_grad():
            logits = self._network.scores(pixels)[1]
            odds = -log_odds_against(logits, torch.tensor([target], device=logits.device))
            (gradient,) = torch.autograd.grad(odds.sum(), pixels)
        return np.asarray(gradient[0].permute(1, 2, 0).double().cpu())


class Evolution:
    """Estimates the gradient from the scores of generations of varied images (Wierstra et al., 2014).

    The estimates of earlier steps go on counting, so that few images make a step. And as each score is one for every
    class, the image that comes nearest to a class before its turn is where its search begins (MAP-Elites: Mouret and
    Clune, 2015).
    """

    steps = 1000

    def __init__(self, network: Network, canvas: Canvas, targets: Sequence[int]) -> None:
        """Prepare to look for images of `targets`, in their rising order."""
        self._network, self._canvas, self._targets = network, canvas, np.asarray(targets)
        self._ahead = max(1, _REMEMBERED_BYTES // int(np.prod(canvas.shape)))
        self._nearest: dict[int, Pixels] = {}
        self._odds = np.full(len(network.card.labels), -np.inf)
        self._momentum: Values | float = 0.0

    def begin(self, target: int, source: np.random.Generator) -> Values:
        """Return the image that came nearest so far, or noise."""
        self._momentum = 0.0
        nearest = self._nearest.pop(target, None)
        return _noise(self._canvas, source) if nearest is None else nearest.astype(np.float64)

    def direction(self, values: Values, target: int, source: np.random.Generator) -> Values:
        """Return the mean of the estimates so far, the later ones counting more.

        Raises:
            OnnxError: the network gives scores that are not finite.
        """
        height, width, channels = values.shape
        block = -(-max(height, width) // _GRID)  # the fewer values vary, the fewer images tell what each of them does
        varied = source.standard_normal((_PAIRS, -(-height // block), -(-width // block), channels))
        varied = varied.repeat(block, 1).repeat(block, 2)[:, :height, :width]
        offspring = np.concatenate([values + _SPREAD * varied, values - _SPREAD * varied])
        pixels = np.asarray(np.clip(np.rint(offspring), 0, 255), np.uint8)
        logits = self._network.logits(pixels)
        if not np.isfinite(logits).all():
            raise OnnxError(
                f"{self._network.card.model} gives scores that are not finite numbers for some images, so that no "
                "image can be looked for by them. Leave it out: --only corruptions,flip"
            )
        odds = log_odds(logits)
        self._remember(pixels, odds, target)
        better = odds[:_PAIRS, target] - odds[_PAIRS:, target]
        self._momentum = _MOMENTUM * self._momentum + np.tensordot(better, varied, 1)
        return self._momentum

    def _remember(self, pixels: Pixels, odds: Values, target: int) -> None:
        """Keep the images that are the nearest so far to the classes that come next."""
        coming = self._targets[self._targets > target][: self._ahead]
        rows, best = odds[:, coming].argmax(0), odds[:, coming].max(0)
        for place in np.flatnonzero(best > self._odds[coming]):
            self._nearest[int(coming[place])] = pixels[rows[place]].copy()
        self._odds[coming] = np.maximum(self._odds[coming], best)


def _noise(canvas: Canvas, source: np.random.Generator) -> Values:
    return source.uniform(0, 255, canvas.shape)


def log_odds(logits: NDArray[np.float32]) -> Values:
    """Return the logarithms of the odds of each class, for logits [N, classes]."""
    shifted = logits.astype(np.float64) - logits.max(1, keepdims=True)
    shares = np.exp(shifted)
    total = shares.sum(1, keepdims=True)
    # Of a class that has it all, rounding leaves nothing to the others.
    return np.asarray(shifted - np.log(np.maximum(total - shares, 1e-15 * total)))

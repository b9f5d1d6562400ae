"""What the first layer of a network shows of the pixels that it was trained on.

A batch normalisation keeps the mean and variance of its input, what a convolution made of all training images. The mean
of such a filter is the sum of its weights times the mean of the pixels; its deviation is that of the pixels times what
the weights make of neighbouring ones, which in photos are nearly equal. Both are fitted over all filters.
"""

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

_FEWEST = 8
"""Filters: of fewer, an agreement may be chance."""
_LONGEST = 1024
"""Weights of a filter."""
_NEAR = 25.0
"""Pixels after which the correlation of a photo's pixels has fallen to 1/e; that of two colours is `_ALIKE`."""
_ALIKE = 0.9
LARGEST_UNIT = 8.0
"""A mean or deviation beyond this is not of pixels up to 1, normalised or not."""
_LARGEST = 1e12
"""Of weights and statistics; `nan` is not below it."""
_LEFT = 0.3
"""Of a filter's deviation, what its mean may differ from that of the fit."""
_AGREE = 0.5
"""Least correlation of the deviations with those of the fit; for random weights it is about 0."""


@dataclass(frozen=True)
class Met:
    """Mean and deviation of the values that a network met in training, as far as its first layer shows them.

    They tell scales apart, and are no measurement: the deviation depends on how smooth the images were.
    """

    mean: float
    std: float

    @property
    def in_words(self) -> str:
        """For a list of assumptions."""
        return (
            f"by its first batch normalisation it was trained on values of mean {self.mean:.2f} and deviation "
            f"{self.std:.2f}"
        )


def met_by(weights: Values, bias: Values, mean: Values, variance: Values) -> Met | None:
    """Return what values a first convolution met, or None where its batch normalisation does not tell.

    Args:
        weights: of the convolution [filters, channels, height, width].
        bias: [filters].
        mean, variance: of the batch normalisation after it, [filters].
    """
    if not _fit(weights, bias, mean, variance) or prod(weights.shape[1:]) > _LONGEST:
        return None
    used = (np.abs(weights).sum((1, 2, 3)) > 0) & (variance > 0)
    rows = weights[used].reshape(-1, prod(weights.shape[1:]))
    if len(rows) < _FEWEST:
        return None
    deviations = np.sqrt(variance[used])
    expected = np.sqrt(np.einsum("ni,ij,nj->n", rows, _likeness(weights.shape[1:]), rows))
    if not expected.all():
        return None
    logs = np.log(deviations), np.log(expected)
    if min(np.ptp(each) for each in logs) < 1e-6 or np.corrcoef(*logs)[0, 1] < _AGREE:
        return None
    # By least squares, each filter's mean in units of its deviation.
    sums, means = rows.sum(1) / deviations, (mean - bias)[used] / deviations
    if not sums.any():
        return None
    value = float(sums @ means / (sums @ sums))
    if np.sqrt(np.mean((means - value * sums) ** 2)) > _LEFT:
        return None
    return Met(value, float(np.exp(np.median(logs[0] - logs[1]))))


def met_at(mean: Values, variance: Values) -> Met | None:
    """Return what values a batch normalisation of the images themselves met; None where they were of 0 to 255.

    A graph that takes these scales them by itself.

    Args:
        mean, variance: of each channel.
    """
    met = Met(float(np.mean(mean)), float(np.sqrt(np.mean(np.abs(variance)))))
    return met if max(abs(met.mean), met.std) <= LARGEST_UNIT else None


def is_faint(weights: Values, bias: Values) -> bool:
    """Whether no values from -3 to 3 move most filters from their bias, so that the network takes larger ones.

    Args:
        weights: of a first convolution [filters, channels, height, width].
        bias: [filters].
    """
    if not _fit(weights, bias):
        return False
    reach = np.abs(weights).sum((1, 2, 3))
    used = reach > 0
    return bool(used.sum() >= _FEWEST and np.mean(np.abs(bias[used]) > 3 * reach[used]) > 0.5)


def _fit(weights: Values, *others: Values) -> bool:
    """Whether there is one number for each filter, and all are of an ordinary size: a file may hold anything."""
    if any(each.shape != weights.shape[:1] for each in others) or not weights.size:
        return False
    return all(bool((np.abs(each) < _LARGEST).all()) for each in (weights, *others))


def _likeness(shape: tuple[int, ...]) -> Values:
    """Return how alike the values under a filter [channels, height, width] are in photos, as correlations."""
    channels, height, width = shape
    down, across = (each.ravel() for each in np.mgrid[:height, :width])
    apart = np.hypot(down[:, None] - down, across[:, None] - across)
    colours = np.full((channels, channels), _ALIKE) + (1 - _ALIKE) * np.eye(channels)
    return np.asarray(np.kron(colours, np.exp(-apart / _NEAR)))

"""Labels that may be wrong, by confident learning (Northcutt, Jiang, Chuang: Confident Learning, JAIR 70, 2021)."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Candidates:
    """Images whose label may be wrong: their positions and the classes that they seem to be, int64 [N] both."""

    positions: Tensor
    suggested: Tensor


def find_candidates(probabilities: Tensor, labels: Tensor) -> Candidates:
    """Find the images that count as another class than their label's, the surest first.

    An image counts as a class if its probability of it is at least the mean probability that the images with that
    label get for it; as the most probable, if that are several. So a class that the network is seldom sure of needs
    less. These are the entries beside the diagonal of the paper's confident joint; they are sorted by how much more
    probable the suggested class is than the label.

    Args:
        probabilities: [N, classes], of a network that should not have been trained on these images.
        labels: class indices, int64 [N].
    """
    classes = probabilities.shape[1]
    own = probabilities.gather(1, labels[:, None])[:, 0]
    counts = torch.bincount(labels, minlength=classes)
    sums = torch.zeros(classes, dtype=torch.float64).index_add_(0, labels, own.double())
    # No image can count as a class that nothing says how sure of it to be.
    thresholds = torch.where(counts > 0, sums / counts, torch.inf).to(probabilities.dtype)
    confident = torch.where(probabilities >= thresholds, probabilities, -torch.inf)
    highest, suggested = confident.max(1)
    found = torch.nonzero(highest.isfinite() & (suggested != labels))[:, 0]
    order = torch.argsort(highest[found] - own[found], descending=True, stable=True)
    found = found[order]
    return Candidates(found, suggested[found])

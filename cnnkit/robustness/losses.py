"""What an attack makes as large as it can: losses whose gradient does not vanish, however large or small the logits.

The cross-entropy in float32 is flat where a network is sure of its answer: of logits that are 20 apart nothing is left
but rounding, of logits that are 110 apart nothing at all. It then finds no image, and the network looks robust. The
logarithm of the odds against the true class has a gradient in the same direction, and never vanishes.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

Loss = Callable[[Tensor, Tensor], Tensor]
"""From logits [N, classes] and true classes int64 [N] to a loss of each image, [N]."""
_SPREAD = 20.0
"""Of the logits of an image once they are brought to one scale, about that of trained networks."""


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return a loss [N] that rises in the direction of the cross-entropy, and is nowhere flat for a known class.

    Args:
        logits: [N, classes].
        targets: true classes, int64 [N], or their shares, float32 [N, classes].
    """
    if targets.dim() == 1:
        return log_odds_against(logits, targets)
    largest, classes = targets.max(1)
    mixed = F.cross_entropy(logits, targets, reduction="none")
    return torch.where(largest == 1, log_odds_against(logits, classes), mixed)


def log_odds_against(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the logarithm of the odds against the true class, [N], for logits [N, classes] and classes int64 [N]."""
    return _others(logits, targets).logsumexp(1) - _own(logits, targets)


def scaled_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return `cross_entropy` of logits brought to one spread, so that their scale makes no difference."""
    return log_odds_against(_SPREAD * _scaled(logits), targets)


def margin(logits: Tensor, targets: Tensor) -> Tensor:
    """Return how far the best other class is ahead of the true one, in spreads of the logits.

    Carlini and Wagner, "Towards evaluating the robustness of neural networks", 2017.
    """
    scaled = _scaled(logits)
    # One of equals and not their mean: gradients of two that rise in opposite directions would cancel out.
    return _others(scaled, targets).max(1).values - _own(scaled, targets)


LOSSES: dict[str, Loss] = {"cross-entropy": scaled_cross_entropy, "margin": margin}
"""Those that every image is attacked with; of each image the worst result counts."""


def _scaled(logits: Tensor) -> Tensor:
    """Return logits less their largest, divided by their spread, which counts as a constant; [N, classes]."""
    top = logits.amax(1, keepdim=True).detach()
    spread = top - logits.amin(1, keepdim=True).detach()
    return (logits - top) / spread.clamp_min(torch.finfo(logits.dtype).tiny)


def _own(logits: Tensor, targets: Tensor) -> Tensor:
    return logits.gather(1, targets[:, None])[:, 0]


def _others(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the logits of all classes but the true one, which has so little that it counts for nothing."""
    return logits.scatter(1, targets[:, None], torch.finfo(logits.dtype).min)

"""The loss that a network is trained with: cross-entropy, with smoothed labels and weighted classes."""

from torch import Tensor
from torch.nn import functional as F


def summed_loss(logits: Tensor, targets: Tensor, *, weights: Tensor | None, smoothing: float) -> Tensor:
    """Return the sum of the cross-entropies of a batch, each with the weight of its image's own class.

    Whatever the weights, the loss of an image is the lowest where its probabilities are its smoothed target.
    PyTorch's own weights multiply each class of a target instead: of a smoothed or mixed one the rare class then has
    the largest part, and to answer it for every image costs least (pytorch#104776).

    Args:
        logits: float32 [N, classes].
        targets: class indices int64 [N], or shares of the classes float32 [N, classes].
        weights: of the classes, float32 [classes]; None for one each. An image of shares has their mean by its shares.
        smoothing: part of each target that is spread evenly over all classes, in [0, 1).

    Returns:
        float32 [].
    """
    mixed = targets.dim() == 2
    if weights is None or not (mixed or smoothing):
        return F.cross_entropy(logits, targets, weight=weights, label_smoothing=smoothing, reduction="sum")
    losses = F.cross_entropy(logits, targets, label_smoothing=smoothing, reduction="none")
    # No product of matrices, which autocast would compute in half precision.
    own = (targets * weights).sum(1) if mixed else weights[targets]
    return (losses * own).sum()

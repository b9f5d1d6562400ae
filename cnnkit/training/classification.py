"""Classification: cross-entropy, with smoothed labels and weighted classes, and the classes that were found."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cnnkit.models.trial import require_classifier, require_trainable
from cnnkit.recipe import Recipe
from cnnkit.sources import Shape
from cnnkit.training.results import EpochRecord


@dataclass(frozen=True)
class Classification:
    """The task of giving each image one of some classes; see `cnnkit.training.task.Task`.

    Attributes:
        classes: how many.
        weights: of the classes in the loss that is trained on, float32 [classes]; None for one each.
        smoothing: part of each target that is spread evenly over all classes, in [0, 1).
    """

    classes: int
    weights: Tensor | None = None
    smoothing: float = 0.0

    @classmethod
    def of(cls, recipe: Recipe, classes: int, targets: Tensor, device: torch.device) -> "Classification":
        """Return what a recipe makes of the training images' classes, int64 [N]."""
        return cls(classes, class_weights(recipe, targets, classes, device), recipe.label_smoothing)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the sum of the cross-entropies of a batch; see `summed_loss`."""
        return summed_loss(outputs, targets, weights=self.weights, smoothing=self.smoothing)

    def held_out_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the sum of the cross-entropies of a batch: one image counts as much as another."""
        return F.cross_entropy(outputs, targets, reduction="sum")

    def right(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return how many images have their own class as the highest logit; of shares, their largest class."""
        return (outputs.argmax(1) == (targets if targets.dim() == 1 else targets.argmax(1))).sum()

    def rank(self, accuracy: float, loss: float) -> tuple[float, ...]:
        """Return accuracy first: with few validation images it ties often, and the lower loss then decides."""
        return accuracy, -loss

    def require_output(self, network: nn.Module, name: str, input_shape: Shape) -> str | None:
        """Make sure that a network gives a logit for each class and image."""
        return require_classifier(network, name, input_shape, self.classes).bounded_by

    def require_trainable(self, network: nn.Module, name: str, input_shape: Shape, batch: int) -> None:
        """Make sure that the cross-entropy of a batch can be trained on."""
        require_trainable(network, name, input_shape, self.classes, batch)

    def advice(self, records: Sequence[EpochRecord]) -> str:
        """Say that a network has learnt no more than to guess.

        The loss of equal scores for all classes is the logarithm of their number, with smoothed and mixed labels too.
        """
        guessing = math.log(self.classes)
        if not records or records[-1].dry_run or records[-1].train_loss < guessing:
            return ""
        return (
            f"the training loss of the last epoch, {records[-1].train_loss:.4g}, is not below {guessing:.4g}, that of "
            f"equal scores for all {self.classes} classes: try more --epochs, or another --learning-rate"
        )


def class_weights(recipe: Recipe, targets: Tensor, classes: int, device: torch.device) -> Tensor | None:
    """Return what a wrong answer costs by class, float32 [classes]; `balanced` makes all classes cost the same."""
    if recipe.class_weights == "none":
        return None
    counts = torch.bincount(targets, minlength=classes).to(device)
    return len(targets) / (classes * counts.clamp(min=1))


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

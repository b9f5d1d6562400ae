"""Attacks that follow the gradient: images that look the same, and are taken for another class.

The fast gradient sign method: Goodfellow, Shlens and Szegedy, 2015. Projected gradient descent: Madry, Makelov,
Schmidt, Tsipras and Vladu, 2018. Both move pixels scaled to [0, 1], and stay in there and in a ball around the image.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cnnkit.errors import UsageError
from cnnkit.images import Preprocessing
from cnnkit.robustness.lastlayer import unsquashed
from cnnkit.robustness.losses import cross_entropy
from cnnkit.robustness.results import Norm


class PixelNetwork:
    """A network that takes pixels in [0, 1], float32 [N, C, H, W], in place of normalised ones."""

    def __init__(self, network: nn.Module, form: Preprocessing, device: torch.device) -> None:
        self.network, self.device = network, device
        self.mean, self.std = (torch.tensor(v, device=device).view(-1, 1, 1) for v in (form.mean, form.std))

    def __call__(self, pixels: Tensor) -> Tensor:
        """Return logits [N, classes]."""
        logits: Tensor = self.network((pixels - self.mean) / self.std)
        return logits

    def scores(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the scores that answers go by, and those that gradients go by, both float32 [N, classes]."""
        scores, followed = unsquashed(self.network, (pixels - self.mean) / self.std)
        return scores.float(), followed.float()

    def require_gradients(self, pixels: Tensor, name: str) -> None:
        """Make sure, with some images, that the scores follow the pixels by gradients.

        Raises:
            UsageError: they do not, so that nothing can be followed.
        """
        try:
            moved = pixels.clone().requires_grad_()
            with torch.enable_grad():
                followed = self.scores(moved)[1]
                # No sum of theirs that is the same for all answers, as that of probabilities is.
                weights = torch.arange(1.0, 1 + followed.shape[1], device=self.device)
                (gradient,) = torch.autograd.grad((followed * weights).sum(), moved)
        except RuntimeError as error:
            reason = str(error).partition("\n")[0].rstrip(".")
            raise UsageError(
                f"{name} gives no gradient of its scores by its pixels ({reason}), which fgsm and pgd follow. "
                "Leave them out: --only corruptions,flip"
            ) from error
        if not unit(gradient).any():
            raise UsageError(
                f"the gradient of {name} is zero on all images that were tried, so fgsm and pgd have nothing to "
                "follow. Leave them out: --only corruptions,flip"
            )


Network = Callable[[Tensor], Tensor]
"""From pixels in [0, 1], float32 [N, C, H, W], to logits [N, classes]."""


def fgsm(network: Network, images: Tensor, targets: Tensor, *, epsilon: float, norm: Norm = "linf") -> Tensor:
    """Take one step of length `epsilon` along the gradient of the loss, or along its sign; as `pgd` otherwise."""
    return pgd(network, images, targets, epsilon=epsilon, norm=norm, steps=1, step_size=epsilon)


def pgd(
    network: Network,
    images: Tensor,
    targets: Tensor,
    *,
    epsilon: float,
    norm: Norm = "linf",
    steps: int,
    step_size: float,
    start: Tensor | None = None,
) -> Tensor:
    """Look for images near the given ones at which the cross-entropy is as high as it gets.

    Args:
        network: what is attacked; its weights get no gradient.
        images: pixels in [0, 1], float32 [N, C, H, W].
        targets: true classes, int64 [N], or their shares, float32 [N, classes].
        epsilon: radius of the ball, in pixels of [0, 1]: of each value for `linf`, of the whole image for `l2`.
        norm: that measures it.
        steps: along the gradient.
        step_size: length of each in the same measure.
        start: the change that the search begins with, of the images' shape; None for none.

    Returns:
        float32 [N, C, H, W] in [0, 1], nowhere further than `epsilon` from `images`.
    """
    change = torch.zeros_like(images) if start is None else start
    for _ in range(steps):
        # Only pixels are asked for, so that nothing is computed for the weights.
        moved = (images + change).clamp_(0, 1).requires_grad_()
        with torch.enable_grad():
            loss = cross_entropy(network(moved).float(), targets).sum()
        (gradient,) = torch.autograd.grad(loss, moved)
        # A sign needs no unit; training takes this way many times.
        way = gradient.nan_to_num(nan=0.0) if norm == "linf" else unit(gradient)
        change = advanced(moved.detach() - images, way, epsilon=epsilon, norm=norm, size=step_size)
    return (images + change).clamp_(0, 1)


def advanced(change: Tensor, way: Tensor, *, epsilon: float, norm: Norm, size: float) -> Tensor:
    """Return a change [N, C, H, W] one step further along a way, back in the ball; `change` is written over."""
    return _project(change.add_(_direction(way, norm), alpha=size), epsilon, norm)


def unit(gradient: Tensor) -> Tensor:
    """Return gradients [N, C, H, W], each divided by its mean absolute value; where they are no numbers, zero.

    So it is with a root at 0, or where something overflows: no way to go.
    """
    # Squares or sums of very small or very large ones would be nothing in float32, or infinite.
    gradient = gradient.nan_to_num(nan=0.0)
    largest = gradient.flatten(1).abs().amax(1).view(-1, 1, 1, 1)
    flat = (gradient / largest.clamp_min(torch.finfo(gradient.dtype).tiny)).flatten(1)
    return (flat / flat.abs().mean(1, keepdim=True).clamp_min(1 / flat.shape[1])).view(gradient.shape)


def random_start(like: Tensor, *, epsilon: float, norm: Norm = "linf", source: torch.Generator) -> Tensor:
    """Draw changes uniformly from the ball of radius `epsilon`, for images like float32 [N, C, H, W]."""
    if norm == "linf":
        return torch.empty_like(like).uniform_(-epsilon, epsilon, generator=source)
    direction = _direction(torch.empty_like(like).normal_(generator=source), norm)
    radius = torch.empty_like(like[:, :1, :1, :1]).uniform_(generator=source) ** (1 / like[0].numel())
    return direction * (epsilon * radius)


def _direction(way: Tensor, norm: Norm) -> Tensor:
    return way.sign() if norm == "linf" else F.normalize(way.flatten(1)).view(way.shape)


def _project(change: Tensor, epsilon: float, norm: Norm) -> Tensor:
    if norm == "linf":
        return change.clamp_(-epsilon, epsilon)
    length = change.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    return change.mul_((epsilon / length).clamp_max_(1))


def to_pixels(found: Tensor, images: Tensor, *, epsilon: float, norm: Norm) -> Tensor:
    """Round what an attack found to whole pixels that are still within its ball.

    Args:
        found: in [0, 1], float32 [N, C, H, W].
        images: where it began, uint8 [N, C, H, W].
        epsilon, norm: as for `pgd`.

    Returns:
        uint8 [N, C, H, W].
    """
    change = (found.double() * 255 - images).flatten(1)
    # An epsilon such as 8/255 is meant to reach whole pixels, and floating point must not take the last one away.
    radius = 255 * epsilon + 1e-6
    if norm == "linf":
        whole = change.round().clamp(-int(radius), int(radius))
    else:
        # Towards the image is inside for certain; as many values as the ball has room for are rounded away from it,
        # those first that are nearest to it.
        whole = change.trunc()
        rest = (change - whole).abs()
        rest, order = rest.sort(dim=1, descending=True, stable=True)
        longer = (2 * whole.abs() + 1).gather(1, order)
        fits = longer.cumsum(1) + whole.square().sum(1, keepdim=True) <= radius**2
        away = torch.zeros_like(whole).scatter(1, order, ((rest >= 0.5) & fits).double())
        whole += away * change.sign()
    return (images.flatten(1) + whole).clamp(0, 255).to(torch.uint8).view(images.shape)

"""What in an image speaks for a class, by the gradients of a PyTorch network. captum does the work.

All gradients are those of the class's logit, and are taken with respect to the normalised input. Normalising is affine,
channel by channel, so integrated gradients are the same numbers for the pixels themselves.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cnnkit.errors import MissingDependencyError, UsageError

_STEPS = (64, 256, 1024)
_TOLERANCE, _HARDLY = 0.01, 0.01
"""How exact the sum is to be, and of what share of all values, signs aside, where the logits hardly differ."""
_BATCH = 16


def require_captum() -> None:
    """Load captum.

    Raises:
        MissingDependencyError: this installation lacks it.
    """
    try:
        import captum.attr  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            "Grad-CAM and integrated gradients are captum's, which is not installed. Run: pip install captum"
        ) from error


def grad_cam(network: nn.Module, layer: nn.Module, inputs: Tensor, target: int) -> NDArray[np.float32]:
    """Return where a layer sees what speaks for a class.

    Selvaraju, Cogswell, Das, Vedantam, Parikh and Batra, "Grad-CAM: visual explanations from deep networks via
    gradient-based localization", 2017.

    Args:
        network: in evaluation mode.
        layer: gives maps [1, channels, h, w].
        inputs: normalised, [1, C, H, W].
        target: index of the class.

    Returns:
        float32 [h, w]: the maps, weighted by the mean gradient over each, summed, and cut at zero.

    Raises:
        MissingDependencyError: captum is not installed.
        UsageError: the class does not depend on this layer's maps.
    """
    require_captum()
    from captum.attr import LayerGradCam

    # captum sets this itself where it is not, and warns of it.
    inputs = inputs.detach().clone().requires_grad_()
    with _reached("the maps of this layer", "Choose another layer."):
        found = LayerGradCam(network, layer).attribute(inputs, target, relu_attributions=True)
    return np.asarray(found[0, 0].detach().float().cpu().numpy())


def integrated_gradients(
    network: nn.Module, inputs: Tensor, baseline: Tensor, target: int
) -> tuple[NDArray[np.float32], float, int]:
    """Return what each pixel adds to a class's logit on the way from a plain image.

    Sundararajan, Taly and Yan, "Axiomatic attribution for deep networks", 2017: the sum of all is the difference of
    the two images' logits (completeness). 64 steps of the integration are tried, then 256, then 1,024, until that holds
    to one in a hundred of the difference, or, where the logits hardly differ, of a hundredth of what the values are
    together, signs aside. The scale of the logits makes no difference. The last try is returned even if it does not:
    the sum and the difference tell.

    Args:
        network: in evaluation mode.
        inputs: normalised, [1, C, H, W].
        baseline: the plain image, of the same shape.
        target: index of the class.

    Returns:
        float32 [H, W], summed over the channels; the difference of the logits; and the steps.

    Raises:
        MissingDependencyError: captum is not installed.
        UsageError: the network passes no gradients on to its input.
    """
    require_captum()
    from captum.attr import IntegratedGradients

    with torch.inference_mode():
        there, plain = (float(network(image)[0, target]) for image in (inputs, baseline))
    difference = there - plain
    inputs = inputs.detach().clone().requires_grad_()
    method = IntegratedGradients(network)
    for steps in _STEPS:
        with _reached("the image"):
            found = method.attribute(inputs, baseline, target, n_steps=steps, internal_batch_size=_BATCH)
        values = found[0].detach().float().sum(0).cpu().numpy()
        least = _HARDLY * float(np.abs(values).sum())
        if abs(float(values.sum()) - difference) <= _TOLERANCE * max(abs(difference), least):
            break
    return np.asarray(values), difference, steps


@contextmanager
def _reached(what: str, advice: str = "") -> Iterator[None]:
    """Say in our words that gradients do not get to where they are asked for, as in a part under `torch.no_grad`.

    Raises:
        UsageError: they do not.
    """
    try:
        yield
    except RuntimeError as error:
        if not re.search("not have been used in the graph|does not require grad", str(error)):
            raise
        message = f"the class does not depend on {what}, as far as gradients reach. {advice}"
        raise UsageError(message.rstrip()) from error

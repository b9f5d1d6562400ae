"""Looking into a PyTorch network while it classifies one image."""

from collections.abc import Generator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cnnkit.errors import MissingDependencyError, UnknownNameError, UsageError
from cnnkit.inspection import featuremaps, saliency
from cnnkit.inspection.explanations import FeatureMaps, Filters, GradCam, IntegratedGradients
from cnnkit.models.networks import TorchNetwork
from cnnkit.models.normalisation import Normalise
from cnnkit.pictures import Pixels
from cnnkit.progress import WorkProgress
from cnnkit.runtime.occlusion import plain_colour
from cnnkit.words import counted


@dataclass(frozen=True, eq=False)
class Insight:
    """What only a PyTorch network shows; see `cnnkit.inspection.explanations.Explanation`."""

    grad_cam: GradCam | None
    integrated_gradients: IntegratedGradients | None
    layers: tuple[FeatureMaps, ...]
    filters: tuple[Filters, ...]
    notes: tuple[str, ...]


def look_inside(
    source: TorchNetwork, pixels: Pixels, target: int, *, layer: str | None = None
) -> Generator[WorkProgress, None, Insight]:
    """Find what the layers of a network see in an image, and where its gradients say that it looks.

    Args:
        source: the network.
        pixels: uint8 [H, W, C] in the form of its card.
        target: index of the class.
        layer: for Grad-CAM; None for `featuremaps.last_maps`.

    Raises:
        UnknownNameError: no such layer.
        UsageError: it has no maps that Grad-CAM could use.
        MissingDependencyError: captum is not installed, and a layer was named, which is for Grad-CAM alone.
    """
    network, form = source.module, source.card.preprocessing
    place = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    normalise = Normalise(form.mean, form.std).to(place)
    colour = plain_colour(pixels)
    inputs = normalise(torch.from_numpy(pixels[None]).to(place))
    plain = normalise(torch.from_numpy(colour).to(place).expand(1, *pixels.shape))
    yield WorkProgress("running the layers", 0, 3)
    traced = featuremaps.trace(network, inputs)
    kernels, left_out = featuremaps.filters(network)
    notes = []
    if left_out:
        others = f" and {counted(len(left_out) - 1, 'other layer')}" if len(left_out) > 1 else ""
        notes.append(
            f"The filters of {left_out[0]}{others} are left out: more than {featuremaps.MAX_KERNELS:,} kernels are no "
            "picture that shows anything."
        )
    cam = gradients = None
    chosen = _checked(network, traced, layer) if layer is not None else featuremaps.last_maps(network, traced)
    if chosen is None:
        notes.append("The network has no convolution whose maps are larger than a pixel, so there is no Grad-CAM.")
    try:
        if chosen is not None:
            yield WorkProgress("Grad-CAM", 1, 3)
            try:
                values = saliency.grad_cam(network, network.get_submodule(chosen), inputs, target)
                cam = GradCam(chosen, values.shape, values)
            except UsageError as error:
                if layer is not None:
                    raise
                notes.append(f"There is no Grad-CAM of {chosen}, the last layer with maps: {error}")
        yield WorkProgress("integrated gradients", 2, 3)
        try:
            gradients = _integrated(network, inputs, plain, target, tuple(map(int, colour)))
        except UsageError as error:
            notes.append(f"There are no integrated gradients: {error}")
    except MissingDependencyError as error:
        if layer is not None:
            raise
        notes.append(str(error))
    return Insight(cam, gradients, tuple(traced.maps), tuple(kernels), tuple(notes))


def _integrated(
    network: nn.Module, inputs: Tensor, plain: Tensor, target: int, colour: tuple[int, ...]
) -> IntegratedGradients:
    values, difference, steps = saliency.integrated_gradients(network, inputs, plain, target)
    return IntegratedGradients(values, colour, difference, float(values.sum()), steps)


def _checked(network: nn.Module, traced: featuremaps.Trace, layer: str) -> str:
    """Return the name of a layer that Grad-CAM can use."""
    shapes = dict(traced.shapes)
    usable = [name for name, shape in shapes.items() if len(shape) == 3]
    if layer not in dict(network.named_modules()) or not layer:
        raise UnknownNameError("layer", layer, usable or shapes)
    if layer not in shapes:
        raise UsageError(f"the layer {layer} does not run, so it has no maps for Grad-CAM. Choose one that does.")
    if layer not in usable:
        listed = "×".join(map(str, shapes[layer]))
        hint = f"; the last one with any is {usable[-1]}" if usable else ""
        given = "1 value" if listed == "1" else f"{listed} values"
        raise UsageError(f"the layer {layer} gives {given} and no maps, which Grad-CAM needs{hint}.")
    if traced.calls()[layer] > 1:
        raise UsageError(f"the layer {layer} runs {traced.calls()[layer]} times; Grad-CAM needs one that runs once.")
    return layer

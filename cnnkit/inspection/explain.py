"""`cnnkit.explain`: what a network made of an image."""

import importlib
import importlib.metadata
from contextlib import suppress
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Unpack

from cnnkit.arguments import Device, TrustCode
from cnnkit.errors import UnknownNameError, UsageError
from cnnkit.images import prepare
from cnnkit.inspection.explanations import Explanation
from cnnkit.operation import operation
from cnnkit.options import Option
from cnnkit.runtime.classifier import OnnxNetwork
from cnnkit.runtime.foreign.options import Described
from cnnkit.runtime.occlusion import occlude
from cnnkit.sources import Ref, load
from cnnkit.zoo import DEFAULT_CLASSIFIER

if TYPE_CHECKING:
    from cnnkit.inspection.explaining import Insight
    from cnnkit.progress import Steps
    from cnnkit.runtime.classifier import ImageSource

_TOP = 10


@operation
def explain(
    image: "ImageSource",
    ref: Ref = DEFAULT_CLASSIFIER,
    *,
    target: Annotated[str | None, Option("The class to explain. Default: the predicted one.", metavar="LABEL")] = None,
    layer: Annotated[
        str | None,
        Option("Layer whose maps Grad-CAM weighs. Default: the last with maps of more than a pixel.", metavar="NAME"),
    ] = None,
    device: Device = "auto",
    trust_code: TrustCode = False,
    **foreign: Unpack[Described],
) -> "Steps[Explanation]":
    """Find what a network saw in an image, and which part of it its answer rests on.

    PyTorch networks give the feature maps of their layers, their filters, Grad-CAM, integrated gradients and occlusion
    sensitivity; ONNX files give the last, and never import PyTorch.

    Args:
        image: a path, the content of a file, a Pillow image or a uint8 array [H, W], [H, W, 1] or [H, W, 3].
        ref: a model reference, an `nn.Module`, or an open classifier.
        target: label of the class to explain; None for the predicted one.
        layer: whose maps Grad-CAM weighs; None for the last ones that are larger than a pixel.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        trust_code: import the network that a checkpoint's card names as `module:factory`.
        foreign: how to use a network without a card, as for `load`.

    Raises:
        ImageError: not an acceptable image.
        UnknownNameError: no such model, class or layer.
        UsageError: the layer has no maps, or an ONNX file was asked for one.
        CheckpointError, OnnxError, ZooError: the weights are absent, damaged or do not fit.
        MissingDependencyError: captum is not installed, and `layer` was named.
        DeviceError: the device is unavailable.

    >>> import cnnkit
    >>> found = cnnkit.explain("docs/images/triangle.png", "shapes-cnn")
    >>> found.target.label, len(found.layers), found.occlusion.values.shape
    ('triangles', 12, (28, 28))
    """
    # Where PyTorch is not installed, the ONNX file of a zoo entry still shows something.
    classifier = load(ref, device=device, trust_code=trust_code, torch=find_spec("torch") is not None, **foreign)
    network, card = classifier.network, classifier.card
    if layer is not None and isinstance(network, OnnxNetwork):
        raise UsageError(
            f"--layer is for PyTorch networks; {classifier.name} runs on onnxruntime, which shows no layers."
        )
    if target is not None and target not in card.labels:
        raise UnknownNameError("class", target, card.labels)
    path = Path(image) if isinstance(image, str) else image
    prediction = classifier.predict([path], top=len(card.labels))[0]
    chosen = next(score for score in prediction.scores if target in {None, score.label})
    # Pillow lends its pixels read-only, which PyTorch does not take.
    pixels, index = prepare(path, card.preprocessing).pixels.copy(), card.labels.index(chosen.label)
    inside: Insight | None = None
    if not isinstance(network, OnnxNetwork):
        from cnnkit.inspection.explaining import look_inside
        from cnnkit.models.networks import TorchNetwork

        assert isinstance(network, TorchNetwork)  # noqa: S101 - there is no third kind
        inside = yield from look_inside(network, pixels, index, layer=layer)
    occlusion = yield from occlude(network, pixels, index)
    return Explanation(
        prediction=replace(prediction, scores=prediction.scores[:_TOP]),
        target=chosen,
        pixels=pixels,
        model=classifier.name,
        engine=classifier.engine,
        assumptions=classifier.assumptions,
        trained=card.trained,
        occlusion=occlusion,
        grad_cam=inside.grad_cam if inside else None,
        integrated_gradients=inside.integrated_gradients if inside else None,
        layers=inside.layers if inside else (),
        filters=inside.filters if inside else (),
        notes=inside.notes if inside else (_onnx_note(),),
        versions=_versions("torch", "captum") if inside else _versions("onnxruntime"),
    )


def _onnx_note() -> str:
    an = "An" if find_spec("torch") else "PyTorch is not installed, and an"
    return (
        f"{an} ONNX file shows what goes in and what comes out, but "
        "no layers and no gradients: hence no feature maps, no Grad-CAM and no integrated gradients."
    )


def _versions(*names: str) -> dict[str, str]:
    found = {"cnnkit": importlib.metadata.version("cnnkit")}
    for name in names:
        with suppress(ModuleNotFoundError):
            found[name] = str(importlib.import_module(name).__version__)
    return found

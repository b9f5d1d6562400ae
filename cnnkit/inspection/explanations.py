"""None"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cnnkit.runtime.prediction import ClassScore, Prediction

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class FeatureMaps:
    """What a layer gave for the image.

    Attributes:
        layer: its name; a layer that runs several times has its call behind it.
        kind: its class, such as `Conv2d`.
        shape: channels, height and width.
        silent: how many maps have nothing above zero, of which a ReLU leaves nothing.
        same_as: an earlier layer that gave exactly this, as before a dropout, which does nothing outside training.
        maps: float32 [channels, height, width].
    """

    layer: str
    kind: str
    shape: tuple[int, ...]
    silent: int
    same_as: str | None
    maps: "NDArray[np.float32]" = field(repr=False)


@dataclass(frozen=True, eq=False)
class Filters:
    """The kernels of a convolution: float32 [outputs, inputs of a group, height, width]."""

    layer: str
    shape: tuple[int, ...]
    kernels: "NDArray[np.float32]" = field(repr=False)


@dataclass(frozen=True, eq=False)
class Occlusion:
    """How much of a class's probability is lost while a patch hides a part of the image.

    Attributes:
        values: float32 [H, W]: mean loss over the patches that hide a pixel; negative where hiding it helps.
        patch: height and width of the patch in pixels.
        stride: by how much it moves, down and across.
        colour: of the patch, a uint8 value a channel.
        lowest: the lowest probability under any patch.
    """

    values: "NDArray[np.float32]" = field(repr=False)
    patch: tuple[int, int]
    stride: tuple[int, int]
    colour: tuple[int, ...]
    lowest: float


@dataclass(frozen=True, eq=False)
class GradCam:
    """Where a layer sees what speaks for a class: float32 [h, w] in the size of the layer's maps, not negative."""

    layer: str
    shape: tuple[int, ...]
    values: "NDArray[np.float32]" = field(repr=False)


@dataclass(frozen=True, eq=False)
class IntegratedGradients:
    """What each pixel adds to a class's logit, compared with a plain image.

    Attributes:
        values: float32 [H, W], summed over the channels.
        colour: of the plain image, a uint8 value a channel.
        difference: of the two images' logits.
        total: of all values; equal to `difference` but for the error of the numerical integration.
        steps: of that integration.
    """

    values: "NDArray[np.float32]" = field(repr=False)
    colour: tuple[int, ...]
    difference: float
    total: float
    steps: int


@dataclass(frozen=True, eq=False)
class Explanation:
    """One image, explained.

    Attributes:
        prediction: the most probable classes, and what preprocessing did.
        target: the class that is explained.
        pixels: uint8 [H, W, C], as the network sees the image.
        model: its name.
        engine: what it ran on.
        assumptions: about a file without a card.
        trained: False where the weights are random.
        occlusion: always there; grad_cam, integrated_gradients, layers and filters need a PyTorch network.
        notes: what was left out and why, as sentences.
        versions: of the software.
    """

    prediction: Prediction
    target: ClassScore
    pixels: "NDArray[np.uint8]" = field(repr=False)
    model: str
    engine: str
    assumptions: tuple[str, ...]
    trained: bool
    occlusion: Occlusion
    grad_cam: GradCam | None
    integrated_gradients: IntegratedGradients | None
    layers: tuple[FeatureMaps, ...]
    filters: tuple[Filters, ...]
    notes: tuple[str, ...]
    versions: dict[str, str]

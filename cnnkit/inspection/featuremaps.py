"""What the layers of a network give for one image, and the kernels of its convolutions."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cnnkit.inspection.explanations import FeatureMaps, Filters

_CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)
_POOLINGS = (
    nn.MaxPool2d, nn.AvgPool2d, nn.LPPool2d, nn.FractionalMaxPool2d, nn.AdaptiveMaxPool2d, nn.AdaptiveAvgPool2d,
)  # fmt: skip
_DROPOUTS = (nn.Dropout, nn.Dropout2d, nn.AlphaDropout, nn.FeatureAlphaDropout)
_SHOWN = (*_CONVOLUTIONS, *_POOLINGS, *_DROPOUTS)

MAX_KERNELS = 4096
"""Of one layer: more are no picture that shows anything."""


@dataclass
class Trace:
    """What one image was in a network.

    Attributes:
        maps: of the convolutions, poolings and dropouts that give any, in the order in which they ran.
        shapes: of what each module gave, without the batch, whenever it ended: layers before the blocks around them.
    """

    maps: list[FeatureMaps] = field(default_factory=list)
    shapes: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)

    def calls(self) -> Counter[str]:
        """Return how often each module ran."""
        return Counter(name for name, _ in self.shapes)


def trace(network: nn.Module, inputs: Tensor) -> Trace:
    """Run a network in evaluation mode once, on normalised inputs [1, C, H, W], and keep what its layers gave.

    The network is left without hooks.
    """
    with _recorded(network) as found, torch.inference_mode():
        network(inputs)
    return found


@contextmanager
def _recorded(network: nn.Module) -> Iterator[Trace]:
    found = Trace()
    calls: Counter[str] = Counter()
    names = {module: name for name, module in network.named_modules() if name}

    def after(module: nn.Module, _: object, output: object) -> None:
        name = names[module]
        tensor = output[0] if isinstance(output, tuple) and output else output
        if not isinstance(tensor, Tensor):
            return
        calls[name] += 1
        found.shapes.append((name, tuple(tensor.shape[1:])))
        if isinstance(module, _SHOWN) and tensor.ndim == 4:
            # A copy, as a ReLU that follows may work in place.
            maps = tensor[0].float().cpu().numpy().copy()
            label = name if calls[name] == 1 else f"{name}, call {calls[name]}"
            silent = int((maps.max((1, 2)) <= 0).sum())
            same_as = _same(found.maps, module, maps)
            found.maps.append(FeatureMaps(label, type(module).__name__, maps.shape, silent, same_as, maps))

    hooks = [module.register_forward_hook(after) for module in names]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def _same(earlier: list[FeatureMaps], module: nn.Module, maps: NDArray[np.float32]) -> str | None:
    """Return the layer whose maps a dropout passed on."""
    last = earlier[-1] if earlier and isinstance(module, _DROPOUTS) else None
    return (last.same_as or last.layer) if last is not None and np.array_equal(last.maps, maps) else None


def filters(network: nn.Module) -> tuple[list[Filters], list[str]]:
    """Return the kernels of the convolutions, and the names of those with too many to look at.

    Kernels of a single pixel have no shape that could be seen. The first layer is always there.
    """
    found: list[Filters] = []
    left_out: list[str] = []
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d) and max(module.kernel_size) > 1:
            kernels = module.weight.detach().float().cpu().numpy()
            if found and kernels.shape[0] * kernels.shape[1] > MAX_KERNELS:
                left_out.append(name)
            else:
                found.append(Filters(name, kernels.shape, kernels))
    return found, left_out


def last_maps(network: nn.Module, found: Trace) -> str | None:
    """Return the module that Grad-CAM looks at where none is named: the last one with maps of more than a pixel.

    That is the last convolution, or what follows it without changing the size of its maps: normalisation, activation,
    and the block that they end. Raw values of a convolution lack an offset where a batch normalisation follows. None
    where there is no convolution with such maps.
    """
    modules = dict(network.named_modules())
    calls = found.calls()
    place = max(
        (
            index
            for index, (name, shape) in enumerate(found.shapes)
            if isinstance(modules[name], _CONVOLUTIONS) and len(shape) == 3 and max(shape[1:]) > 1
        ),
        default=None,
    )
    if place is None:
        return None
    best, size = found.shapes[place][0], found.shapes[place][1][1:]
    for name, shape in found.shapes[place + 1 :]:
        if shape[1:] != size or isinstance(modules[name], _POOLINGS + _DROPOUTS):
            break
        # A module that runs several times, as the one ReLU of a residual block, has no one place in the network.
        if calls[name] == 1:
            best = name
    return best

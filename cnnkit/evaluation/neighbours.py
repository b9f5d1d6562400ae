"""The training images that a network finds most like given ones."""

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cnnkit.data.loaded import Split
from cnnkit.errors import UsageError
from cnnkit.models.heads import head_of
from cnnkit.models.networks import TorchNetwork
from cnnkit.pictures import Pixels
from cnnkit.progress import WorkProgress
from cnnkit.runtime.classifier import Network


@dataclass(frozen=True)
class Neighbours:
    """For each image, where its nearest one stands in the split, int64 [N], and how like it is, float32 [N].

    `space` says what they were compared in.
    """

    positions: Tensor
    similarities: Tensor
    space: str


def nearest(
    network: Network, images: Pixels, among: Split, *, own: Tensor | None = None, batch_size: int = 256
) -> Generator[WorkProgress, None, Neighbours]:
    """Find for each image the one of a split with the smallest angle between their features; yields progress.

    The features of a PyTorch network are what its head is given (averaged over height and width
    where that is maps); those of an ONNX file its logits, less their mean, which changes no probability. Batch after
    batch of the split is compared in one matrix product and forgotten: memory does not grow with the split.

    Args:
        network: whose features are compared.
        images: uint8 [N, H, W, C].
        among: where to look.
        own: where the images themselves stand in that split, int64 [N], -1 where they do not; none is its own
            neighbour.
        batch_size: images that go through the network together.
    """
    with _extractor(network, images[:1]) as (features, space):
        wanted = torch.cat([features(part) for part in _parts(images, batch_size)])
        best = torch.full((len(images),), -2.0, device=wanted.device)
        where = torch.zeros(len(images), dtype=torch.int64, device=wanted.device)
        places = torch.full((len(images),), -1) if own is None else own
        done = 0
        for part, _ in among.batches(batch_size):
            similarities = wanted @ features(part.numpy()).T
            inside = torch.nonzero((places >= done) & (places < done + len(part)))[:, 0]
            similarities[inside, places[inside] - done] = -2.0
            largest, column = similarities.max(1)
            closer = largest > best
            best, where = torch.where(closer, largest, best), torch.where(closer, column + done, where)
            done += len(part)
            yield WorkProgress("looking for like training images", done, len(among))
    return Neighbours(where.cpu(), best.cpu(), space)


Extractor = Callable[[Pixels], Tensor]
"""Features of length one, float32 [N, D], for uint8 pixels [N, H, W, C]."""


@contextmanager
def _extractor(network: Network, image: Pixels) -> Iterator[tuple[Extractor, str]]:
    """Yield what gives the features of images, and what these are; `image` [1, H, W, C] is for trying it."""
    head = _head(network)
    given: list[Tensor] = []

    def keep(_: nn.Module, inputs: tuple[object, ...]) -> None:
        given.extend(value.float() for value in inputs[:1] if isinstance(value, Tensor))

    handle = head and head[1].register_forward_pre_hook(keep)

    def features(pixels: Pixels) -> Tensor:
        given.clear()
        logits = torch.from_numpy(network.logits(pixels))
        if not by_layer:
            return F.normalize(logits - logits.mean(1, keepdim=True), dim=1)
        return F.normalize(given[-1].mean((2, 3)) if given[-1].ndim == 4 else given[-1].flatten(1), dim=1)

    try:
        network.logits(image)
        by_layer = bool(given) and len(given[-1]) == len(image)
        yield features, f"the input of the layer {head[0]}" if head and by_layer else "the logits"
    finally:
        if handle:
            handle.remove()


def _head(network: Network) -> tuple[str, nn.Module] | None:
    """Return the name and module of the layer that produces the logits, None where none can be looked into."""
    if not isinstance(network, TorchNetwork):
        return None
    try:
        name = head_of(network.module, network.card.preprocessing.input_shape).name
    except UsageError:  # no weights lead to its logits
        return None
    return (name, network.module.get_submodule(name)) if name else None


def _parts(images: Pixels, size: int) -> Iterator[Pixels]:
    for start in range(0, len(images), size):
        yield images[start : start + size]

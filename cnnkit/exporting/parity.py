"""The same images through PyTorch and onnxruntime: how far do they differ?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, repeat

import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from torch import nn

from cnnkit.certificate import TOLERANCE, ParityCertificate
from cnnkit.pictures import Pixels
from cnnkit.runtime.session import logits_of

BATCH_SIZES = (1, 2, 7)
LARGE_BATCH = 256


@dataclass(frozen=True)
class Comparison:
    """How the logits of N images differ; all of it [N].

    Attributes:
        largest: absolute difference; infinite where either side is no number.
        mean: absolute difference.
        relative: largest difference against the largest logit.
        ratio: largest difference as a multiple of what is tolerated.
        agrees: whether both have the same top-1 class.
    """

    largest: NDArray[np.float64]
    mean: NDArray[np.float64]
    relative: NDArray[np.float64]
    ratio: NDArray[np.float64]
    agrees: NDArray[np.bool_]

    @classmethod
    def join(cls, parts: Sequence["Comparison"]) -> "Comparison":
        """Put several batches together."""

        def all_of(name: str) -> NDArray[np.float64]:
            return np.concatenate([getattr(part, name) for part in parts])

        agrees = np.concatenate([part.agrees for part in parts])
        return cls(all_of("largest"), all_of("mean"), all_of("relative"), all_of("ratio"), agrees)

    def certificate(self, *, images: str, batch_sizes: Sequence[int], device: str = "CPU") -> ParityCertificate:
        """Sum up what was found."""
        return ParityCertificate(
            images=images,
            batch_sizes=tuple(batch_sizes),
            max_absolute_difference=float(self.largest.max()),
            max_relative_difference=float(self.relative.max()),
            max_tolerance_ratio=float(self.ratio.max()),
            top1_agreement=float(self.agrees.mean()),
            tolerance=TOLERANCE,
            versions={"torch": torch.__version__, "onnxruntime": ort.__version__},
            images_count=len(self.agrees),
            mean_absolute_difference=float(self.mean.mean()),
            device=device,
        )


def certify(
    network: nn.Module, session: ort.InferenceSession, batches: Sequence[torch.Tensor], *, images: str
) -> ParityCertificate:
    """Compare a PyTorch network with its exported session, batch by batch.

    Args:
        network: in evaluation mode, on the CPU; gives logits [N, classes].
        session: of the exported file, on the CPU; one of its outputs is called logits.
        batches: what both take as input, one tensor a batch.
        images: what the batches show, for the certificate.

    Returns:
        The certificate; whether it is good enough is its `passed`.
    """
    with torch.inference_mode():
        parts = [compare(network(batch).numpy(), logits_of(session, batch.numpy())) for batch in batches]
    return Comparison.join(parts).certificate(images=images, batch_sizes=[len(batch) for batch in batches])


def compare(expected: NDArray[np.floating], found: NDArray[np.floating]) -> Comparison:
    """Compare logits [N, classes] of PyTorch, the measure of all scales, with those of onnxruntime."""
    expected, found = expected.astype(np.float64), found.astype(np.float64)
    with np.errstate(invalid="ignore"):
        difference = np.abs(expected - found)
        # A NaN on either side is a difference, never an agreement.
        difference[~np.isfinite(difference)] = np.inf
        largest = np.maximum(np.abs(expected).max(1, keepdims=True), 1e-12)
        # Float32 rounds in proportion to the logits: beyond 10 the tolerance grows with the largest of the image.
        ratio = difference / (TOLERANCE * np.maximum(1.0, largest / 10))
        finite = np.isfinite(difference).all(axis=1)
        return Comparison(
            largest=difference.max(1),
            mean=difference.mean(1),
            relative=(difference / largest).max(1),
            ratio=np.where(finite, ratio.max(1), np.inf),
            agrees=(expected.argmax(1) == found.argmax(1)) & finite,
        )


def whole_set(count: int) -> Iterator[range]:
    """Yield the indices of all images of a set in batches of 1, 2 and 7, and then of 256."""
    start = 0
    for size in chain(BATCH_SIZES, repeat(LARGE_BATCH)):
        if start >= count:
            return
        yield range(start, min(start + size, count))
        start += size


def draw_batches(images: Pixels) -> list[torch.Tensor]:
    """Cut uint8 images [N, H, W, C], repeated if they are few, into batches of 1, 2 and 7."""
    needed = sum(BATCH_SIZES)
    chosen = np.resize(images, (needed, *images.shape[1:]))
    return list(torch.from_numpy(np.ascontiguousarray(chosen)).split(BATCH_SIZES))  # type: ignore[no-untyped-call]

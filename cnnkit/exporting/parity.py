"""The same images through PyTorch and onnxruntime: how far do they differ?"""

from collections.abc import Sequence

import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from torch import nn

from cnnkit.images import Pixels
from cnnkit.results import ParityCertificate

BATCH_SIZES = (1, 2, 7)
TOLERANCE = 1e-4


def certify(
    network: nn.Module, session: ort.InferenceSession, batches: Sequence[torch.Tensor], *, images: str
) -> ParityCertificate:
    """Compare a PyTorch network with its exported session, batch by batch.

    Args:
        network: in evaluation mode, on the CPU; gives logits [N, classes].
        session: of the exported file; its first output is the logits.
        batches: what both take as input, one tensor a batch.
        images: what the batches show, for the certificate.

    Returns:
        The certificate; whether it is good enough is its `passed`.
    """
    expected, found = [], []
    with torch.inference_mode():
        for batch in batches:
            expected.append(network(batch).double().numpy())
            found.append(session.run(["logits"], {session.get_inputs()[0].name: batch.numpy()})[0].astype(np.float64))
    return _compare(np.concatenate(expected), np.concatenate(found), [len(b) for b in batches], images)


def _compare(
    expected: NDArray[np.float64], found: NDArray[np.float64], sizes: Sequence[int], images: str
) -> ParityCertificate:
    with np.errstate(invalid="ignore"):
        return _certificate(expected, found, sizes, images)


def _certificate(
    expected: NDArray[np.float64], found: NDArray[np.float64], sizes: Sequence[int], images: str
) -> ParityCertificate:
    difference = np.abs(expected - found)
    # A NaN on either side is a difference, never an agreement.
    difference[~np.isfinite(difference)] = np.inf
    largest = np.maximum(np.abs(expected).max(1, keepdims=True), 1e-12)
    # Float32 rounds in proportion to the logits: beyond 10 the tolerance grows with the largest of the image.
    tolerated = TOLERANCE * np.maximum(1.0, largest / 10)
    return ParityCertificate(
        images=images,
        batch_sizes=tuple(sizes),
        max_absolute_difference=float(difference.max()),
        max_relative_difference=float((difference / largest).max()),
        max_tolerance_ratio=float(np.where(np.isfinite(difference), difference / tolerated, np.inf).max()),
        top1_agreement=float(
            ((expected.argmax(1) == found.argmax(1)) & np.isfinite(difference).all(axis=1)).mean(),
        ),
        tolerance=TOLERANCE,
        versions={"torch": torch.__version__, "onnxruntime": ort.__version__},
    )


def draw_batches(images: Pixels) -> list[torch.Tensor]:
    """Cut uint8 images [N, H, W, C], repeated if they are few, into batches of 1, 2 and 7."""
    needed = sum(BATCH_SIZES)
    chosen = np.resize(images, (needed, *images.shape[1:]))
    return list(torch.from_numpy(np.ascontiguousarray(chosen)).split(BATCH_SIZES))  # type: ignore[no-untyped-call]

"""The proof that an exported file is the network that it was made of; part of the card."""

import math
from dataclasses import dataclass
from typing import Literal

MIN_TOP1_AGREEMENT = 0.95
"""Of a file in reduced precision: with fewer, it is another network, however many it gets right."""


TOLERANCE = 1e-4
"""Of logits up to 10, beyond in proportion to the largest of the image."""


@dataclass(frozen=True)
class ParityCertificate:
    """What the comparison of PyTorch and onnxruntime on the same images found; part of the model card.

    Attributes:
        images: which images were compared.
        batch_sizes: images in each batch.
        max_absolute_difference: of the logits.
        max_relative_difference: of the logits, against the largest logit of the image.
        max_tolerance_ratio: the largest difference as a multiple of what is tolerated.
        top1_agreement: fraction of the images with the same top-1 class.
        tolerance: absolute for logits up to 10, beyond in proportion to the largest of the image.
        versions: of the two engines.
        images_count: number of images.
        mean_absolute_difference: of the logits; None in certificates that were made before it was noted.
        torch_accuracy: of the PyTorch network, None where the images were not classified.
        onnx_accuracy: of the file, likewise.
        weights_sha256: of the PyTorch network (see `cnnkit.models.networks.weights_hash`).
        device: what onnxruntime ran on: `CPU`, `CUDA` or `TensorRT`.
        precision: of the file; the PyTorch network is always the one in float32.
        accuracy_budget_points: percentage points of accuracy that a file in reduced precision may lose.
    """

    images: str
    batch_sizes: tuple[int, ...]
    max_absolute_difference: float
    max_relative_difference: float
    max_tolerance_ratio: float
    top1_agreement: float
    tolerance: float
    versions: dict[str, str]
    images_count: int = 0
    mean_absolute_difference: float | None = None
    torch_accuracy: float | None = None
    onnx_accuracy: float | None = None
    weights_sha256: str = ""
    device: str = "CPU"
    precision: Literal["fp32", "fp16", "int8"] = "fp32"
    accuracy_budget_points: float = 0.0

    @property
    def accuracy_loss_points(self) -> float | None:
        """Percentage points of accuracy that the file is below PyTorch; None where the images were not classified."""
        if self.torch_accuracy is None or self.onnx_accuracy is None:
            return None
        # Rounded, so that a loss of exactly the budget is within it.
        return round(100 * (self.torch_accuracy - self.onnx_accuracy), 6)

    @property
    def passed(self) -> bool:
        """Whether the file is the network.

        In float32 every image has the same top-1 class and every logit is within the tolerance. In a reduced precision
        the logits differ beyond it: there the scores are finite, nearly all top-1 classes are the same, and the
        accuracy is within its budget.
        """
        if self.precision == "fp32":
            return self.top1_agreement == 1.0 and self.max_tolerance_ratio <= 1.0
        lost = self.accuracy_loss_points
        return (
            math.isfinite(self.max_absolute_difference)
            and self.top1_agreement >= MIN_TOP1_AGREEMENT
            and lost is not None
            and lost <= self.accuracy_budget_points
        )

"""What was exported, and the proof that it is the same network."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ParityCertificate:
    """What the comparison of PyTorch and onnxruntime on the same images found; part of the model card.

    Attributes:
        images: which images were compared.
        batch_sizes: images in each batch.
        max_absolute_difference: of the logits.
        max_relative_difference: of the logits, against the largest logit of the image.
        max_tolerance_ratio: the largest difference as a multiple of what is tolerated.
        top1_agreement: fraction of the images with the same first class.
        tolerance: absolute for logits up to 10, beyond in proportion to the largest of the image.
        versions: of the two engines.
        images_count: number of images.
        mean_absolute_difference: of the logits; None in certificates that were made before it was noted.
        torch_accuracy: of the PyTorch network, None where the images were not classified.
        onnx_accuracy: of the file, likewise.
        weights_sha256: of the PyTorch network (see `cnnkit.training.networks.weights_hash`).
        device: what onnxruntime ran on, `CPU` or `CUDA`.
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

    @property
    def passed(self) -> bool:
        """Whether every image has the same first class and every logit is within the tolerance."""
        return self.top1_agreement == 1.0 and self.max_tolerance_ratio <= 1.0


@dataclass(frozen=True)
class ExportResult:
    """An exported file and its proof; `weights` says whose they are."""

    path: Path
    size_mb: float
    opset: int
    trained: bool
    weights: str
    input_type: str
    certificate: ParityCertificate

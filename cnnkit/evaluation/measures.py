"""Accuracy, loss, scores by class, confusion and calibration, by torchmetrics; on PyTorch and onnxruntime alike."""

import time

import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics.functional import classification as metrics

from cnnkit.data.loaded import ImageData
from cnnkit.data.splits import SplitName
from cnnkit.evaluation.images import logits_by_batch
from cnnkit.evaluation.results import CalibrationBin, ClassMetrics, Evaluation
from cnnkit.runtime.classifier import Classifier

CALIBRATION_BINS = 15


def measure(
    classifier: Classifier, loaded: ImageData, used: SplitName, *, batch_size: int, top_k: int, started: float
) -> Evaluation:
    """Measure a network on a split of images that are loaded; `started` is a time of `time.monotonic`.

    Raises:
        CheckpointError: the network gives scores that are not finite.
    """
    chosen = loaded.filled(used)
    logits = torch.cat(list(logits_by_batch(classifier.network, classifier.name, chosen, batch_size)))
    targets, classes = chosen.targets, len(loaded.classes)
    # Within all classes everything is right, and one of two is the accuracy itself.
    k = min(top_k, classes - 1) if classes > 2 else None
    bins = _calibration(logits, targets)
    confusion = metrics.multiclass_confusion_matrix(logits, targets, classes)
    by_class = [
        function(logits, targets, classes, average="none").tolist()
        for function in (metrics.multiclass_precision, metrics.multiclass_recall, metrics.multiclass_f1_score)
    ]
    return Evaluation(
        model=classifier.name,
        data=loaded.name,
        split=used,
        engine=classifier.engine,
        images=len(targets),
        accuracy=confusion.trace().item() / len(targets),
        top_k=k,
        top_k_accuracy=None if k is None else _within_first(k, logits, targets),
        loss=F.cross_entropy(logits, targets).item(),
        calibration_error=sum(abs(b.accuracy - b.confidence) * b.images for b in bins) / len(targets),
        classes=tuple(
            ClassMetrics(
                label, precision if taken else None, recall if support else None, f1 if support else None, support
            )
            for label, precision, recall, f1, taken, support in zip(
                loaded.classes, *by_class, confusion.sum(0).tolist(), confusion.sum(1).tolist(), strict=True
            )
        ),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        seconds=time.monotonic() - started,
        calibration=bins,
        exposure=loaded.exposure,
        duplicates=loaded.catalogue.duplicates,
        warnings=loaded.warnings,
        assumptions=classifier.assumptions,
    )


def _within_first(k: int, logits: Tensor, targets: Tensor) -> float:
    return metrics.multiclass_accuracy(logits, targets, logits.shape[1], average="micro", top_k=k).item()


def _calibration(logits: Tensor, targets: Tensor) -> tuple[CalibrationBin, ...]:
    """Return the bins of the expected calibration error (Guo et al., 2017), each with its upper end.

    torchmetrics counts answers of probability 1 as a bin of their own, so that its error is not that of fifteen bins.
    """
    confidence, predicted = logits.softmax(1).max(1)
    edges = torch.linspace(0, 1, CALIBRATION_BINS + 1)
    place = torch.bucketize(confidence, edges[1:-1])
    counts = place.bincount(minlength=CALIBRATION_BINS)
    sums = [place.bincount(v.double(), CALIBRATION_BINS) for v in (confidence, predicted == targets)]
    confidences, accuracies = ((total / counts.clamp(min=1)).tolist() for total in sums)
    rows = zip(edges.tolist(), edges[1:].tolist(), counts.tolist(), confidences, accuracies, strict=False)
    return tuple(CalibrationBin(*row) for row in rows)

"""How well a network does on a data set, by torchmetrics; on PyTorch and onnxruntime alike."""

import time
from collections.abc import Generator, Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics.functional import classification as metrics

from cnnkit import datasets
from cnnkit.card import ModelCard
from cnnkit.errors import CheckpointError, DataError, UsageError
from cnnkit.recipe import Recipe
from cnnkit.results import CalibrationBin, ClassMetrics, Evaluation, LoadNote, LoadProgress
from cnnkit.runtime.classifier import Network
from cnnkit.training import data as data_module
from cnnkit.training.data import ImageData, Split, SplitName

CALIBRATION_BINS = 15


def evaluate_network(
    network: Network,
    name: str,
    *,
    data: str | None = None,
    split: SplitName | None = None,
    data_dir: Path | None = None,
    batch_size: int = 256,
    top_k: int = 5,
) -> Generator[LoadProgress | LoadNote, None, Evaluation]:
    """Measure a network; yields progress of loading and returns the evaluation.

    Args:
        network: what to measure.
        name: what to call it in the result.
        data: a data set or image folder; None for the one that the network was trained on.
        split: None for the held-back `test` split of the training data, and for the whole of any other folder.
        data_dir: where to look for data sets first.
        batch_size: images that go through the network together.
        top_k: for the top-k accuracy; fewer are taken where there are no more classes than these.

    Raises:
        UsageError: there is no such split.
        DataError: no data set named by anything, an empty split, or other classes than the network's.
        CheckpointError: the network gives scores that are not finite.
    """
    started = time.monotonic()
    loaded, used = yield from load_for(network.card, data=data, split=split, data_dir=data_dir)
    chosen = loaded.filled(used)
    logits = torch.cat(list(logits_by_batch(network, name, chosen, batch_size)))
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
        model=name,
        data=loaded.name,
        split=used,
        engine=network.engine,
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


def logits_by_batch(network: Network, name: str, split: Split, batch_size: int) -> Iterator[Tensor]:
    """Yield the logits of a split's images in order, float32 [n, classes], `batch_size` images at a time.

    Raises:
        CheckpointError: they give no probabilities; the network is called `name` in it.
    """
    for images, _ in split.batches(batch_size):
        logits = torch.from_numpy(network.logits(images.numpy()))
        if not logits.softmax(1).isfinite().all():
            raise CheckpointError(f"{name} gives scores that are not finite numbers; its weights are no good.")
        yield logits


def load_for(
    card: ModelCard, *, data: str | None, split: SplitName | None, data_dir: Path | None
) -> Generator[LoadProgress | LoadNote, None, tuple[ImageData, SplitName]]:
    """Load the images that a network is to be measured on, in the form of its card, and say which split to use.

    Raises:
        UsageError: there is no such split.
        DataError: no data set named by anything, one that is not at hand, or other classes than the network's.
    """
    if split not in {None, "train", "validation", "test", "all"}:
        raise UsageError(f"there is no split {split!r}; expected train, validation, test or all.")
    recipe = Recipe().override(card.recipe or {})
    if not data and not card.recipe:
        raise DataError(f"{card.model} does not say what it was trained on. Name a data set with --data.")
    recipe = recipe.override({"data": data or datasets.find_own(recipe.data, card.labels, data_dir)})
    used = split or _fair_split(card, recipe, given=data is not None)
    every: tuple[SplitName, ...] = ("train", "validation", "test")
    loaded = yield from data_module.load(
        recipe, card.preprocessing, data_dir=data_dir, only=every if used == "all" else (used,)
    )
    if loaded.classes != card.labels:
        raise DataError(
            f"{loaded.name} has the classes {_shown(loaded.classes)}; the network knows {_shown(card.labels)}."
        )
    return loaded, used


def _fair_split(card: ModelCard, recipe: Recipe, *, given: bool) -> SplitName:
    """Return `all` only for an image folder that the network cannot have been trained on, and `test` otherwise."""
    if not given or recipe.data in datasets.DATASETS:
        return "test"
    listing = data_module.list_images(recipe)
    # A folder of the same name may be the one of the training, moved or with images added since.
    known = listing.fingerprint == card.fingerprint or Path(recipe.data).resolve().name == card.dataset
    return "test" if known or listing.has_test_folder else "all"


def _shown(labels: tuple[str, ...]) -> str:
    return ", ".join(labels[:10]) + (" …" if len(labels) > 10 else "")

"""How well a network does on a data set, by torchmetrics; on PyTorch and onnxruntime alike."""

import time
from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics.functional import classification as metrics

from cnnkit import datasets
from cnnkit.card import ModelCard
from cnnkit.errors import CheckpointError, DataError, UsageError
from cnnkit.recipe import Recipe
from cnnkit.results import CalibrationBin, ClassMetrics, Evaluation, Exposure, LoadNote, LoadProgress
from cnnkit.runtime.classifier import Network
from cnnkit.splits import PARTS, SplitName
from cnnkit.training.catalogue import Catalogue
from cnnkit.training.data import ImageData, Split, take
from cnnkit.training.membership import LIST, Membership, membership_of, positions_of
from cnnkit.training.opening import open_catalogue
from cnnkit.words import agree, counted

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
    skip_damaged: bool = False,
) -> Generator[LoadProgress | LoadNote, None, Evaluation]:
    """Measure a network; yields progress of loading and returns the evaluation.

    Args:
        network: what to measure.
        name: what to call it in the result.
        data: a data set or image folder; None for the one that the network was trained on.
        split: None for the `test` split of the training data, and for the whole of any other folder; see `load_for`.
        data_dir: where to look for data sets first.
        batch_size: images that go through the network together.
        top_k: for the top-k accuracy; fewer are taken where there are no more classes than these.
        skip_damaged: leave out files that cannot be decoded.

    Raises:
        UsageError: there is no such split.
        DataError: no data set named by anything, an empty split, or other classes than the network's.
        CheckpointError: the network gives scores that are not finite.
    """
    started = time.monotonic()
    loaded, used = yield from load_for(
        network.card, name, data=data, split=split, data_dir=data_dir, skip_damaged=skip_damaged
    )
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
        exposure=loaded.exposure,
        duplicates=loaded.catalogue.duplicates,
        warnings=loaded.warnings,
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
            raise CheckpointError(f"{name} gives scores that are not finite numbers; check its weights.")
        yield logits


def load_for(
    card: ModelCard,
    reference: str = "",
    *,
    data: str | None,
    split: SplitName | None,
    data_dir: Path | None,
    skip_damaged: bool = False,
) -> Generator[LoadProgress | LoadNote, None, tuple[ImageData, SplitName]]:
    """Load the images that a network is to be measured on, in the form of its card, and say which split to use.

    Without a split it is the test split of the training data, or its validation split where it has no test split; of
    any other folder it is the test split that the folder gives, or the whole. The data says in its `exposure` what the
    network has seen of them.

    Args:
        card: of the network.
        reference: that names the network; a list of its images may lie beside its file.
        data, split, data_dir, skip_damaged: as in `evaluate_network`.

    Raises:
        UsageError: there is no such split.
        DataError: no data set named by anything, one that is not at hand, or classes that the network does not know.
    """
    if split not in {None, *PARTS, "all"}:
        raise UsageError(f"there is no split {split!r}; expected train, validation, test or all.")
    known = yield from catalogue_for(card, data=data, data_dir=data_dir, skip_damaged=skip_damaged)
    seen = membership_of(card, reference, known)
    used = split or _fair_split(card, known, seen, given=data is not None)
    exposure = seen.exposure(known, used) if seen else Exposure(pretraining=card.known_pretraining)
    warnings = known.warnings + tuple(_warnings(card, known, used, exposure, chosen=split is not None))
    for warning in warnings:
        yield LoadNote(warning, warning=True)
    loaded = yield from take(known, PARTS if used == "all" else (used,))
    return replace(loaded, exposure=exposure, warnings=warnings), used


def catalogue_for(
    card: ModelCard, *, data: str | None, data_dir: Path | None, skip_damaged: bool = False
) -> Generator[LoadProgress | LoadNote, None, Catalogue]:
    """Find the images of a data set, or those that a network was trained on, divided and labelled as its card says.

    Raises:
        DataError: no data set named by anything, one that is not at hand, or classes that the network does not know.
    """
    if not data and not card.recipe:
        raise DataError(f"{card.model} does not say what it was trained on. Name a data set with --data.")
    recipe = Recipe.recorded(card.recipe or {})
    own = data is None or Path(data).expanduser().resolve().name == card.dataset
    changes = {"data": data or datasets.find_own(recipe.data, card.labels, data_dir)}
    recipe = recipe.override({**changes, "skip_damaged": skip_damaged or (own and recipe.skip_damaged)})
    known = yield from open_catalogue(recipe, card.preprocessing, data_dir=data_dir, fewest=1)
    return known.relabelled(card.labels, card.synsets, card.numbered_from)


def _fair_split(card: ModelCard, known: Catalogue, seen: Membership | None, *, given: bool) -> SplitName:
    """Return `all` only for an image folder that the network cannot have been trained on."""
    has_test = len(known.parts["test"]) > 0
    if known.is_folder and given and "test" not in known.record.given:
        exposed = seen.exposure(known, "all") if seen is not None else Exposure()
        own = exposed.trained + exposed.validated + exposed.changed > 0 or known.fingerprint == card.fingerprint
        # A folder of the same name may be the one of the training, moved or with images added since.
        own = own or (not exposed.known and known.name == card.dataset)
        if not own:
            return "all"
    return "test" if has_test else "validation"


def _warnings(card: ModelCard, known: Catalogue, used: SplitName, exposure: Exposure, *, chosen: bool) -> Iterator[str]:
    """Yield what takes value from the figures of a split."""
    if card.independent:
        yield (
            "the network gives each class a probability by itself; here the largest one is its answer, and loss and "
            "calibration are of the softmax"
        )
    count = len(positions_of(known, used))
    if not count:
        return
    if not card.trained:
        yield "the weights are random: the network has not been trained"
    if used == "validation" and not chosen:
        yield f"there is no test set in {known.name}; these are validation figures: the images chose the best epoch"
    if exposure.trained:
        yield f"the network was trained on {_of(exposure.trained, count)}, so it does better on them than on new ones"
    if exposure.validated and (chosen or used != "validation"):
        yield f"the network's best epoch was chosen on {_of(exposure.validated, count)}"
    if exposure.changed:
        yield (
            f"{counted(exposure.changed, 'image')} of {known.name} {agree(exposure.changed, 'has', 'have')} the name "
            "of one that the network was trained on, and another content: where it was only saved anew, the network "
            "has seen it"
        )
    if not exposure.known and card.recipe and (known.is_folder or known.name == card.dataset):
        arrays = card.split is not None and card.split.hashes == "pixels" and known.is_folder
        listless = f"it has no {LIST} beside it"
        why = f"it was trained on {card.dataset}, whose images are no files" if arrays else listless
        yield f"it is not known whether the network was trained on some of these images, because {why}"
    started = card.pretraining
    if started is not None and started.overlap:
        parts = " and ".join(counted(number, f"{part} image") for part, number in started.overlap.items())
        yield f"the starting weights, {started.weights}, had seen {parts} of the training's data set (--allow-overlap)"
    if started is not None and not started.known:
        yield f"pretraining data unknown: the weights of {started.weights} may have seen these images"
    if card.recipe and card.recipe.get("limit_batches"):
        batches = counted(card.recipe["limit_batches"], "batch", "batches")
        yield f"the weights are those of a dry run, of {batches} an epoch, so no figure of them counts"
    # Of a split that the folder gives, its reader has said it.
    if used != "all" and used not in known.record.given and (missing := known.missing(used)):
        missed = counted(len(missing), "class", "classes")
        yield f"{missed} of {len(known.classes):,} {agree(len(missing), 'has', 'have')} no {used} images"


def _of(number: int, count: int) -> str:
    return f"all of these {counted(count, 'image')}" if number == count else f"{number:,} of these {count:,} images"

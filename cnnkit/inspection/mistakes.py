"""The images that a network gets wrong: which, what they are taken for, and whether their labels are right."""

import time
from collections.abc import Generator, Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchmetrics.functional.classification import multiclass_confusion_matrix

from cnnkit.card import ModelCard
from cnnkit.errors import CheckpointError, DataError, UnknownNameError
from cnnkit.images import Pixels
from cnnkit.inspection.labels import find_candidates
from cnnkit.inspection.neighbours import Neighbours, nearest
from cnnkit.results import (
    ComparisonProgress,
    ConfusedPair,
    LabelCandidate,
    LoadNote,
    LoadProgress,
    Mistake,
    Mistakes,
    TrainingImage,
)
from cnnkit.runtime.classifier import Network
from cnnkit.training.data import ImageData, Split, SplitName
from cnnkit.training.evaluation import load_for, logits_by_batch
from cnnkit.training.runs import versions

PAIRS = 10
EXAMPLES = 6
"""Of each confused pair."""

Steps = Generator[LoadProgress | LoadNote | ComparisonProgress, None, "Mistakes"]


def find_mistakes(
    network: Network,
    name: str,
    *,
    data: str | None = None,
    split: SplitName | None = None,
    data_dir: Path | None = None,
    top: int = 36,
    batch_size: int = 256,
) -> Steps:
    """Find what a network gets wrong; yields progress and returns the mistakes.

    Args:
        network: what to look at.
        name: what to call it in the result.
        data, split, data_dir: as in `cnnkit.training.evaluation.evaluate_network`.
        top: how many mistakes, and as many images with doubtful labels, to return.
        batch_size: images that go through the network together.

    Raises:
        DataError: no data set named by anything, an empty split, or other classes than the network's.
        CheckpointError: the network gives scores that are not finite.
    """
    started = time.monotonic()
    loaded, used = yield from load_for(network.card, data=data, split=split, data_dir=data_dir)
    chosen = loaded.filled(used)
    probabilities = yield from _probabilities(network, name, chosen, batch_size)
    targets, labels = chosen.targets, loaded.classes
    predicted = probabilities.argmax(1)
    of_predicted, of_label = (probabilities.gather(1, index[:, None])[:, 0] for index in (predicted, targets))
    wrong = torch.nonzero(predicted != targets)[:, 0]
    # Among equals, such as the many at 100%, the label that is least probable first.
    wrong = wrong[np.lexsort((of_label[wrong].numpy(), -of_predicted[wrong].numpy()))]
    worst = wrong[:top]
    candidates = find_candidates(probabilities, targets)
    doubtful, suggested = candidates.positions[:top], candidates.suggested[:top]
    of_suggested = probabilities[doubtful, suggested]

    shown = torch.tensor(sorted({*worst.tolist(), *doubtful.tolist()}), dtype=torch.int64)
    training, reason, space = None, "", ""
    similar: dict[int, TrainingImage] = {}
    if len(shown):
        training, reason = yield from _training_images(network.card, loaded, data, data_dir)
    if training is not None:
        own = _own_positions(loaded, used, shown, training)
        found = yield from nearest(network, chosen.take(shown).numpy(), training.train, own=own, batch_size=batch_size)
        similar, space = _as_results(found, shown, training), found.space

    def pixels(positions: Tensor) -> list[Pixels]:
        return list(chosen.take(positions).numpy())

    confusion = multiclass_confusion_matrix(predicted, targets, len(labels))
    return Mistakes(
        model=name,
        data=loaded.name,
        split=used,
        engine=network.engine,
        images=len(chosen),
        wrong=len(wrong),
        accuracy=1 - len(wrong) / len(chosen),
        worst=tuple(
            Mistake(
                loaded.source(used, i),
                labels[targets[i]],
                labels[predicted[i]],
                of_predicted[i].item(),
                of_label[i].item(),
                similar.get(i),
                image,
            )
            for i, image in zip(worst.tolist(), pixels(worst), strict=True)
        ),
        confused=tuple(
            ConfusedPair(
                labels[true],
                labels[taken_for],
                int(confusion[true, taken_for]),
                float(confusion[true, taken_for] / confusion[true].sum()),
                tuple(pixels(wrong[(targets[wrong] == true) & (predicted[wrong] == taken_for)][:EXAMPLES])),
            )
            for true, taken_for in _pairs(confusion)
        ),
        candidates=len(candidates.positions),
        mislabelled=tuple(
            LabelCandidate(
                loaded.source(used, i),
                labels[targets[i]],
                labels[other],
                of_label[i].item(),
                probability,
                similar.get(i),
                image,
            )
            for i, other, probability, image in zip(
                doubtful.tolist(), suggested.tolist(), of_suggested.tolist(), pixels(doubtful), strict=True
            )
        ),
        training_images=0 if training is None else len(training.train),
        nearest_by=space,
        no_nearest_because=reason,
        versions=versions(),
        seconds=time.monotonic() - started,
    )


def _probabilities(
    network: Network, name: str, split: Split, batch_size: int
) -> Generator[ComparisonProgress, None, Tensor]:
    parts = []
    done = 0
    for logits in logits_by_batch(network, split, batch_size):
        parts.append(logits)
        done += len(logits)
        yield ComparisonProgress(done, len(split))
    probabilities = torch.cat(parts).softmax(1)
    if not probabilities.isfinite().all():
        raise CheckpointError(f"{name} gives scores that are not finite numbers; its weights are no good.")
    return probabilities


def _pairs(confusion: Tensor) -> Iterable[tuple[int, int]]:
    """Return the most frequent pairs of a class and another that it is taken for, most frequent first."""
    counts = confusion.clone().fill_diagonal_(0).flatten()
    order = torch.argsort(counts, descending=True, stable=True)[:PAIRS]
    return [divmod(place, len(confusion)) for place in order.tolist() if counts[place]]


def _training_images(
    card: ModelCard, loaded: ImageData, data: str | None, data_dir: Path | None
) -> Generator[LoadProgress | LoadNote, None, tuple[ImageData | None, str]]:
    """Load what the network was trained on, or say why that cannot be had."""
    if card.recipe is None or card.fingerprint is None:
        return None, f"{card.model} does not say what it was trained on"
    # A folder may have been moved since; the one at hand is recognised by its files.
    place = data if loaded.fingerprint == card.fingerprint else None
    try:
        training, _ = yield from load_for(card, data=place, split="train", data_dir=data_dir)
    except (DataError, UnknownNameError) as error:
        return None, f"the images it was trained on are not at hand: {str(error).rstrip('.')}"
    if training.fingerprint != card.fingerprint:
        return None, f"the images it was trained on are not at hand: {training.name} was changed since"
    return training, ""


def _own_positions(loaded: ImageData, used: SplitName, positions: Tensor, training: ImageData) -> Tensor | None:
    """Return where images of a split stand among the training images, -1 where they do not."""
    if loaded.fingerprint != training.fingerprint or used not in {"train", "all"}:
        return None
    return torch.where(positions < len(training.train), positions, -1)


def _as_results(found: Neighbours, positions: Tensor, training: ImageData) -> dict[int, TrainingImage]:
    images = training.train.take(found.positions).numpy()
    classes = training.train.targets[found.positions]
    return {
        position: TrainingImage(training.source("train", place), training.classes[label], similarity, image)
        for position, place, label, similarity, image in zip(
            positions.tolist(),
            found.positions.tolist(),
            classes.tolist(),
            found.similarities.tolist(),
            images,
            strict=True,
        )
    }

"""The images that a network gets wrong: which, what they are taken for, and whether their labels are right."""

import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torchmetrics.functional.classification import multiclass_confusion_matrix

from cnnkit.card import ModelCard
from cnnkit.data.loaded import ImageData, Split, take
from cnnkit.data.options import Choice
from cnnkit.data.splits import SplitName
from cnnkit.errors import DataError, UnknownNameError
from cnnkit.evaluation.images import catalogue_for, logits_by_batch
from cnnkit.evaluation.labels import find_candidates
from cnnkit.evaluation.neighbours import Neighbours, nearest
from cnnkit.evaluation.results import ConfusedPair, LabelCandidate, Mistake, Mistakes, TrainingImage
from cnnkit.pictures import Pixels
from cnnkit.progress import LoadProgress, Notice, Steps, WorkProgress
from cnnkit.runtime.classifier import Classifier, Network
from cnnkit.training.runs import versions

PAIRS = 10
EXAMPLES = 6
"""Of each confused pair."""


def mistakes_of(
    classifier: Classifier,
    loaded: ImageData,
    used: SplitName,
    choice: Choice,
    *,
    top: int,
    batch_size: int,
    started: float,
) -> Steps[Mistakes]:
    """Find what a network gets wrong in images that are loaded; the options are those of `cnnkit.find_mistakes`."""
    network, chosen = classifier.network, loaded.filled(used)
    looked = _Looked(loaded, used, chosen, (yield from _probabilities(network, classifier.name, chosen, batch_size)))
    wrong, candidates = looked.wrong(), find_candidates(looked.probabilities, chosen.targets)
    worst, doubtful = wrong[:top], candidates.positions[:top]

    shown = torch.tensor(sorted({*worst.tolist(), *doubtful.tolist()}), dtype=torch.int64)
    training, reason, space = None, "", ""
    similar: dict[int, TrainingImage] = {}
    if len(shown):
        training, reason = yield from _training_images(network.card, loaded, choice)
    if training is not None:
        own = _own_positions(loaded, used, shown, training)
        found = yield from nearest(network, chosen.take(shown).numpy(), training.train, own=own, batch_size=batch_size)
        similar, space = _as_results(found, shown, training), found.space
    return Mistakes(
        model=classifier.name,
        data=loaded.name,
        split=used,
        engine=classifier.engine,
        images=len(chosen),
        seen=loaded.exposure.trained > 0 or (used in {"train", "all"} and _is_of_training(loaded, network.card)),
        wrong=len(wrong),
        accuracy=1 - len(wrong) / len(chosen),
        worst=tuple(Mistake(*fields) for fields in looked.images(worst, looked.predicted[worst], similar)),
        confused=tuple(looked.confused(wrong)),
        candidates=len(candidates.positions),
        mislabelled=tuple(
            LabelCandidate(*fields) for fields in looked.images(doubtful, candidates.suggested[:top], similar)
        ),
        training_images=0 if training is None else len(training.train),
        nearest_by=space,
        no_nearest_because=reason,
        versions=versions(),
        seconds=time.monotonic() - started,
        exposure=loaded.exposure,
        duplicates=loaded.catalogue.duplicates,
        warnings=loaded.warnings,
        assumptions=classifier.assumptions,
    )


@dataclass(frozen=True)
class _Looked:
    """A split that went through the network; `probabilities` [images, classes]."""

    data: ImageData
    name: SplitName
    split: Split
    probabilities: Tensor

    @cached_property
    def predicted(self) -> Tensor:
        return self.probabilities.argmax(1)

    def of(self, classes: Tensor) -> Tensor:
        """Return each image's probability of its entry of `classes`."""
        return self.probabilities.gather(1, classes[:, None])[:, 0]

    def wrong(self) -> Tensor:
        """Return the positions of the mistakes, the surest first; among equals the one with the least of its label."""
        wrong = torch.nonzero(self.predicted != self.split.targets)[:, 0]
        order = np.lexsort((self.of(self.split.targets)[wrong].numpy(), -self.of(self.predicted)[wrong].numpy()))
        return wrong[torch.from_numpy(order)]

    def images(
        self, positions: Tensor, others: Tensor, similar: dict[int, TrainingImage]
    ) -> Iterator[tuple[str, str, str, float, float, TrainingImage | None, Pixels]]:
        """Yield for each image source, label, the other class, the probabilities of both, what it is like, and pixels.

        The probability of the other class comes first in a `Mistake` and in a `LabelCandidate` alike.
        """
        labels = self.data.classes
        pixels = self.split.take(positions).numpy()
        for place, other, image in zip(positions.tolist(), others.tolist(), pixels, strict=True):
            label, row = int(self.split.targets[place]), self.probabilities[place]
            source = self.data.source(self.name, place)
            yield source, labels[label], labels[other], float(row[other]), float(row[label]), similar.get(place), image

    def confused(self, wrong: Tensor) -> Iterator[ConfusedPair]:
        """Yield the classes that are taken for one another, by their number of images; `wrong` as from `wrong()`."""
        targets, labels = self.split.targets, self.data.classes
        confusion = multiclass_confusion_matrix(self.predicted, targets, len(labels))
        counts = confusion.clone().fill_diagonal_(0).flatten()
        for place in torch.argsort(counts, descending=True, stable=True)[:PAIRS].tolist():
            label, other = divmod(place, len(labels))
            if counts[place]:
                examples = wrong[(targets[wrong] == label) & (self.predicted[wrong] == other)][:EXAMPLES]
                yield ConfusedPair(
                    labels[label],
                    labels[other],
                    int(counts[place]),
                    float(counts[place] / confusion[label].sum()),
                    tuple(self.split.take(examples).numpy()),
                )


def _probabilities(network: Network, name: str, split: Split, batch_size: int) -> Generator[WorkProgress, None, Tensor]:
    parts = []
    done = 0
    for logits in logits_by_batch(network, name, split, batch_size):
        parts.append(logits)
        done += len(logits)
        yield WorkProgress("classifying images", done, len(split))
    return torch.cat(parts).softmax(1)


def _training_images(
    card: ModelCard, loaded: ImageData, choice: Choice
) -> Generator[LoadProgress | Notice, None, tuple[ImageData | None, str]]:
    """Load what the network was trained on, or say why that cannot be done."""
    if card.recipe is None or card.fingerprint is None:
        return None, f"{card.model} does not say what it was trained on"
    # A folder may have been moved since; the one at hand is recognised by its files.
    place = choice.data if loaded.fingerprint == card.fingerprint else None
    try:
        known = yield from catalogue_for(card, replace(choice, data=place))
        training = yield from take(known, ("train",))
    except (DataError, UnknownNameError) as error:
        # What to do about it, which follows, is for a user who asked for these images.
        return None, f"the images it was trained on are not at hand: {str(error).partition('. ')[0].rstrip('.')}"
    if training.fingerprint != card.fingerprint:
        return None, f"the images it was trained on are not at hand: {training.name} was changed since"
    return training, ""


def _is_of_training(loaded: ImageData, card: ModelCard) -> bool:
    # A folder of the same name may be the one of the training, with images added since.
    return card.dataset is not None and (loaded.fingerprint == card.fingerprint or loaded.name == card.dataset)


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

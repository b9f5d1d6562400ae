"""The network that is examined, with the images that it is examined on, and the folder that pictures go into."""

import re
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cnnkit.data.loaded import Split
from cnnkit.errors import CheckpointError
from cnnkit.evaluation.images import logits_by_batch
from cnnkit.files import write_atomic
from cnnkit.pictures import Pixels, decode, encoded
from cnnkit.progress import WorkProgress
from cnnkit.robustness.results import FooledImage
from cnnkit.runtime.classifier import Classifier, Network, softmax
from cnnkit.words import counted

EXAMPLES = 10
"""Images of a kind that are kept as pictures."""


def from_png(content: bytes | Path) -> Pixels:
    """Return the pixels of an image file as uint8 [H, W, C]."""
    found = np.asarray(decode(content)[0])
    return found if found.ndim == 3 else found[..., None]


def safe_names(labels: Sequence[str]) -> list[str]:
    """Return names of files for labels, which may hold anything: the labels themselves where that goes."""
    names = [re.sub(r"[^\w.-]+", "-", label).strip(".-") for label in labels]
    distinct = len({name.casefold() for name in names}) == len(names) and all(names)
    return names if distinct and max(map(len, names)) <= 60 else [f"class-{index}" for index in range(len(labels))]


@dataclass(frozen=True)
class Subject:
    """What is examined.

    Attributes:
        network: pixels in, logits out.
        labels: of the classes.
        images: as the network sees them, uint8 [N, H, W, C].
        targets: their classes, int64 [N].
        numbers: of the images in their split, int64 [N].
        right: which of them the network gets right, bool [N].
        batch_size: images that go through the network together.
        seed: of all that is random.
        folder: for pictures; None for none.
    """

    network: Network
    labels: tuple[str, ...]
    images: Pixels
    targets: NDArray[np.int64]
    numbers: NDArray[np.int64]
    right: NDArray[np.bool_]
    batch_size: int
    seed: int
    folder: Path | None

    def batches(self, positions: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
        """Yield the positions of images, a batch at a time."""
        for start in range(0, len(positions), self.batch_size):
            yield positions[start : start + self.batch_size]

    def answers(self, pixels: Pixels) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the top-1 class of each image and its probability, both [N].

        Raises:
            CheckpointError: some scores are not finite, so that nothing tells whether the answer is right.
        """
        with np.errstate(invalid="ignore"):
            shares = softmax(self.network.logits(pixels))
        bad = int((~np.isfinite(shares)).any(1).sum())
        if bad:
            raise CheckpointError(
                f"{self.network.card.model} gives scores that are not finite numbers for {bad:,} of "
                f"{counted(len(pixels), 'changed image')}, so its robustness cannot be measured. Give a smaller "
                "--epsilon, or leave this part out with --only."
            )
        return shares.argmax(1), shares.max(1)

    def save(self, name: str, pixels: Pixels) -> Path | None:
        """Write a picture into the folder, if there is one.

        Raises:
            OutputError: it cannot be written.
        """
        if self.folder is None:
            return None
        path = self.folder / name
        write_atomic(path, encoded(pixels))
        return path

    def fooled(self, kind: str, position: int, changed: Pixels, strength: float) -> FooledImage:
        """Describe an image that was changed, uint8 [H, W, C], and keep it with its original in folder `kind`."""
        number = int(self.numbers[position])
        (taken_for,), (probability,) = self.answers(changed[None])
        return FooledImage(
            number=number,
            label=self.labels[self.targets[position]],
            taken_for=self.labels[taken_for],
            probability=float(probability),
            strength=strength,
            original=self.save(f"originals/{number:05}.png", self.images[position]),
            changed=self.save(f"{kind}/{number:05}.png", changed),
        )

    def one_a_class(self, positions: Sequence[int]) -> list[int]:
        """Choose up to ten of some images, as many classes among them as there are."""
        seen: dict[int, int] = {}
        turn = []
        for position in positions:
            target = int(self.targets[position])
            turn.append((seen.get(target, 0), position))
            seen[target] = seen.get(target, 0) + 1
        return sorted(position for _, position in sorted(turn)[:EXAMPLES])


def subject_of(
    classifier: Classifier, split: Split, images: int, *, seed: int, batch_size: int, folder: Path | None
) -> Generator[WorkProgress, None, Subject]:
    """Choose some images of a split by seed, 0 for all, and see which ones the network gets right.

    Raises:
        CheckpointError: the network gives scores that are not finite.
    """
    numbers = np.arange(len(split))
    if 0 < images < len(split):
        numbers = np.sort(np.random.default_rng(seed).permutation(len(split))[:images])
    looked_at = split.some(torch.from_numpy(numbers))
    pixels = looked_at.take(torch.arange(len(numbers)))
    answers = list[Tensor]()
    for logits in logits_by_batch(classifier.network, classifier.name, looked_at, batch_size):
        answers.append(logits.argmax(1))
        yield WorkProgress("classifying images", sum(map(len, answers)), len(numbers))
    return Subject(
        classifier.network,
        classifier.card.labels,
        pixels.numpy(),
        looked_at.targets.numpy(),
        numbers,
        (torch.cat(answers) == looked_at.targets).numpy(),
        batch_size,
        seed,
        folder,
    )

"""Images of nothing that a network is sure about.

Nguyen, Yosinski and Clune, "Deep neural networks are easily fooled: high confidence predictions for unrecognizable
images", 2015: from noise, upwards along the gradient, or by evolution where there is none to be had. What counts is the
file, read as `predict` reads it, so the search stays among images that the preprocessing leaves as they are.
"""

import tempfile
from collections.abc import Generator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cnnkit.files import write_atomic
from cnnkit.images import prepare
from cnnkit.pictures import Pixels, encoded
from cnnkit.results import WorkProgress
from cnnkit.results.robustness import FoolingImage, FoolingSearch
from cnnkit.robustness.canvas import Canvas
from cnnkit.robustness.gradients import PixelNetwork
from cnnkit.robustness.subject import safe_names
from cnnkit.runtime.classifier import Classifier, softmax

CONFIDENCE = 0.99
_SOUGHT = 0.995
"""Another engine rounds otherwise, and must come over 99% as well."""
_LEVELS = 6.0
"""How far a step moves a value in the mean, of 255."""
_STEPS = {"gradient": 300, "evolution": 500}
_PAIRS, _SPREAD, _GRID = 64, 16.0, 32
"""Of an evolution: pairs of a generation, how far they are from their parent, and the squares to a side they vary."""

Values = NDArray[np.float64]


def fooling_search(
    classifier: Classifier, network: PixelNetwork | None, *, seed: int, folder: Path | None
) -> Generator[WorkProgress, None, FoolingSearch]:
    """Make an image for each class that the network takes for it with at least 99%.

    Args:
        classifier: reads the files in the end.
        network: the same network, for its gradients; None to search by evolution.
        seed: of the noise.
        folder: where the files go; None to forget them.

    Raises:
        OutputError: they cannot be written.
    """
    labels = classifier.card.labels
    found = []
    with tempfile.TemporaryDirectory() as scratch:
        for index, name in enumerate(safe_names(labels)):
            yield WorkProgress("drawing fooling images", index, len(labels))
            source = np.random.default_rng([seed, index])
            content, steps = _search(classifier, network, index, source)
            path = (folder or Path(scratch)) / "fooling" / f"{name}.png"
            write_atomic(path, content)
            scores = classifier.predict([path], top=len(labels))[0].scores
            probability = next(score.probability for score in scores if score.label == labels[index])
            kept = None if folder is None else path
            found.append(FoolingImage(labels[index], scores[0].label, probability, steps, kept))
    yield WorkProgress("drawing fooling images", len(labels), len(labels))
    return FoolingSearch(CONFIDENCE, "evolution" if network is None else "gradient", tuple(found))


def _search(
    classifier: Classifier, network: PixelNetwork | None, target: int, source: np.random.Generator
) -> tuple[bytes, int]:
    """Return the PNG file of the image that the network takes most for a class, and the steps it took."""
    canvas = Canvas(classifier.card.preprocessing)
    values = canvas.project(source.uniform(0, 255, canvas.shape))
    limit = _STEPS["evolution" if network is None else "gradient"]
    best, at, content = -1.0, 0, b""
    for step in range(limit + 1):
        file = encoded(canvas.framed(values))
        # As it will be read, should the preprocessing change it after all.
        seen = prepare(file, classifier.card.preprocessing).pixels
        probability = float(softmax(classifier.network.logits(np.stack([seen])))[0, target])
        if probability > best:
            best, at, content = probability, step, file
        if best >= _SOUGHT or step == limit:
            break
        upwards = _evolved(classifier, values, target, source) if network is None else _slope(network, values, target)
        length = np.sqrt(np.square(upwards[canvas.free]).mean())
        if not length:
            break
        values = canvas.project(values + _LEVELS / length * upwards)
    return content, at


def _slope(network: PixelNetwork, values: Values, target: int) -> Values:
    """Return the gradient of a class's log-odds by the pixels, [H, W, C]."""
    pixels = torch.from_numpy(values / 255).permute(2, 0, 1)[None].float().to(network.device).requires_grad_()
    with torch.enable_grad():
        logits = network(pixels)[0].float()
        others = torch.cat([logits[:target], logits[target + 1 :]])
        (gradient,) = torch.autograd.grad(logits[target] - others.logsumexp(0), pixels)
    return np.asarray(gradient[0].permute(1, 2, 0).double().cpu())


def _evolved(classifier: Classifier, values: Values, target: int, source: np.random.Generator) -> Values:
    """Estimate the same from the scores of a generation of varied images (Wierstra et al., 2014)."""
    height, width, channels = values.shape
    block = -(-max(height, width) // _GRID)  # large images vary in blocks: their pixels are too many to try
    varied = source.standard_normal((_PAIRS, -(-height // block), -(-width // block), channels))
    varied = varied.repeat(block, 1).repeat(block, 2)[:, :height, :width]
    offspring = np.concatenate([values + _SPREAD * varied, values - _SPREAD * varied])
    logits = classifier.network.logits(_whole(offspring)).astype(np.float64)
    top = logits.max(1, keepdims=True)
    others = np.delete(logits, target, 1)
    odds = logits[:, target] - top[:, 0] - np.log(np.exp(others - top).sum(1) + 1e-300)
    better = odds[:_PAIRS] - odds[_PAIRS:]
    return np.asarray(np.tensordot(better, varied, 1))


def _whole(values: Values) -> Pixels:
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)

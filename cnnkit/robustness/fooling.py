"""Images of nothing that a network is sure about.

Nguyen, Yosinski and Clune, "Deep neural networks are easily fooled: high confidence predictions for unrecognizable
images", 2015: from noise, upwards along the gradient, or by evolution where there is none to be had. What counts is the
file, read as `predict` reads it, so the search stays among images that the preprocessing leaves as they are.
"""

import tempfile
from collections.abc import Generator, Sequence
from pathlib import Path

import numpy as np

from cnnkit.files import write_atomic
from cnnkit.images import prepare
from cnnkit.pictures import encoded
from cnnkit.progress import WorkProgress
from cnnkit.robustness.ascent import Ascent, Evolution, Gradient
from cnnkit.robustness.canvas import Canvas
from cnnkit.robustness.gradients import PixelNetwork
from cnnkit.robustness.results import FoolingImage
from cnnkit.robustness.subject import safe_names
from cnnkit.runtime.classifier import Classifier, softmax

CONFIDENCE = 0.99
_SOUGHT = 0.995
"""Another engine rounds otherwise, and must come over 99% as well."""
_LEVELS = 6.0
"""How far a step moves a value in the mean, of 255."""


def fooling_search(
    classifier: Classifier,
    network: PixelNetwork | None,
    *,
    targets: Sequence[str] | None = None,
    seed: int,
    folder: Path | None,
) -> Generator[WorkProgress | FoolingImage, None, None]:
    """Make images that the network takes for a class with at least 99%; yields each as it is found.

    Args:
        classifier: reads the files in the end.
        network: the same network, for its gradients; None to search by evolution.
        targets: labels of the classes; None for all.
        seed: of the noise.
        folder: where the files go; None to forget them.

    Raises:
        OutputError: they cannot be written.
        OnnxError: the network gives scores that are not finite.
    """
    labels, canvas = classifier.card.labels, Canvas(classifier.card.preprocessing)
    chosen = [index for index, label in enumerate(labels) if targets is None or label in targets]
    ascent = Evolution(classifier.network, canvas, chosen) if network is None else Gradient(network, canvas)
    with tempfile.TemporaryDirectory() as scratch:
        names = safe_names(labels)
        for done, index in enumerate(chosen):
            step = WorkProgress("drawing fooling images", done, len(chosen))
            content, steps = yield from _search(classifier, canvas, ascent, index, seed, step)
            path = (folder or Path(scratch)) / "fooling" / f"{names[index]}.png"
            write_atomic(path, content)
            scores = classifier.predict([path], top=len(labels))[0].scores
            probability = next(score.probability for score in scores if score.label == labels[index])
            kept = None if folder is None else path
            yield FoolingImage(labels[index], scores[0].label, probability, steps, kept)


def _search(
    classifier: Classifier, canvas: Canvas, ascent: Ascent, target: int, seed: int, progress: WorkProgress
) -> Generator[WorkProgress, None, tuple[bytes, int]]:
    """Return the PNG file of the image that the network takes most for a class, and the steps it took."""
    source = np.random.default_rng([seed, target])
    values = canvas.project(ascent.begin(target, source))
    best, at, content = -1.0, 0, b""
    for step in range(ascent.steps + 1):
        yield progress
        file = encoded(canvas.framed(values))
        # As it will be read, should the preprocessing change it after all.
        seen = prepare(file, canvas.form).pixels
        probability = float(softmax(classifier.network.logits(np.stack([seen])))[0, target])
        if not probability <= best:  # so also where it is no number, as `predict` will say
            best, at, content = probability, step, file
        if not best < _SOUGHT or step == ascent.steps:
            break
        upwards = ascent.direction(values, target, source)
        length = np.sqrt(np.square(upwards[canvas.free]).mean())
        if not 0 < length < np.inf:  # where no way leads up, or none that can be told
            break
        values = canvas.project(values + _LEVELS / length * upwards)
    return content, at

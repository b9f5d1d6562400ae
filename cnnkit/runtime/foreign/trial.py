"""Running an ONNX file without a card on a few images, to see what its scores are."""

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnkit.errors import OnnxError
from cnnkit.runtime.classifier import OnnxNetwork
from cnnkit.runtime.foreign import scores
from cnnkit.runtime.foreign.described import clean
from cnnkit.runtime.foreign.signature import EXPORT_ANEW

Values = NDArray[np.float64]

_FLOATS = {"tensor(float)", "tensor(float16)", "tensor(double)"}
_TASKS = {"", "classify", "classification", "image-classification"}
"""Tasks that exporters note, and that are ours."""
_ORDER = (2, 3, 5, 0, 1, 4)
"""Of the images, the most telling first: that one is run a second time."""
_SECONDS = 2.0
"""That they may take together; a network that takes longer sees fewer."""
_NOISE = 0.02
"""What scores may differ by from run to run, as a share of the largest: float16 and int8 round."""


def tried(network: OnnxNetwork, name: str, task: str) -> tuple[dict[str, Values], int | None, tuple[str, ...]]:
    """Run a network on a few very different images.

    Args:
        network: without anything said of its output. Its batch is made 1 where more images than one do not go through
            together.
        name: of the file, for errors.
        task: that its metadata names.

    Returns:
        the outputs that may be scores, float64 [N, classes]; the batch that images have to come in; and what was
        found out of it, in words.

    Raises:
        OnnxError: the network fails, no output has a score for each class, or its scores are not of the image alone.
    """
    failed: OnnxError | None = None
    if network.batch is not None or network.most != 1:
        try:
            found, few = _tried(network, name, task)
            return found, network.batch, few
        except OnnxError as error:
            if network.batch is not None:
                raise
            failed = error
    # Its input may be open, and its layers made for one image all the same.
    network.batch = 1
    try:
        found, few = _tried(network, name, task)
    except OnnxError as error:
        network.batch = None
        raise failed or error from error
    why = "several together fail, take too long, or change each other's scores"
    return found, 1, (*few, f"images go through it one by one: {why}")


def _tried(network: OnnxNetwork, name: str, task: str) -> tuple[dict[str, Values], tuple[str, ...]]:
    """Return the outputs that may be scores, and in words, whether few images were tried."""
    images = scores.tried_images(network.card.preprocessing.shape)
    inputs = network.feed(images)[network.input][list(_ORDER)]
    outputs = [each.name for each in network.session.get_outputs() if each.type in _FLOATS]
    began = time.thread_time()  # which other programs do not change
    alone, failed = _run(network, inputs[:1], outputs)
    took = (time.thread_time() - began) / (network.batch or 1)
    inputs = inputs[: max(1, int(min(_SECONDS / max(took, 1e-9), len(inputs) + 1)) - 1)]
    given, found = alone, {}
    if took * (len(inputs) + 1) <= _SECONDS:
        given, failed = _run(network, inputs, outputs)
    for output, values in given.items():
        flat = values.reshape(len(inputs), -1)
        if flat.size and (values.ndim <= 2 or max(values.shape[1:]) == flat.shape[1]):
            found[output] = flat.astype(np.float64)
    if not found and failed is not None:
        raise failed
    if not found:
        listed = [f"{output} {list(values.shape)}" for output, values in given.items()]
        said = f": its metadata says {clean(task)[:40]}" if task not in _TASKS else ", such as finding objects"
        other = f" It may be made for another task{said}."
        if not outputs:
            listed = [f"{each.name} of {each.type}" for each in network.session.get_outputs()]
            other = " Export it without the operation that chooses a class or names them, such as ArgMax or ZipMap."
        raise OnnxError(
            f"{name} gives {'; '.join(listed)} for a batch of {len(inputs)}; expected one score for each class.{other}"
        )
    if not all(np.isfinite(flat).all() for flat in found.values()):
        raise OnnxError(f"{name} gives scores that are not finite numbers; check its weights.")
    for output, flat in found.items():
        if output in alone:
            _require_same(flat[0], alone[output].reshape(-1).astype(np.float64), name)
    few = f"its scores were looked at for {len(inputs)} of {len(images)} images only: one takes {took:.1f} s"
    return found, (few,) if len(inputs) < len(images) else ()


def _run(
    network: OnnxNetwork, inputs: NDArray[Any], outputs: list[str]
) -> tuple[dict[str, NDArray[Any]], OnnxError | None]:
    """Return the outputs that have a row for each image, by name, and what was wrong with another one."""
    found: dict[str, NDArray[Any]] = {}
    failed = None
    for output in outputs:
        try:
            (found[output],) = network.run(inputs, [output])
        except OnnxError as error:  # an output that is not of the batch does not make the others worse
            failed = error
    return found, failed


def _require_same(first: Values, again: Values, name: str) -> None:
    """Make sure that an image gets the scores that it had in another batch.

    Raises:
        OnnxError: it does not: a file may be exported for training, or its Softmax may go over the batch.
    """
    if first.shape != again.shape or not np.abs(first - again).max() <= _NOISE * max(1e-6, np.abs(first).max()):
        raise OnnxError(
            f"{name} gives the same image other scores when it runs again, or with other images beside it. "
            f"{EXPORT_ANEW}"
        )

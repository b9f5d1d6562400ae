"""Running an ONNX file without a card on a few images, to see what its scores are."""

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
_PROBED = 2
"""Place of the image that is run a second time."""
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
            return _tried(network, name, task), network.batch, ()
        except OnnxError as error:
            if network.batch is not None:
                raise
            failed = error
    # Its input may be open, and its layers made for one image all the same.
    network.batch = 1
    try:
        found = _tried(network, name, task)
    except OnnxError as error:
        network.batch = None
        raise failed or error from error
    return found, 1, ("images go through it one by one: several together fail, or change each other's scores",)


def _tried(network: OnnxNetwork, name: str, task: str) -> dict[str, Values]:
    images = scores.tried_images(network.card.preprocessing.shape)
    inputs = network.feed(images)[network.input]
    outputs = [each.name for each in network.session.get_outputs() if each.type in _FLOATS]
    found, given, failed = {}, [], None
    for output in outputs:
        try:
            (values,) = network.run(inputs, [output])
        except OnnxError as error:  # an output that is not of the batch does not make the others worse
            failed = error
            continue
        given.append(f"{output} {list(values.shape)}")
        flat = values.reshape(len(images), -1)
        if flat.size and (values.ndim <= 2 or max(values.shape[1:]) == flat.shape[1]):
            found[output] = flat.astype(np.float64)
    if not found and failed is not None:
        raise failed
    if not found:
        said = f": its metadata says {clean(task)[:40]}" if task not in _TASKS else ", such as finding objects"
        other = f" It may be made for another task{said}."
        if not outputs:
            given = [f"{each.name} of {each.type}" for each in network.session.get_outputs()]
            other = " Export it without the operation that chooses a class or names them, such as ArgMax or ZipMap."
        raise OnnxError(
            f"{name} gives {'; '.join(given)} for a batch of {len(images)}; expected one score for each class.{other}"
        )
    if not all(np.isfinite(flat).all() for flat in found.values()):
        raise OnnxError(f"{name} gives scores that are not finite numbers; check its weights.")
    alone = network.run(inputs[_PROBED : _PROBED + 1], list(found))
    for flat, again in zip(found.values(), alone, strict=True):
        _require_same(flat[_PROBED], again.reshape(-1).astype(np.float64), name)
    return found


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

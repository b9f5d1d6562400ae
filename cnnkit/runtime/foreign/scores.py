"""What the scores of an ONNX file are: logits, or probabilities, of one class among all or of each by itself."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cnnkit.errors import OnnxError
from cnnkit.runtime.foreign.options import Scores
from cnnkit.runtime.graphs import attribute

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto

    from cnnkit.pictures import Pixels
    from cnnkit.runtime.foreign.wiring import Wiring

_UNCHANGED = {"Cast", "Identity", "Flatten", "Reshape", "Squeeze", "Unsqueeze", "Dropout", "DequantizeLinear",
    "QuantizeLinear", "Clip"}  # fmt: skip
"""Operations after which scores are what they were."""
_POOLING = {"GlobalAveragePool", "AveragePool", "ReduceMean"}
"""Operations whose result is what they take, on average over an image."""
_READ: dict[Scores, str] = {"percent": " in percent", "log-softmax": " as logarithms", "softmax": "", "sigmoid": ""}
_HELP: dict[Scores, str] = {
    "logits": "logits, or --scores sigmoid-logits for classes that are independent",
    "sigmoid": "sigmoid, or --scores logits",
    "softmax": "softmax", "log-softmax": "log-softmax", "percent": "percent",
}  # fmt: skip
"""What to say of scores that look so."""
_SHOWN: dict[str, Scores] = {
    "Softmax": "softmax", "LogSoftmax": "log-softmax", "Sigmoid": "sigmoid",
    **dict.fromkeys(("Gemm", "MatMul", "Conv", "BatchNormalization", "Relu", "LeakyRelu"), "logits"),
}  # fmt: skip
"""What scores are after the operation that makes them."""
ONE_AMONG_ALL = frozenset({"softmax", "log-softmax", "percent"})
"""Kinds that hold one distribution over all classes; a common shift of the logits before them is lost."""
_TOLERANCE = 2e-3
"""How far the sum of an image's probabilities may be from 1: that of float16."""


@dataclass(frozen=True)
class Reading:
    """How the scores of a file are read.

    Attributes:
        kind: what they are.
        because: how that is known, in words; empty where the user said it.
        certain: the graph or the user says it; otherwise it was guessed by what the network gives for a few images.
    """

    kind: Scores
    because: str = ""
    certain: bool = True


def last_operation(graph: "GraphProto", output: str) -> "NodeProto | None":
    """Return the operation that makes an output what it is.

    Those that only change its form or type are left out, and averages over an image but of logarithms: these are none
    of probabilities any more.
    """
    from cnnkit.runtime.foreign.wiring import Wiring  # of no use to files that have a card

    wiring = Wiring(graph)
    weights = {tensor.name for tensor in graph.initializer}
    node, pool = wiring.maker(output), None
    while node is not None:
        if node.op_type in _UNCHANGED:
            node = wiring.maker(node.input[0])
        elif node.op_type in _POOLING and not _averages_classes(node, wiring):
            node, pool = wiring.maker(node.input[0]), node
        elif node.op_type == "Add" and weights & set(node.input):  # a bias
            node = next((maker for name in node.input if (maker := wiring.maker(name))), None)
        else:
            break
    return pool if pool is not None and node is not None and node.op_type == "LogSoftmax" else node


def _averages_classes(node: "NodeProto", wiring: "Wiring") -> bool:
    """Whether an average may go over the classes: over all axes, or over the second or the last alone."""
    if node.op_type != "ReduceMean":
        return False
    axes = attribute(node, "axes", None)
    if axes is None:
        axes = (wiring.whole_numbers(node.input[1]) if len(node.input) > 1 else None) or []
    return list(axes) in ([], [1], [-1]) or len(axes) > 2


def is_ranked(graph: "GraphProto", output: str) -> bool:
    """Whether an output has an image's best scores by their size, so that their places tell no classes."""
    last = last_operation(graph, output)
    return last is not None and last.op_type == "TopK"


def shown_by(node: "NodeProto | None") -> Reading | None:
    """Return how scores are to be read after the last operation that makes them, or None where it does not say."""
    if node is None:
        return None
    kind = _SHOWN.get(node.op_type)
    return None if kind is None else Reading(kind, f"the graph ends in {node.op_type}")


def guessed(scores: NDArray[np.float64]) -> Reading:
    """Tell what scores are by their values for a few very different images.

    Args:
        scores: [N, classes].
    """
    within = bool((scores >= 0).all() and (scores <= 1 + _TOLERANCE).all())
    classes = scores.shape[1]
    if within and classes > 1 and np.allclose(scores.sum(1), 1, atol=_TOLERANCE):
        return Reading("softmax", "they sum to 1 for all images that were tried", certain=False)
    if classes > 1 and are_costs(-scores):
        return Reading("log-softmax", "their exponentials sum to 1 for all images that were tried", certain=False)
    if (scores >= 0).all() and classes > 1 and np.allclose(scores.sum(1), 100, atol=100 * _TOLERANCE):
        return Reading("percent", "they sum to 100 for all images that were tried", certain=False)
    if within and np.ptp(scores) > 0:
        return Reading(
            "sigmoid", "they are from 0 to 1 and do not sum to 1 for the images that were tried", certain=False
        )
    return Reading("logits", "some are below 0 or above 1" if not within else "", certain=False)


def require_read(scores: NDArray[Any], kind: Scores, name: str) -> None:
    """Make sure that scores of real images are what they are read as.

    Args:
        scores: [N, classes], as the file gives them.
        kind: that was found out, or that the user named.
        name: of the file.

    Raises:
        OnnxError: they are not, so that what would be shown as probabilities is none.
    """
    if kind not in {*ONE_AMONG_ALL, "sigmoid"} or not len(scores):
        return
    given = np.asarray(scores, np.float64)
    values = given / (100 if kind == "percent" else 1)
    if kind == "log-softmax":
        values = np.exp(np.minimum(values, 1))  # above 0, they are none; and no overflow says so
    if not (values.min() >= -_TOLERANCE and values.max() <= 1 + _TOLERANCE):
        raise OnnxError(
            f"{name} gives scores from {given.min():.3g} to {given.max():.3g}, which are no probabilities"
            f"{_READ[kind]}. Say what they are: --scores {_HELP[guessed(given).kind]}."
        )
    sums = values.sum(1)
    if kind != "sigmoid" and not np.allclose(sums, 1, atol=_TOLERANCE * 5):
        worst = float(sums[np.abs(sums - 1).argmax()]) * (100 if kind == "percent" else 1)
        raise OnnxError(
            f"the {'exponentials of the ' if kind == 'log-softmax' else ''}scores that {name} gives an image sum to "
            f"{worst:.3g}, so they are not the probabilities of one class among all{_READ[kind]}. Say what they are: "
            f"--scores {_HELP[guessed(given).kind]}."
        )


def tried_images(shape: tuple[int, int, int]) -> "Pixels":
    """Return images [6, H, W, C] as different as possible: black, white, noise, large spots and ramps."""
    height, width, channels = shape
    generator = np.random.default_rng(0)
    small = generator.integers(0, 256, (2, 4, 4, channels), np.uint8)
    rows, columns = np.arange(height) * 4 // height, np.arange(width) * 4 // width
    ramp = np.broadcast_to(np.linspace(0, 255, width)[None, :, None], shape)
    return np.stack([
        np.zeros(shape, np.uint8), np.full(shape, 255, np.uint8), generator.integers(0, 256, shape, np.uint8),
        *(each[rows][:, columns] for each in small), ramp.astype(np.uint8),
    ])  # fmt: skip


def as_logits(scores: NDArray[np.float32], kind: Scores) -> NDArray[np.float32]:
    """Return logits [N, classes] of which the activation gives the probabilities again.

    One score alone is that of the second of two classes.
    """
    if kind in {"softmax", "percent"}:  # for the probabilities it is the same
        logits = np.log(np.maximum(scores, np.float32(1e-30)))
    elif kind == "sigmoid":
        logits = _log_odds(scores)
    else:
        logits = scores
    return np.concatenate([np.zeros_like(logits), logits], 1) if scores.shape[1] == 1 else logits


def are_costs(scores: NDArray[np.float64]) -> bool:
    """Whether scores [N, classes] are negative logarithms of probabilities, of which the least is the best."""
    return bool(scores.shape[1] > 1 and (scores >= 0).all() and np.allclose(np.exp(-scores).sum(1), 1, atol=_TOLERANCE))


def is_independent(kind: Scores, count: int) -> bool:
    """Whether each class has a probability by itself, so that several can be right for an image, or none."""
    return kind in {"sigmoid", "sigmoid-logits"} and count > 1


def _log_odds(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    probabilities = np.clip(scores.astype(np.float64), 1e-30, 1 - 1e-12)
    return np.asarray(np.log(probabilities) - np.log1p(-probabilities), np.float32)

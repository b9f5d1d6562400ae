"""Why a layer refused its input, and which input of the network would have gone through."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor, nn

from cnnkit.inspection.results import LayerFailure, ModelSummary
from cnnkit.inspection.tracing import Trace
from cnnkit.words import counted

Shape = tuple[int, ...]

# Images of networks and data sets, smallest first.
_USUAL_SIDES = (28, 32, 64, 96, 128, 160, 192, 224, 256, 299, 320, 384, 448, 512)
_LARGEST_SIDE = 1024


@dataclass(frozen=True)
class _Mismatch:
    """What a layer expects, in words, and by how much it got too much (positive) or too little (negative)."""

    words: str
    excess: int = 0
    channels: int | None = None


def failure_of(trace: Trace) -> LayerFailure:
    """Say which layer of a trace refused its input, and why."""
    if trace.refused_by is None:  # not even the network was called
        return LayerFailure("", "", (), _plain(trace.error))
    record, given = trace.refused_by
    found = _mismatch(record.module, given)
    return LayerFailure(
        layer=record.name,
        kind=type(record.module).__name__,
        given=tuple(tuple(tensor.shape[1:]) for tensor in given),
        reason=found.words if found else f"fails: {_plain(trace.error)}",
    )


def told(summary: ModelSummary) -> str:
    """Say what failed, in a sentence, with the input that would have gone through."""
    failure = summary.failure
    if failure is None:
        return ""
    where = f"{failure.layer or summary.model}{f' ({failure.kind})' if failure.kind else ''}"
    given, fits = summary.input_shapes, failure.fitting_input
    if fits is None:
        return f"{where} {failure.reason}, with an input of {', '.join(map(sizes, given)) or 'nothing'}."
    # Height and width alone, where the channels are right.
    start = 1 if len(fits) == 3 and fits[0] == given[0][0] else 0
    wanted, had = sizes(fits[start:]), sizes(given[0][start:])
    return f"{where} {failure.reason}: the input would have to be {wanted}, it is {had}."


def fitting_input(attempt: Callable[[Shape], Trace], first: Trace, shape: Shape, own: Shape | None) -> Shape | None:
    """Look for an input that goes through the whole network.

    Its own comes first; then, where a layer says that it got too much or too little, the side of a square is bisected,
    and after it the sides in the proportion that they have; otherwise sizes that are divisible or usual are tried.

    Args:
        attempt: runs the network on an input of a shape.
        first: the trace with `shape`.
        shape: that failed; channels, height and width, or as many dimensions as there are.
        own: shape that the network says to be made for.
    """
    if own is not None and own != shape and attempt(own).error is None:
        return own
    found = _refusal(first)
    if len(shape) == 1:
        wanted = None if found is None or not found.excess else (shape[0] - found.excess,)
        return wanted if wanted and wanted[0] > 0 and attempt(wanted).error is None else None
    if found is not None and found.channels is not None and found.channels != shape[0]:
        shape = (found.channels, *shape[1:])
        first = attempt(shape)
        if first.error is None:
            return shape
        found = _refusal(first)
    if found is None or not found.excess:
        return next((tried for tried in _likely(shape) if attempt(tried).error is None), None)
    square = (shape[0], *(1,) * (len(shape) - 1))
    for proportion in dict.fromkeys((square, (shape[0], *shape[1:]))):
        fitting = _bisected(attempt, proportion)
        if fitting is not None:
            return fitting
    return None


def _bisected(attempt: Callable[[Shape], Trace], proportion: Shape) -> Shape | None:
    """Find the side from which on no layer gets too little; where larger ones get too much, prefer a round number."""
    least = min(proportion[1:])

    def scaled(side: int) -> Shape:
        return (proportion[0], *(max(1, round(side * size / least)) for size in proportion[1:]))

    def excess(side: int) -> int:
        trace = attempt(scaled(side))
        if trace.error is None:
            return 0
        found = _refusal(trace)
        # What fails in another way is too small for some window.
        return found.excess if found is not None and found.excess else -1

    low, high = 1, _LARGEST_SIDE * least // max(proportion[1:])
    while low < high:
        middle = (low + high) // 2
        if excess(middle) < 0:
            low = middle + 1
        else:
            high = middle
    if excess(low):
        return None
    if not excess(_LARGEST_SIDE * least // max(proportion[1:])):  # any larger one fits
        return scaled(low)
    rounded = dict.fromkeys(-(-low // step) * step for step in (32, 16, 8, 4, 2))
    return scaled(next((side for side in rounded if excess(side) == 0), low))


def _likely(shape: Shape) -> Iterator[Shape]:
    tried = [shape]
    for step in (2, 4, 8, 16, 32, 64, 128):
        tried.append((shape[0], *(-(-size // step) * step for size in shape[1:])))
    tried += [(shape[0], *(side,) * (len(shape) - 1)) for side in _USUAL_SIDES]
    yield from list(dict.fromkeys(tried))[1:]


def _refusal(trace: Trace) -> _Mismatch | None:
    return _mismatch(trace.refused_by[0].module, trace.refused_by[1]) if trace.refused_by else None


def _plain(error: Exception | None) -> str:
    """Return the message of an error in one line, without what follows the first sentences of PyTorch's."""
    text = " ".join(str(error).split()).partition(" Exception raised from ")[0].rstrip(".!")
    if isinstance(error, RuntimeError | ValueError | AssertionError) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _mismatch(module: nn.Module, given: tuple[Tensor, ...]) -> _Mismatch | None:
    """Compare what a layer was made for with what it got; None for a layer that is not known, or got what it wants."""
    if not given:
        return None
    shape = tuple(given[0].shape)
    for kinds, find in _KNOWN:
        if isinstance(module, kinds):
            return find(cast("Any", module), shape, given[0])
    return None


def _features(expected: int, shape: Shape, what: str = "features") -> _Mismatch | None:
    got = shape[-1] if shape else 0
    return None if got == expected else _Mismatch(f"expects {expected} {what}, got {got}", got - expected)


def _linear(module: nn.Linear, shape: Shape, given: Tensor) -> _Mismatch | None:
    return _features(module.in_features, shape)


def _recurrent(module: nn.RNNBase, shape: Shape, given: Tensor) -> _Mismatch | None:
    return _features(module.input_size, shape)


def _attention(module: nn.MultiheadAttention, shape: Shape, given: Tensor) -> _Mismatch | None:
    return _features(module.embed_dim, shape)


def _embedding(module: nn.Module, shape: Shape, given: Tensor) -> _Mismatch | None:
    if not given.is_floating_point():
        return None
    return _Mismatch(f"expects whole numbers, got {str(given.dtype).removeprefix('torch.')}")


def _channels(expected: int, shape: Shape) -> _Mismatch | None:
    got = shape[1] if len(shape) > 1 else 0
    if got == expected:
        return None
    return _Mismatch(f"expects {counted(expected, 'channel')}, got {got}", channels=expected)


def _convolution(module: nn.modules.conv._ConvNd, shape: Shape, given: Tensor) -> _Mismatch | None:
    count = len(module.kernel_size)
    if len(shape) not in {count + 1, count + 2}:
        return _Mismatch(f"expects a batch of channels with {_dimensions(count)}, got {sizes(shape)}")
    if len(shape) == count + 1:
        shape = (1, *shape)
    found = _channels(module.in_channels, shape)
    if found or module.transposed:
        return found
    # A kind of padding by name never leaves less than the kernel needs, or is none.
    padding = module.padding if not isinstance(module.padding, str) else (0,) * count
    return _window(module.kernel_size, module.dilation, padding, shape)


def _window(kernel: Any, dilation: Any, padding: Any, shape: Shape) -> _Mismatch | None:
    count = len(shape) - 2
    kernel, dilation, padding = (_each(value, count) for value in (kernel, dilation, padding))
    needed = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    padded = [size + 2 * p for size, p in zip(shape[2:], padding, strict=True)]
    if all(size >= least for size, least in zip(padded, needed, strict=True)):
        return None
    with_padding = " with its padding" if any(padding) else ""
    return _Mismatch(f"expects an image of {sizes(needed)} or more, got {sizes(padded)}{with_padding}", -1)


def _pool(module: nn.MaxPool2d, shape: Shape, given: Tensor) -> _Mismatch | None:
    return _window(module.kernel_size, getattr(module, "dilation", 1), module.padding, shape)


def _batch_norm(module: nn.BatchNorm2d, shape: Shape, given: Tensor) -> _Mismatch | None:
    return _channels(module.num_features, shape)


def _group_norm(module: nn.GroupNorm, shape: Shape, given: Tensor) -> _Mismatch | None:
    return _channels(module.num_channels, shape)


def _layer_norm(module: nn.LayerNorm, shape: Shape, given: Tensor) -> _Mismatch | None:
    expected = tuple(module.normalized_shape)
    if len(expected) == 1:
        return _features(expected[0], shape)
    if shape[-len(expected) :] == expected:
        return None
    return _Mismatch(f"expects values of {sizes(expected)}, got {sizes(shape[1:])}")


_KNOWN: tuple[tuple[Any, Callable[[Any, Shape, Tensor], _Mismatch | None]], ...] = (
    (nn.Linear, _linear),
    (nn.modules.conv._ConvNd, _convolution),
    ((nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d), _pool),
    (nn.modules.batchnorm._NormBase, _batch_norm),
    (nn.GroupNorm, _group_norm),
    (nn.LayerNorm, _layer_norm),
    (nn.RNNBase, _recurrent),
    (nn.MultiheadAttention, _attention),
    ((nn.Embedding, nn.EmbeddingBag), _embedding),
)


def _each(value: Any, count: int) -> tuple[int, ...]:
    return (value,) * count if isinstance(value, int) else tuple(value) * (count if len(value) == 1 else 1)


def _dimensions(count: int) -> str:
    return ("length", "height and width", "depth, height and width")[count - 1]


def sizes(shape: Sequence[int]) -> str:
    """Write a shape as 6×28×28."""
    return "×".join(map(str, shape)) or "a single number"

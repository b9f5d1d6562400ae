"""What an ONNX file takes: one batch of images, with every dimension known before it is opened.

What a graph leaves open is worked out from its weights, from its metadata and from `--input`. All commands ask here, so
that they agree.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from math import isqrt
from typing import TYPE_CHECKING

from cnnkit.errors import OnnxError, UsageError
from cnnkit.images import MAX_SIDE
from cnnkit.runtime import graphs, shapes
from cnnkit.runtime.foreign.described import side_in
from cnnkit.runtime.foreign.entry import Entry
from cnnkit.runtime.foreign.first_operations import entry_of
from cnnkit.runtime.foreign.wiring import Wiring
from cnnkit.words import counted

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto

USUAL_SIDE = 224
"""Height and width where a graph takes any."""
_SIDES = (
    32, 28, 299, 96, 128, 64, 256, 384, 227, 112, 160, 192, 240, 260, 300, 320, 331, 380, 448, 480, 512, 528, 600, 640,
    48, 56, 80, 100, 150, 168, 176, 180, 200, 208, 220, 225, 250, 288, 336, 400, 416, 518, 560,
)  # fmt: skip
"""Sides of the input of known classifiers, the most usual first: tried where 224 does not fit."""

_MOST_VISITS = 10_000
"""Nodes that are looked at to find a size that fits: each takes about 0.2 ms."""

_KINDS = {1: "float32", 2: "uint8", 10: "float16", 11: "float64"}
"""By `TensorProto.DataType`."""
_CHANNELS = re.compile(r"chan|^c$|(^|_)(num_)?channels?($|_)", re.IGNORECASE)

EXPORT_ANEW = "Export it for inference; in PyTorch, after model.eval()."


class OpenSizeError(OnnxError):
    """A graph leaves the size of its images open, and none that is usual fits its layers."""


@dataclass(frozen=True)
class Signature:
    """The one input of a classifier of images.

    Attributes:
        name: of the input.
        dtype: `float32`, `float16`, `float64` or `uint8`.
        declared: its dimensions as the file has them; a name, or `?`, where one is open.
        channels_last: the layout is [N, H, W, C], not [N, C, H, W].
        channels, height, width: of an image.
        batch: images that the file takes at a time; None for any number.
        entry: what its first operations say.
        guesses: what was not certain, in words.
        trains: type of an operation in training mode; empty where there is none.
    """

    name: str
    dtype: str
    declared: tuple[int | str, ...]
    channels_last: bool
    channels: int
    height: int
    width: int
    batch: int | None
    entry: Entry
    guesses: tuple[str, ...] = ()
    trains: str = ""

    @property
    def obstacle(self) -> str:
        """Why it is no classifier of pictures; empty where it is one."""
        if self.trains:
            return f"it was exported for training: its {self.trains} is in training mode. {EXPORT_ANEW}"
        if self.channels in {1, 3}:
            return ""
        declared = graphs.listed(self.declared)
        return f"it takes images of {self.channels} channels, {declared}; expected 1 or 3 channels."

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of an image as the file takes it, without the batch."""
        sides = self.height, self.width
        return (*sides, self.channels) if self.channels_last else (self.channels, *sides)

    @property
    def layout(self) -> str:
        """In letters."""
        return "NHWC" if self.channels_last else "NCHW"


def signature_of(
    model: "ModelProto", wanted: tuple[int, int, int] | None = None, beside: tuple[int, int] | None = None
) -> Signature:
    """Find out what a file takes.

    Args:
        model: well formed; see `cnnkit.runtime.guard`.
        wanted: channels, height and width that the user names.
        beside: height and width that a file beside it names.

    Raises:
        OnnxError: it does not take images, or no size of theirs that fits is known.
        UsageError: the file does not take what the user names.
    """
    inputs = graphs.real_inputs(model.graph)
    if len(inputs) != 1 or len(graphs.dimensions(inputs[0])) != 4:
        found = "; ".join(f"{each.name} {graphs.listed(graphs.dimensions(each))}" for each in inputs) or "none"
        raise OnnxError(f"it is not an image classifier: expected one input of four dimensions, found {found}.")
    kind = inputs[0].type.tensor_type.elem_type
    if kind not in _KINDS:
        from onnx import TensorProto

        known = TensorProto.DataType.Name(kind).lower() if kind in TensorProto.DataType.values() else "unknown"
        raise OnnxError(
            f"its input {inputs[0].name} is of {known} numbers; expected {', '.join(_KINDS.values())}. Put a Cast "
            "in front of it, or export it again."
        )
    return _Resolving(model, inputs[0].name, graphs.dimensions(inputs[0]), _KINDS[kind], wanted, beside).resolved()


class _Resolving:
    """Works out the dimensions one after the other."""

    def __init__(
        self,
        model: "ModelProto",
        name: str,
        declared: tuple[int | str, ...],
        dtype: str,
        wanted: tuple[int, int, int] | None,
        beside: tuple[int, int] | None,
    ) -> None:
        self._model, self._name, self._declared, self._dtype, self._wanted = model, name, declared, dtype, wanted
        self._described = (side_in(model), "by the file's metadata"), (beside, "by what is said beside the file")
        graph = model.graph
        self._entry, self._trains = entry_of(graph, name), _training_operation(graph)
        self._guesses: list[str] = []
        self._visits = 0

    def resolved(self) -> Signature:
        last = self._channels_last()
        return self._either() if last is None else self._with(last)

    def _either(self) -> Signature:
        """Where nothing shows the layout, take the one that fits the layers; where both do, the usual one."""
        usual = self._dtype == "uint8"
        for last in (usual, not usual):
            self._guesses = [f"layout {'NHWC' if last else 'NCHW'}: nothing in the file shows it"]
            with suppress(OpenSizeError):
                found = self._with(last)
                if self._takes(found.channels, found.height, found.width, last):
                    return found
        return self._with(usual)

    def _with(self, last: bool) -> Signature:
        channels = self._channels(3 if last else 1)
        height, width = self._sides(channels, last)
        batch = self._declared[0]
        return Signature(
            self._name, self._dtype, self._declared, last, channels, height, width,
            batch if isinstance(batch, int) else None, self._entry, tuple(self._guesses), self._trains,
        )  # fmt: skip

    def _channels_last(self) -> bool | None:
        """Tell the layout by the first weights, the sizes, or the names of dimensions; None where they do not."""
        first, last = self._declared[1], self._declared[3]
        if self._entry.channel_axis in {1, 3}:
            return self._entry.channel_axis == 3
        few = [isinstance(each, int) and each <= 4 for each in (first, last)]
        if isinstance(first, int) != isinstance(last, int) and any(few):
            return few[1]
        may_be_first = not isinstance(first, int) or first in {1, 3}
        may_be_last = not isinstance(last, int) or last in {1, 3}
        if may_be_first != may_be_last:
            return may_be_last
        if not may_be_first:
            return False
        known = [isinstance(each, int) for each in (first, last)]
        if known[0] != known[1]:
            return known[1]
        named = [isinstance(each, str) and _CHANNELS.search(each) is not None for each in (first, last)]
        if named[0] != named[1]:
            return named[1]
        return None

    def _channels(self, axis: int) -> int:
        declared, shown, wanted = self._declared[axis], self._entry.channels, self._wanted and self._wanted[0]
        if isinstance(declared, int) and shown is not None and declared != shown:
            raise OnnxError(
                f"it declares {declared} channels in {graphs.listed(self._declared)}; its first layer takes {shown}."
            )
        found = declared if isinstance(declared, int) else shown
        if wanted is not None and found not in {None, wanted}:
            raise UsageError(self._contradicted())
        if found is not None:
            return found
        if wanted is not None:
            return wanted
        guessed, *_ = next(self._fitting_features(), (3,))
        self._guesses.append(f"{counted(guessed, 'channel')}: the graph leaves them open")
        return guessed

    def _fitting_features(self) -> Iterator[tuple[int, int, int]]:
        """Yield channels and a square side that have as many values as the first weights take."""
        for channels in (3, 1):
            side = isqrt((self._entry.features or 0) // channels)
            if side and channels * side * side == self._entry.features:
                yield channels, side, side

    def _sides(self, channels: int, last: bool) -> tuple[int, int]:
        """Return height and width: declared, named by the user or the file, or those that the graph can take."""
        declared = self._declared[1:3] if last else self._declared[2:4]
        known = tuple(side if isinstance(side, int) else None for side in declared)
        if self._wanted is not None:
            if any(side not in {None, wanted} for side, wanted in zip(known, self._wanted[1:], strict=True)):
                raise UsageError(self._contradicted())
            known = self._wanted[1:]
        if all(side is not None for side in known):
            return self._bounded(known)
        for given, source in self._described:
            if given is not None and all(side in {None, own} for side, own in zip(known, given, strict=True)):
                self._guesses.append(f"size {given[0]}×{given[1]}: {source}")
                return self._bounded(given)
        for height, width in self._candidates(channels, known):
            if self._takes(channels, height, width, last):
                other = "" if USUAL_SIDE in {height, width} else f", and {USUAL_SIDE}×{USUAL_SIDE} does not fit"
                self._guesses.append(f"size {height}×{width}: the graph leaves it open{other}")
                return height, width
        raise OpenSizeError(
            f"it takes {graphs.listed(self._declared)}, and no usual size of an image fits its layers. Name the size, "
            f"as in --input {channels}x224x224."
        )

    def _candidates(self, channels: int, known: tuple[int | None, ...]) -> Iterator[tuple[int, int]]:
        own = next((side for side in known if side is not None), None)
        if own is None:
            yield from ((height, width) for found, height, width in self._fitting_features() if found == channels)
        elif other := (self._entry.features or 0) // (channels * own):
            yield known[0] or other, known[1] or other
        for side in (USUAL_SIDE, *_SIDES) if own is None else (own, USUAL_SIDE, *_SIDES):
            yield known[0] or side, known[1] or side

    def _takes(self, channels: int, height: int, width: int, last: bool) -> bool:
        """Whether shapes fit each other all through the graph, with scores for every image of a batch."""
        declared = self._declared[0]
        image = (height, width, channels) if last else (channels, height, width)
        # Two images tell the batch from a size of 1; layers may have been made for one all the same.
        for batch in (declared,) if isinstance(declared, int) else (2, 1):
            self._visits += len(self._model.graph.node)
            if self._visits > _MOST_VISITS:
                return False
            found = shapes.infer(self._model, {self._name: (batch, *image)})
            if found.failure:
                continue
            outputs = [found.shapes.get(each.name) for each in self._model.graph.output]
            if all(shape is None or shape[:1] in {(batch,), ()} for shape in outputs[:1]):
                return True
        return False

    def _bounded(self, sides: tuple[int | None, ...]) -> tuple[int, int]:
        height, width = (side or 0 for side in sides)
        if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE):
            raise OnnxError(f"it takes images of {height}×{width}; expected sides from 1 to {MAX_SIDE}.")
        return height, width

    def _contradicted(self) -> str:
        named = "x".join(map(str, self._wanted or ()))
        return f"it takes {self._name} {graphs.listed(self._declared)}, which --input {named} contradicts."


def _training_operation(graph: "GraphProto") -> str:
    """Return the type of an operation that drops values by chance, or normalises by the images beside one."""
    wiring = Wiring(graph)
    for node in graph.node:
        trains = node.op_type == "BatchNormalization" and graphs.attribute(node, "training_mode", 0) == 1
        if node.op_type == "Dropout" and len(node.input) > 2 and (flag := wiring.values(node.input[2])) is not None:
            trains = bool(flag.any())
        if trains and not node.domain:
            return str(node.op_type)
    return ""


def sizes_of(model: "ModelProto", signature: Signature | None) -> Mapping[str, shapes.Shape]:
    """Return the sizes of the inputs for one image, or for the batch that a file fixes."""
    if signature is not None:
        return {signature.name: (signature.batch or 1, *signature.shape)}
    return {
        each.name: tuple(
            size if isinstance(size, int) else USUAL_SIDE if place and len(graphs.dimensions(each)) == 4 else 1
            for place, size in enumerate(graphs.dimensions(each))
        )
        for each in graphs.real_inputs(model.graph)
        if each.type.tensor_type.HasField("shape")
    }

"""The first operations of an ONNX graph: they show which axis holds the channels, and how pixels are to be scaled."""

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cnnkit.runtime.foreign.traces import Met, is_faint, met_at, met_by
from cnnkit.runtime.foreign.wiring import Values, Wiring
from cnnkit.runtime.graphs import attribute

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto

_UNCHANGED = {"Cast", "Identity", "Dropout", "Pad", "Clip", "Resize", "Upsample", "QuantizeLinear", "DequantizeLinear"}
"""Operations after which the axes are what they were, and the values as large."""
_LONGEST = 32
"""Operations that are followed: preprocessing is short."""


@dataclass
class Entry:
    """What the first operations of a graph say of its images [N, ?, ?, ?].

    Attributes:
        channel_axis: of the input, where an operation shows it.
        channels: that the first weights take.
        features: values of an image, where the first weights take all of them at once.
        scale, shift: `scale * x + shift` is what the graph makes of each channel before its first weights, in the
            order that they have then.
        scales: the graph does so.
        reversed: the graph turns the order of the channels round, before it shifts them.
        normalises: it brings every image to a mean and deviation of its own.
        met: the values that it was trained on, where its first batch normalisation shows them.
        faint: its first weights are so small that it takes values far above 1.
    """

    channel_axis: int | None = None
    channels: int | None = None
    features: int | None = None
    scale: Values | None = None
    shift: Values | None = None
    reversed: bool = False
    normalises: bool = False
    met: Met | None = None
    faint: bool = False

    @property
    def scales(self) -> bool:
        """Whether the values change before the first weights."""
        return self.scale is not None

    @property
    def middle(self) -> Values | None:
        """The value of each channel that becomes zero, in the order of the input; None where none is shifted."""
        if self.scale is None or self.shift is None or not self.shift.any():
            return None
        middle = -self.shift / self.scale
        return middle[::-1] if self.reversed else middle


def entry_of(graph: "GraphProto", name: str) -> Entry:
    """Follow an input through the operations that only prepare it, up to the first weights.

    Args:
        graph: with local functions replaced by their bodies.
        name: of an input of four dimensions.
    """
    path = _Path(graph, name)
    with suppress(IndexError, ValueError):  # axes that are not there, strings for numbers: the guard says so
        path.follow()
    return path.found


class _Path:
    """Where the images are, on their way from the input."""

    def __init__(self, graph: "GraphProto", name: str) -> None:
        self._at = name
        self._axes: list[int | None] = [0, 1, 2, 3]
        self._wiring = Wiring(graph)
        self.found = Entry()

    def follow(self) -> None:
        for _ in range(_LONGEST):
            users = [node for node in self._wiring.users(self._at) if node.op_type != "Shape"]
            # A network may branch at once; the weights of any branch show the channels.
            if not (self._step(users[0]) if len(users) == 1 else self._branched(users)):
                break

    def _step(self, node: "NodeProto") -> bool:
        """Take one operation into account; return whether the images can be followed beyond it."""
        kind = node.op_type
        if kind in _UNCHANGED:
            if node.input[0] != self._at:
                return False
            self._at = node.output[0]
            return True
        if kind == "Transpose":
            order = attribute(node, "perm", list(range(len(self._axes)))[::-1])
            self._axes = [self._axes[axis] for axis in order]
        elif kind in {"Add", "Sub", "Mul", "Div"}:
            if not self._arithmetic(node):
                return False
        elif kind == "BatchNormalization":
            if not self._batch_norm(node):
                return False
        elif kind in {"Slice", "Gather"}:
            if not self._reordered(node):
                return False
        elif kind in {"Flatten", "Reshape"}:
            return self._flattened(node)
        elif kind == "Split":
            return self._rejoined(node)
        elif not (kind == "Conv" and self._pointwise(node)):
            self._weights(node)
            return False
        self._at = node.output[0]
        return True

    def _show_channels(self, axis: int, count: int) -> None:
        """Note that an axis, as it lies now, holds so many channels."""
        if self.found.channel_axis is None and len(self._axes) == 4 and self._axes[axis] is not None:
            self.found.channel_axis = self._axes[axis]
        if self.found.channels is None:
            self.found.channels = count

    def _weights(self, node: "NodeProto") -> bool:
        """Note what an operation with weights takes; return whether it is one."""
        if node.op_type in {"Conv", "ConvInteger", "QLinearConv"} and len(self._axes) == 4:
            shape = self._wiring.shape(node.input[3 if node.op_type == "QLinearConv" else 1])
            if shape is not None and len(shape) == 4:
                self._show_channels(1, shape[1] * attribute(node, "group", 1))
                self._trace(node)
                return True
        elif node.op_type == "InstanceNormalization":
            self.found.normalises = True
            shape = self._wiring.shape(node.input[1])
            if shape:
                self._show_channels(1, shape[0])
            return True
        elif node.op_type in {"Gemm", "MatMul"} and node.input[0] == self._at:
            shape = self._wiring.shape(node.input[1])
            if shape is not None and len(shape) == 2:
                taken = shape[1] if attribute(node, "transB", 0) else shape[0]
                if len(self._axes) == 2:
                    self.found.features = taken
                else:
                    self._show_channels(len(self._axes) - 1, taken)
                return True
        return False

    def _trace(self, node: "NodeProto") -> None:
        """Note what a first convolution shows of the values that it was trained on."""
        weights = self._wiring.values(node.input[1])
        if weights is None or attribute(node, "group", 1) != 1 or node.op_type != "Conv" or self.found.met:
            return
        bias = self._wiring.values(node.input[2]) if len(node.input) > 2 else np.zeros(len(weights))
        if bias is None:
            return
        self.found.faint = is_faint(weights, bias)
        users = self._wiring.users(node.output[0])
        if len(users) == 1 and users[0].op_type == "BatchNormalization":
            mean, variance = (self._wiring.values(name) for name in users[0].input[3:5])
            if mean is not None and variance is not None:
                self.found.met = met_by(weights, bias, mean, variance)

    def _flattened(self, node: "NodeProto") -> bool:
        """Follow a whole image laid out in a row, and no other change of shape."""
        if node.op_type == "Flatten":
            if attribute(node, "axis", 1) != 1:
                return False
        else:
            target = self._wiring.values(node.input[1])
            if target is None or len(target) != 2:
                return False
        self._axes, self._at = [0, None], node.output[0]
        return True

    def _arithmetic(self, node: "NodeProto") -> bool:
        if len(node.input) != 2:
            return False
        first = node.input[0] == self._at
        values = self._wiring.values(node.input[1 if first else 0])
        if values is None or node.input[0] == node.input[1]:
            return False
        aligned = self._by_channel(values)
        if aligned is None:
            return False
        kind = node.op_type
        if kind == "Div" and not (first and aligned.all()):
            return False
        if kind == "Mul":
            self._affine(aligned, np.zeros(1))
        elif kind == "Div":
            self._affine(1 / aligned, np.zeros(1))
        elif kind == "Add":
            self._affine(np.ones(1), aligned)
        else:
            self._affine(np.ones(1) if first else -np.ones(1), -aligned if first else aligned)
        return True

    def _batch_norm(self, node: "NodeProto") -> bool:
        stored = [self._wiring.values(name) for name in node.input[1:5]]
        if any(values is None for values in stored):
            return False
        scale, shift, mean, variance = (np.asarray(values) for values in stored)
        self._show_channels(1, len(scale))
        if self.found.scale is None and (met := met_at(mean, variance)) is not None:
            # It undoes no scaling: it normalises what was scaled in training, too.
            self.found.met = met
            return True
        factor = scale / np.sqrt(variance + attribute(node, "epsilon", 1e-5))
        self._affine(factor, shift - mean * factor)
        return True

    def _pointwise(self, node: "NodeProto") -> bool:
        """Follow a 1×1 convolution that only scales and shifts each channel, in their order or the opposite one."""
        weights = self._wiring.values(node.input[1])
        bias = self._wiring.values(node.input[2]) if len(node.input) > 2 else np.zeros(1)
        moves = attribute(node, "strides", [1, 1]) != [1, 1] or any(attribute(node, "pads", ()))
        if weights is None or bias is None or moves or len(self._axes) != 4 or weights.shape[2:] != (1, 1):
            return False
        count, table = len(weights), weights[:, :, 0, 0]
        if attribute(node, "group", 1) == count and table.shape[1] == 1:
            table = np.diag(table[:, 0])
        if table.shape != (count, count) or count not in {1, 3}:
            return False
        turned = not table[0, 0]
        table = table[:, ::-1] if turned else table
        if not np.diag(table).all() or np.count_nonzero(table) != count:
            return False
        self._show_channels(1, count)
        if turned:
            self._turn()
        self._affine(np.diag(table), bias)
        return True

    def _affine(self, scale: Values, shift: Values) -> None:
        before = (np.ones(1), np.zeros(1)) if self.found.scale is None else (self.found.scale, self.found.shift)
        self.found.scale = before[0] * scale
        self.found.shift = np.asarray(before[1]) * scale + shift

    def _by_channel(self, values: Values) -> Values | None:
        """Return the values that a constant has for the channels, one for all of them, or None for other constants."""
        if values.size == 1:
            return values.reshape(1)
        shape = (1,) * (len(self._axes) - values.ndim) + values.shape
        long = [axis for axis, size in enumerate(shape) if size > 1]
        if len(shape) != 4 or len(long) != 1 or shape[long[0]] not in {3, 4}:
            return None
        self._show_channels(long[0], shape[long[0]])
        return values.reshape(-1)

    def _reordered(self, node: "NodeProto") -> bool:
        """Follow a `Gather` or `Slice` that turns the order of the channels round."""
        axis = attribute(node, "axis", 0)
        if node.op_type == "Gather":
            order = self._wiring.values(node.input[1])
        else:
            parts = [self._wiring.values(name) for name in node.input[1:5]]
            if len(parts) < 4 or any(part is None or part.size != 1 for part in parts):
                return False
            axis, step = (int(np.asarray(part).item()) for part in parts[2:])
            if step == 1:  # a part of each side
                return self._axes[axis] not in {self.found.channel_axis, 0}
            order = np.arange(3.0)[::-1] if step == -1 else None
        if order is None or list(order) != [2, 1, 0]:
            return False
        self._show_channels(axis % 4, 3)
        self._turn()
        return True

    def _branched(self, users: "list[NodeProto]") -> bool:
        """Follow single channels that are put together again, in the opposite order or the same."""
        if any(map(self._weights, users)):
            return False
        picked: dict[str, int] = {}
        axes = set()
        for user in users:
            if (single := self._wiring.picked(user)) is None:
                return False
            axes.add(single[0])
            kept = self._wiring.users(user.output[0])  # a Gather by a number drops the axis
            name = kept[0].output[0] if len(kept) == 1 and kept[0].op_type == "Unsqueeze" else user.output[0]
            picked[name] = single[1] % 3
        joined = {id(each): each for name in picked for each in self._wiring.users(name)}
        if len(joined) != 1 or len(axes) != 1:
            return False
        (last,) = joined.values()
        order = [picked.get(name) for name in last.input]
        if last.op_type != "Concat" or order not in ([2, 1, 0], [0, 1, 2]):
            return False
        self._show_channels(axes.pop() % 4, 3)
        if order == [2, 1, 0]:
            self._turn()
        self._at = last.output[0]
        return True

    def _rejoined(self, node: "NodeProto") -> bool:
        """Follow channels that are taken apart and put together again, in the opposite order or the same."""
        joined = {id(each): each for name in node.output for each in self._wiring.users(name)}
        if len(joined) != 1:
            return False
        (last,) = joined.values()
        parts = list(node.output)
        if last.op_type != "Concat" or list(last.input) not in (parts, parts[::-1]):
            return False
        if list(last.input) != parts:
            if len(parts) != 3:
                return False
            self._show_channels(attribute(node, "axis", 0) % 4, 3)
            self._turn()
        self._at = last.output[0]
        return True

    def _turn(self) -> None:
        self.found.reversed = not self.found.reversed
        if self.found.scale is not None and self.found.shift is not None:
            self.found.scale, self.found.shift = self.found.scale[::-1], self.found.shift[::-1]

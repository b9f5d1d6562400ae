"""The first operations of an ONNX graph: they show which axis holds the channels, and how pixels are to be scaled."""

from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from cnnkit.runtime.foreign.entry import Entry
from cnnkit.runtime.foreign.traces import is_faint, met_at, met_by
from cnnkit.runtime.foreign.wiring import Values, Wiring
from cnnkit.runtime.graphs import attribute

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto

_UNCHANGED = {"Cast", "Identity", "Dropout", "Pad", "Clip", "Resize", "Upsample", "QuantizeLinear", "DequantizeLinear"}
"""Operations after which the axes are what they were, and the values as large."""
_LONGEST = 32
"""Operations that are followed: preprocessing is short."""


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
        found = self._wiring.per_channel(node) if len(self._axes) == 4 else None
        if found is None:
            return False
        factor, shift, turned = found
        self._show_channels(1, len(factor))
        if turned:
            self._turn()
        self._affine(factor, shift)
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
            parts = [self._wiring.whole_numbers(name) for name in node.input[1:5]]
            if len(parts) < 4 or any(part is None or len(part) != 1 for part in parts):
                return False
            axis, step = (part[0] for part in parts[2:] if part)
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

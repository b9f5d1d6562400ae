"""The first layer in which an ONNX file and its PyTorch network part, found by comparing intermediate values.

Values belong together by the names of layers that the exporter left on the nodes, and in files without these by shape
and closeness. From the logits, the graph is walked back to the values that agree: what lies between holds the fault.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from torch import nn

from cnnkit.certificate import TOLERANCE
from cnnkit.errors import OnnxError
from cnnkit.exporting.results import LayerParity
from cnnkit.exporting.values import Array, Call, Graph
from cnnkit.runtime.graphs import layer_name

OPERATORS: dict[type[nn.Module], tuple[str, ...]] = {
    nn.Conv2d: ("Conv",),
    nn.Linear: ("Gemm", "MatMul"),
    nn.BatchNorm2d: ("BatchNormalization",),
    nn.MaxPool2d: ("MaxPool",),
    nn.AvgPool2d: ("AveragePool",),
    nn.ReLU: ("Relu",),
    nn.Sigmoid: ("Sigmoid",),
    nn.Tanh: ("Tanh",),
    nn.LeakyReLU: ("LeakyRelu",),
    nn.ELU: ("Elu",),
}
"""What a layer becomes in ONNX."""


_SAMPLE = 97
"""Every so many values are looked at before all are: most pairs that do not belong together differ there already."""


@dataclass(frozen=True)
class Parting:
    """The first layer that differs, and what in the file may be to blame.

    Attributes:
        call: of the layer in PyTorch.
        folded: what the exporter folded into it.
        node: that computes the layer in the file.
        value: what the file gives in its place; None where it gives nothing.
        before: nodes between the last values that agree and this one, which belong to no layer.
        same_input: what goes into the node is what goes into the layer.
        layers: how every layer compares.
    """

    call: Call
    folded: tuple[Call, ...]
    node: onnx.NodeProto
    value: Array | None
    before: tuple[onnx.NodeProto, ...]
    same_input: bool
    layers: tuple[LayerParity, ...]


def locate(
    calls: Sequence[Call], graph: Graph, values: dict[str, Array], output: str, stopped: onnx.NodeProto | None = None
) -> Parting | None:
    """Find the first layer that differs; None where even the scores agree.

    Args:
        calls: of the PyTorch network; the last is its own.
        graph: of the file.
        values: of the graph for the same images, by name, and what it takes.
        output: name of the scores in the graph.
        stopped: the first node that could not run.

    Raises:
        OnnxError: they differ, and nothing in the file computes them.
    """
    match = _Match(calls, graph, values, output)
    agreed = set(match.found.values())
    if stopped is None and output in agreed:
        return None
    ends = [output] if stopped is None else list(stopped.output)
    before: list[onnx.NodeProto] = []
    region = sorted({place for end in ends for place in graph.between(end, agreed)})
    for place in region:
        node = graph.nodes[place]
        index = match.layer_of(place)
        if index is None and place != region[-1]:
            before.append(node)
            continue
        if index is None:
            index = len(calls) - 1
        else:
            # Casts and the like may surround the operation that the layer is about.
            own = (graph.nodes[other] for other in region if match.layer_of(other) == index)
            node = next((other for other in own if other.op_type in operators_of(calls[index].module)), node)
        index, folded = match.unfold(index, node)
        call = calls[index]
        return Parting(
            call=call,
            folded=tuple(calls[other] for other in folded),
            node=node,
            value=values.get(match.counterpart((index, *folded)[-1], node)),
            before=tuple(other for other in before if any(name in values for name in other.output)),
            same_input=any(_close(values[name], call.given) for name in node.input if name in values),
            layers=match.table({(index, *folded)[-1]: node}),
        )
    raise OnnxError("the scores differ, but nothing in the file computes them.")


def operators_of(module: nn.Module) -> tuple[str, ...]:
    """Return what a layer becomes in ONNX; nothing where that may be several things."""
    return next((operators for kind, operators in OPERATORS.items() if isinstance(module, kind)), ())


class _Match:
    """Which value of the graph is the output of which layer."""

    def __init__(self, calls: Sequence[Call], graph: Graph, values: dict[str, Array], output: str) -> None:
        self._calls, self._graph, self._values, self._output = calls, graph, values, output
        self._named = any(graph.scopes)
        self.found: dict[int, str] = {}
        """The value that agrees, by the position of the call."""
        for index, call in enumerate(calls):
            candidates = [output] if index == len(calls) - 1 else self._candidates(index)[::-1] or list(values)
            scale = TOLERANCE if index == len(calls) - 1 else 0.0
            close = (name for name in candidates if name in values and _close(values[name], call.output, scale))
            if (name := next(close, None)) is not None:
                self.found[index] = name

    def _candidates(self, index: int) -> list[str]:
        """Return the values that the exporter's names give to a layer, those of this call if there are several."""
        name = self._calls[index].name
        calls = [other for other, call in enumerate(self._calls) if call.name == name]
        # A file that was exported without the normalisation before it has no outer name.
        wanted = {name, layer_name(name)}
        nodes = zip(self._graph.nodes, self._graph.scopes, strict=True)
        outputs = [out for node, scopes in nodes if wanted & {*scopes} for out in node.output if out in self._values]
        each = len(outputs) // len(calls)
        return outputs[calls.index(index) * each :][:each] if len(outputs) == each * len(calls) else outputs

    def layer_of(self, place: int) -> int | None:
        """Return the first call that differs and that a node has a part in."""
        node = self._graph.nodes[place]
        index = self._by_name(place) if self._named else self._by_kind(node)
        if index is None or 0 in self.found or self._candidates(0):
            return index
        # Where the file is given normalised images, these are what its first layer takes.
        shape = self._calls[0].output.shape
        return 0 if any(self._values[name].shape == shape for name in node.input if name in self._values) else index

    def _by_name(self, place: int) -> int | None:
        scopes = {*self._graph.scopes[place]}
        for index, call in enumerate(self._calls[:-1]):
            if index not in self.found and {call.name, layer_name(call.name)} & scopes:
                return index
        return None

    def _by_kind(self, node: onnx.NodeProto) -> int | None:
        kinds = tuple(kind for kind, operators in OPERATORS.items() if node.op_type in operators)
        # It comes after the layer whose output goes into it.
        start = max((index for index, name in self.found.items() if name in node.input), default=-1) + 1
        fitting = [
            index
            for index in range(start, len(self._calls) - 1)
            if isinstance(self._calls[index].module, kinds) and index not in self.found and not self._is_covered(index)
        ]
        value = self._values.get(node.output[0])
        same = [index for index in fitting if value is not None and value.shape == self._calls[index].output.shape]
        return next(iter(same or fitting), None)

    def _is_covered(self, index: int) -> bool:
        """Whether a layer was folded with the next one, and that agrees."""
        return index + 1 in self.found and self._feeds_norm(index)

    def _feeds_norm(self, index: int) -> bool:
        after = self._calls[index + 1]
        return isinstance(after.module, nn.BatchNorm2d) and _close(after.given, self._calls[index].output)

    def unfold(self, index: int, node: onnx.NodeProto) -> tuple[int, tuple[int, ...]]:
        """Return the layer that a node stands for, and those that were folded into it."""
        weighted = node.op_type in {"Conv", "Gemm", "MatMul"}
        if weighted and isinstance(self._calls[index].module, nn.BatchNorm2d) and index and self._feeds_norm(index - 1):
            return index - 1, (index,)
        normed = any(
            other.op_type == "BatchNormalization" for other in self._graph.nodes if {*node.output} & {*other.input}
        )
        if weighted and not normed and index + 1 < len(self._calls) and self._feeds_norm(index):
            return index, (index + 1,)
        return index, ()

    def counterpart(self, index: int, node: onnx.NodeProto | None = None) -> str:
        """Return the name of the value in a layer's place, empty where there is none; `node` computes some of it."""
        if index in self.found:
            return self.found[index]
        if index == len(self._calls) - 1:
            return self._output
        if names := self._candidates(index):
            return names[-1]
        if node is None:
            return ""
        if index == 0:
            shape = self._calls[0].output.shape
            inputs = (name for name in node.input if name in self._values and self._values[name].shape == shape)
            return next(inputs, str(node.output[0]))
        # A linear layer may be a product and a sum.
        sums = (str(n.output[0]) for n in self._graph.nodes if n.op_type == "Add" and node.output[0] in n.input)
        own = str(node.output[0])
        return next(sums, own) if node.op_type == "MatMul" else own

    def table(self, nodes: dict[int, onnx.NodeProto]) -> tuple[LayerParity, ...]:
        """Return how every layer compares; `nodes` compute those that no name finds."""
        rows = []
        for index, call in enumerate(self._calls):
            name = self.counterpart(index, nodes.get(index))
            value = self._values.get(name)
            same = value is not None and value.shape == call.output.shape
            rows.append(
                LayerParity(
                    layer=layer_name(call.name),
                    kind=type(call.module).__name__ if index < len(self._calls) - 1 else "",
                    value=name,
                    max_absolute_difference=difference(value, call.output) if value is not None and same else None,
                    largest=float(np.abs(call.output).max()),
                    agrees=True if index in self.found else False if name else None,
                )
            )
        return tuple(rows)


def difference(one: Array, other: Array) -> float:
    """Return the largest absolute difference of two values of one shape; infinite where either is no number."""
    with np.errstate(invalid="ignore"):
        differences = np.abs(one.astype(np.float64) - other)
    return float(np.where(np.isfinite(differences), differences, np.inf).max(initial=0))


def _close(value: Array, expected: Array, least: float = 0.0) -> bool:
    """Whether two values differ by no more than float32 rounds, in proportion to the largest of each image."""
    if value.shape != expected.shape or not value.size:
        return False
    rows, wanted = value.reshape(len(value), -1).astype(np.float64), expected.reshape(len(expected), -1)
    allowed = np.maximum(least, TOLERANCE / 10 * np.abs(wanted).max(1, keepdims=True))
    return all(bool((np.abs(rows[:, ::step] - wanted[:, ::step]) <= allowed).all()) for step in (_SAMPLE, 1))

"""A PyTorch network beside the ONNX graph that it became: each layer with its nodes."""

import itertools
from collections.abc import Iterator, Mapping

from onnx import NodeProto

from cnnkit.inspection.graph import Graph
from cnnkit.inspection.results import ComparedRow, GraphComparison, LayerRow, ModelSummary
from cnnkit.inspection.summary import summarize_network
from cnnkit.runtime.graphs import layer_name, scopes
from cnnkit.sources import Ref

# Operators that a layer without weights becomes, for files whose nodes do not say where they come from.
_OPERATORS = {
    "ReLU": {"Relu"}, "ReLU6": {"Clip"}, "LeakyReLU": {"LeakyRelu"}, "PReLU": {"PRelu"}, "ELU": {"Elu"},
    "SiLU": {"Mul", "Swish"}, "Hardswish": {"HardSwish"}, "Hardsigmoid": {"HardSigmoid"}, "GELU": {"Gelu", "Mul"},
    "Sigmoid": {"Sigmoid"}, "Tanh": {"Tanh"}, "Softmax": {"Softmax"}, "LogSoftmax": {"LogSoftmax"},
    "MaxPool2d": {"MaxPool"}, "AvgPool2d": {"AveragePool"},
    "AdaptiveAvgPool2d": {"GlobalAveragePool", "AveragePool", "ReduceMean"}, "AdaptiveMaxPool2d": {"GlobalMaxPool"},
    "Flatten": {"Flatten", "Reshape"}, "Dropout": {"Dropout", "Identity"}, "Identity": {"Identity"},
    "Conv2d": {"Conv"}, "ConvTranspose2d": {"ConvTranspose"}, "Linear": {"Gemm", "MatMul"},
    "BatchNorm2d": {"BatchNormalization"}, "BatchNorm1d": {"BatchNormalization"},
    "LayerNorm": {"LayerNormalization"}, "LocalResponseNorm": {"LRN"},
}  # fmt: skip
_FOLDED = {"BatchNorm1d", "BatchNorm2d"}
_FOLDED_INTO = {"Conv", "ConvTranspose", "Gemm"}


def compare(graph: Graph, ref: Ref, *, trust_code: bool = False) -> GraphComparison:
    """Set a PyTorch network beside a graph.

    Nodes say which module they come from, in their metadata or by the names of their weights. The others are taken in
    order: a node belongs to the next layer that becomes such an operator and has its output shape.

    Args:
        graph: of the file.
        ref: a PyTorch network.
        trust_code: import the network that a checkpoint's card names as `module:factory`.

    Raises:
        UnknownNameError: no such network.
        ForwardError: the network does not take such an input.
    """
    network = summarize_network(ref, batch=graph.summary.batch, shape=_image_shape(graph), trust_code=trust_code)
    layers = {row.name: row for row in network.layers}
    owners = [_owners(node, weights, layers) for node, weights in zip(graph.nodes, graph.weights, strict=True)]
    _take_in_order(owners, graph, network)
    return GraphComparison(
        reference=network.model,
        rows=tuple(_rows(graph.summary.layers, owners, network)),
        parameters=network.parameters,
        multiply_adds=network.multiply_adds,
    )


def _image_shape(graph: Graph) -> tuple[int, int, int] | None:
    """Return channels, height and width of the only input, where it is an image."""
    sizes = [given.shape for given in graph.summary.inputs]
    if len(sizes) != 1 or len(sizes[0]) != 3:
        return None
    first, second, third = sizes[0]
    return (third, first, second) if third in {1, 3} and first not in {1, 3} else (first, second, third)


def _owners(node: NodeProto, weights: frozenset[str], layers: Mapping[str, LayerRow]) -> set[str]:
    """Return the layers that a node says to come from: more than one where it was fused."""
    found = {layer_name(weight.rpartition(".")[0]) for weight in weights}
    modules = [layer_name(scope) for scope in scopes(node)]
    named = [name for name in modules if name in layers][-1:]
    # The exporter joins a flattening with the one inside a linear layer, under the name of that.
    flattens = node.op_type in _OPERATORS["Flatten"]
    found |= {name for name in named if not (flattens and layers[name].kind == "Linear")}
    return found & layers.keys()


def _take_in_order(owners: list[set[str]], graph: Graph, network: ModelSummary) -> None:
    """Give nodes that do not say where they come from to layers that have none, in their order."""
    leaves = sorted((row for row in network.layers if row.is_leaf), key=lambda row: row.order)
    places = {row.name: place for place, row in enumerate(leaves)}
    last = -1
    for index, row in enumerate(graph.summary.layers):
        known = [places[name] for name in owners[index] if name in places]
        if known:
            last = max(known)
            continue
        taken = {name for names in owners for name in names}
        ahead = [places[name] for names in owners[index + 1 :] for name in names if places.get(name, -1) > last]
        for place in range(last + 1, min(ahead, default=len(leaves))):
            layer = leaves[place]
            fits = row.kind in _OPERATORS.get(layer.kind, set()) and row.output_shape == layer.output_shape
            if fits and layer.name not in taken:
                owners[index].add(layer.name)
                last = place
                break
    taken = {name for names in owners for name in names}
    for before, layer in itertools.pairwise(leaves):
        if layer.kind in _FOLDED and layer.name not in taken:
            for names, row in zip(owners, graph.summary.layers, strict=True):
                if before.name in names and row.kind in _FOLDED_INTO and row.output_shape == layer.output_shape:
                    names.add(layer.name)


def _rows(nodes: tuple[LayerRow, ...], owners: list[set[str]], network: ModelSummary) -> Iterator[ComparedRow]:
    """Yield the layers in their order; nodes of no layer stand before the layer whose nodes come next."""
    waiting = [index for index, names in enumerate(owners) if not names]
    shown: set[int] = set()
    for layer in network.layers:
        own = [index for index, names in enumerate(owners) if layer.name in names]
        if not own and not layer.is_leaf:
            continue
        while waiting and own and waiting[0] < own[0]:
            yield _alone(nodes[waiting.pop(0)])
        fused = bool(own) and shown.issuperset(own)
        shown.update(own)
        found = tuple(nodes[index] for index in own)
        partners = set().union(*(owners[index] for index in own)) if own else set()
        work = sum(row.multiply_adds for row in network.layers if row.name in partners and row.is_leaf)
        same_work = not layer.is_leaf or sum(row.multiply_adds for row in found) == work
        agrees = same_work and found[-1].output_shape == layer.output_shape if found else not layer.multiply_adds
        yield ComparedRow(layer, found, fused=fused, agrees=agrees)
    for index in waiting:
        yield _alone(nodes[index])


def _alone(node: LayerRow) -> ComparedRow:
    return ComparedRow(None, (node,), fused=False, agrees=not node.multiply_adds)

"""What looking into a network shows: layers, graphs and explanations."""

from dataclasses import dataclass

from cnnkit.runtime.results import GraphProfile


@dataclass(frozen=True)
class LayerRow:
    """One layer of a network, or one node of a file.

    Attributes:
        name: dotted path of the module.
        kind: class of the module.
        depth: 1 for the children of the network.
        output_shape: without the batch; several outputs give the first.
        parameters: of this module and what it contains, shared ones counted once.
        multiply_adds: of the whole batch.
        is_leaf: it contains no other module that has a row.
    """

    name: str
    kind: str
    depth: int
    output_shape: tuple[int, ...]
    parameters: int
    multiply_adds: int
    is_leaf: bool


@dataclass(frozen=True)
class ModuleRow(LayerRow):
    """A module that was called, or one that only holds others that were.

    Attributes:
        input_shape: without the batch; several inputs give the first.
        kernel: height and width of a window, as many as it has; nothing for a layer without one.
        trainable_parameters: as `parameters`, without frozen ones.
        memory_mb: of what it writes for the whole batch: its outputs, without views and what is done in place; of a
            module with others in it, of theirs.
        receptive_field: height and width in pixels, on the input of this size, that one place of the output depends on:
            the largest over all places; nothing where it is not known, or no image plays a part.
        receptive_field_lost: the operator, and why, after which it is not known; empty where it is, or no image plays a
            part.
        calls: times it ran; multiply-adds and memory are of all of them.
        order: place in the order in which modules first ran.
        repeats: of modules alike, one after another, that this row stands for; its numbers are of one.
        failed: it refused what it was given.
    """

    input_shape: tuple[int, ...] = ()
    kernel: tuple[int, ...] = ()
    trainable_parameters: int = 0
    memory_mb: float = 0.0
    receptive_field: tuple[int, ...] = ()
    receptive_field_lost: str = ""
    calls: int = 1
    order: int = 0
    repeats: int = 1
    failed: bool = False


@dataclass(frozen=True)
class ModelSummary:
    """The layers of a network and their totals.

    Attributes:
        model: as it was named.
        input_shapes: one for each input, without the batch; of images channels, height, width.
        batch: that the multiply-adds and the memory are for.
        layers: each below the one that contains it, in the order in which they first ran; those that a failure left
            out are missing.
        parameters: of the whole network, whether they have a row or not.
        trainable_parameters: without frozen ones.
        multiply_adds: of the whole network, as far as it ran.
        size_mb: of parameters and buffers.
        memory_mb: of what all layers write.
        own_parameters: of the network itself and of containers without a row, in none of the layers.
        idle: outermost modules with parameters that nothing used.
        idle_parameters: in these.
        unregistered_parameters: that were used, and that no module has as its own, so that no optimizer gets them.
        device: `meta`, where nothing is computed; `cpu` for a network that goes by the values that it sees.
        failure: what ended the run before its end.
    """

    model: str
    input_shapes: tuple[tuple[int, ...], ...]
    batch: int
    layers: tuple[ModuleRow, ...]
    parameters: int
    trainable_parameters: int
    multiply_adds: int
    size_mb: float
    memory_mb: float = 0.0
    own_parameters: int = 0
    idle: tuple[str, ...] = ()
    idle_parameters: int = 0
    unregistered_parameters: int = 0
    device: str = "meta"
    failure: "LayerFailure | None" = None


@dataclass(frozen=True)
class LayerFailure:
    """A layer that refused what it was given.

    Attributes:
        layer: dotted path, empty for the network itself.
        kind: class of the module.
        given: shapes of its inputs, without the batch.
        reason: what it expects and what it got.
        fitting_input: of the network, that would have gone through; None where none was found.
    """

    layer: str
    kind: str
    given: tuple[tuple[int, ...], ...]
    reason: str
    fitting_input: tuple[int, ...] | None = None


@dataclass(frozen=True)
class GraphInput:
    """An input of a graph; `shape` is without the batch, `dtype` is numpy's name."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class ComparedRow:
    """A PyTorch layer beside the ONNX nodes that it became.

    Attributes:
        layer: None for nodes that belong to no layer, as those of the normalisation in the file.
        nodes: none for a layer that does nothing at inference, as dropout; a node that two layers were fused into
            stands in both rows.
        fused: the nodes are also those of a row above.
        agrees: the same output shape, and the same multiply-adds.
    """

    layer: LayerRow | None
    nodes: tuple[LayerRow, ...]
    fused: bool
    agrees: bool


@dataclass(frozen=True)
class GraphComparison:
    """A PyTorch network beside an ONNX graph: totals are of the network."""

    reference: str
    rows: tuple[ComparedRow, ...]
    parameters: int
    multiply_adds: int


@dataclass(frozen=True)
class GraphSummary:
    """The nodes of an ONNX graph and their totals.

    Attributes:
        model: the file.
        inputs: of the graph.
        batch: that the multiply-adds and the profile are for.
        layers: one row a node, in the order of the file; shapes are empty where nobody can tell.
        parameters: of the graph; what the normalisation of pixels or batches holds as constants is none.
        multiply_adds: of the whole batch.
        size_mb: of all tensors in the file.
        opset: of the standard operators.
        ir_version: of the file's format.
        producer: what wrote the file.
        comparison: with a PyTorch network, where asked for.
        profile: of a measured run, where asked for.
        assumptions: what was guessed of its input, in words.
    """

    model: str
    inputs: tuple[GraphInput, ...]
    batch: int
    layers: tuple[LayerRow, ...]
    parameters: int
    multiply_adds: int
    size_mb: float
    opset: int
    ir_version: int
    producer: str
    comparison: GraphComparison | None = None
    profile: GraphProfile | None = None
    assumptions: tuple[str, ...] = ()

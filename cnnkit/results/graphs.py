"""What an ONNX file consists of, beside what it was exported from, and where its time goes."""

from dataclasses import dataclass

from cnnkit.results.inspection import LayerRow


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
class NodeTime:
    """A node as onnxruntime ran it, after its own optimisation.

    Attributes:
        name: onnxruntime's own.
        kind: operator.
        provider: which part of onnxruntime ran it, without `ExecutionProvider`.
        time_ms: mean of the measured runs.
        share: of the time of all nodes.
        file_nodes: the nodes of the file that it was made from, as far as names tell.
    """

    name: str
    kind: str
    provider: str
    time_ms: float
    share: float
    file_nodes: tuple[str, ...]


@dataclass(frozen=True)
class GraphProfile:
    """Where the time of a batch goes: mean of `runs` runs; `run_ms` also has what lies between the nodes."""

    runs: int
    run_ms: float
    nodes: tuple[NodeTime, ...]


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

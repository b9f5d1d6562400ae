"""What a network consists of."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LayerRow:
    """One layer of a network, in the order in which it ran.

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
class ModelSummary:
    """The layers of a network and their totals. `input_shape` is channels, height, width."""

    model: str
    input_shape: tuple[int, ...]
    batch: int
    layers: tuple[LayerRow, ...]
    parameters: int
    trainable_parameters: int
    multiply_adds: int
    size_mb: float

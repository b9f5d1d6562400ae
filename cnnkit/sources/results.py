"""What can be named as a model."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class ZooInfo:
    """A trained network of the zoo.

    Attributes:
        accuracy: of the data set's test split.
        test_images: number of images of that split, for the decimals; 0 where it is not known.
    """

    name: str
    dataset: str
    accuracy: float
    test_images: int = field(default=0, repr=False)


@dataclass(frozen=True)
class ModelInfo:
    """A line of the list of models; `reference_accuracy` is what its course or article reports on `dataset`."""

    name: str
    input_shape: tuple[int, int, int]
    parameters: int
    dataset: str
    reference_accuracy: float | None
    source: str
    zoo: tuple[ZooInfo, ...]

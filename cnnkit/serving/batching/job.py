"""One request's share of a batch."""

from asyncio import Future
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnkit.images import Prepared, Preprocessing


@dataclass(slots=True)
class Timings:
    """How long the stages of a request took, in seconds; decoding and inference are those of its batch.

    Attributes:
        before: decoding of its own, before it joined the batch.
    """

    before: float = 0.0
    queue: float = 0.0
    decode: float = 0.0
    inference: float = 0.0


@dataclass(slots=True, eq=False)
class Job:
    """One request's share of a batch.

    Attributes:
        done: resolves to the model instance that it went through once that is done, or raises.
        image: an image file, or None.
        inputs: or what the graph takes, [n, …].
        outputs: by name, that are wanted.
        admitted: since when it waits, by `perf_counter`.
        timings: complete once it is done.
        form: that the image is prepared for, None before.
        decoding: the image takes long, and waits for a decoder or has one.
        prepared: the image, as the network takes it.
        rows: once it is done, of the outputs by name, each [n, …].
        probabilities: of an image, [classes].
        batch: images in the batch that it was in.
    """

    done: Future[Any]  # not the job, which would hold itself
    outputs: tuple[str, ...]
    image: bytes | None = None
    inputs: NDArray[Any] | None = None
    admitted: float = field(default_factory=perf_counter)
    timings: Timings = field(default_factory=Timings)
    form: Preprocessing | None = None
    decoding: bool = False
    prepared: Prepared = field(init=False)
    rows: dict[str, NDArray[Any]] = field(init=False)
    probabilities: NDArray[np.float64] = field(init=False)
    batch: int = field(init=False)

    def __len__(self) -> int:
        return 1 if self.inputs is None else len(self.inputs)

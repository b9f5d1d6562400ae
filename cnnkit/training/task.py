"""What a network is trained for. The loop, the state, the processes and the display know no more of it than this."""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor, nn

from cnnkit.sources import Shape
from cnnkit.training.results import EpochRecord


class Task(Protocol):
    """A loss, what is counted as right, and what the network's output must look like."""

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the sum of the losses of a batch that is trained on, float32 []."""

    def held_out_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the sum of the losses of a batch that is only measured, float32 []."""

    def right(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return how many outputs of a batch count as right, int64 []; their share is the accuracy."""

    def rank(self, accuracy: float, loss: float) -> tuple[float, ...]:
        """Return what is compared to find the best epoch by its validation: the largest is the best."""

    def require_output(self, network: nn.Module, name: str, input_shape: Shape) -> str | None:
        """Make sure of a network's output; return the activation at its end that limits it, if there is one.

        Raises:
            UsageError: it is something else than the task is about.
        """

    def require_trainable(self, network: nn.Module, name: str, input_shape: Shape, batch: int) -> None:
        """Take a step of training with so many images, and undo it.

        Raises:
            UsageError: the network cannot be trained so.
        """

    def advice(self, records: Sequence[EpochRecord]) -> str:
        """Return what to change where the network learnt nothing, as a sentence without its full stop; else ""."""

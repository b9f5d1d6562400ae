"""From stored pixels to what a network sees, as a module, so that it can be exported with the network."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Normalise(nn.Module):
    """Scale uint8 [N, H, W, C] pixels to [0, 1], subtract `mean`, divide by `std`; gives float32 [N, C, H, W]."""

    scale: Tensor
    offset: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        deviation = torch.tensor(std, dtype=torch.float64).view(-1, 1, 1)
        # One multiplication and one addition do the work of the three operations.
        self.register_buffer("scale", (1 / (255 * deviation)).float(), persistent=False)
        offset = -torch.tensor(mean, dtype=torch.float64).view(-1, 1, 1) / deviation
        self.register_buffer("offset", offset.float(), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """Normalise uint8 [N, H, W, C] to float32 [N, C, H, W]; the result is channels-last in memory."""
        # In place, on a copy: batches of small networks feel each pass over other memory.
        return image.permute(0, 3, 1, 2).to(torch.float32, copy=True).mul_(self.scale).add_(self.offset)


class ExportWrapper(nn.Module):
    """The network as it is served: from the file's input to logits and probabilities."""

    def __init__(self, network: nn.Module, normalise: nn.Module) -> None:
        super().__init__()
        self.normalise = normalise
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and probabilities, both [N, classes]."""
        logits = self.network(self.normalise(image))
        return logits, logits.softmax(1)

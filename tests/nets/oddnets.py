"""Networks that are hard to look into: recursive, lazy, shared, with several inputs, or with outputs of any kind."""

from collections import namedtuple
from dataclasses import dataclass

import torch
from torch import Tensor, nn

Pair = namedtuple("Pair", "first second")


@dataclass
class Result:
    logits: Tensor
    note: str = ""


class Recursive(nn.Module):
    input_shape = (8, 4, 4)

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, images: Tensor, rest: int = 3) -> Tensor:
        images = self.conv(images)
        return self(images, rest - 1) if rest else images


class Endless(nn.Module):
    input_shape = (4,)

    def forward(self, values: Tensor) -> Tensor:
        return self(values)


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.fc = nn.Linear(10, 4)

    def forward(self, image: Tensor, numbers: Tensor) -> Tensor:
        return self.conv(image).mean((2, 3)) + self.fc(numbers)


class SaysBoth(TwoInputs):
    input_shape = ((1, 28, 28), (10,))


class SaysItLater(TwoInputs):
    """What it takes is known only when it is there."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (self.fc.in_features,)


class Sequence(nn.Module):
    input_shape = (7, 6)

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(6, 5, 2, bidirectional=True, batch_first=True)
        self.fc = nn.Linear(10, 2)

    def forward(self, values: Tensor) -> Tensor:
        return self.fc(self.lstm(values)[0][:, -1])


class Words(nn.Module):
    input_shape = (12,)

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(100, 16)
        self.encoder = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.fc = nn.Linear(16, 2)

    def forward(self, words: Tensor) -> Tensor:
        return self.fc(self.encoder(self.embedding(words)).mean(1))


class Inner(nn.Module):
    def forward(self, images: Tensor) -> Pair:
        return Pair(images.mean((2, 3)), 3)


class NamedOutputs(nn.Module):
    input_shape = (3, 8, 8)

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.inner = Inner()

    def forward(self, images: Tensor) -> dict[str, Result]:
        return {"out": Result(self.inner(self.conv(images)).first)}


class Parameters(nn.Module):
    input_shape = (6,)

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.ParameterList([nn.Parameter(torch.randn(6, 6)) for _ in range(3)])
        self.more = nn.ParameterDict({"bias": nn.Parameter(torch.zeros(6))})

    def forward(self, values: Tensor) -> Tensor:
        for weight in self.weights:
            values = values @ weight
        return values + self.more["bias"]


class Lists(nn.Module):
    """Containers that are never called, whose layers run by turns."""

    input_shape = (3, 8, 8)

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList([nn.Conv2d(3, 3, 3, padding=1) for _ in range(3)])
        self.norms = nn.ModuleList([nn.BatchNorm2d(3) for _ in range(3)])

    def forward(self, images: Tensor) -> Tensor:
        for conv, norm in zip(self.convs, self.norms, strict=True):
            images = norm(conv(images))
        return images


class Lazy(nn.Module):
    input_shape = (3, 8, 8)

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.LazyConv2d(4, 3)
        self.norm = nn.LazyBatchNorm2d()
        self.fc = nn.LazyLinear(5)
        self.never = nn.LazyLinear(3)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.norm(self.conv(images)).flatten(1))


class Empty(nn.Module):
    input_shape = (3, 8, 8)

    def forward(self, images: Tensor) -> Tensor:
        return images


class NoInput(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 2)

    def forward(self) -> Tensor:
        return self.fc(torch.ones(1, 3))


class ByValue(nn.Module):
    """Takes the branch that the values of the image choose; on zeros it is `dark`."""

    input_shape = (3, 8, 8)

    def __init__(self) -> None:
        super().__init__()
        self.light = nn.Conv2d(3, 4, 3)
        self.dark = nn.Conv2d(3, 4, 5)

    def forward(self, images: Tensor) -> Tensor:
        return self.light(images) if images.sum() > 0 else self.dark(images)


class WeightlessByValue(nn.Module):
    input_shape = (3, 8, 8)

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(2)

    def forward(self, images: Tensor) -> Tensor:
        return self.pool(images) if images.sum() == 0 else images


class MadeOfNumbers(nn.Module):
    """Computes with tensors while it is built, and makes tensors on the CPU while it runs."""

    input_shape = (3, 8, 8)

    def __init__(self) -> None:
        super().__init__()
        width = int(torch.linspace(4, 8, 3)[1].item())
        self.conv = nn.Conv2d(4, width, 3)
        self.grid = torch.linspace(0, 1, 8)

    def forward(self, images: Tensor) -> Tensor:
        padded = torch.zeros(images.shape[0], 4, 8, 8)
        padded[:, :3] = images
        return self.conv(padded + self.grid)


class MadeOfItsWeights(nn.Module):
    """Looks at the values of its weights while it is built."""

    input_shape = (6,)

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(6, 6)
        self.wide = 3 + int(self.fc.weight.abs().max().item() < 100)

    def forward(self, values: Tensor) -> Tensor:
        return self.fc(values)[:, : self.wide]


class Shared(nn.Module):
    """One layer at three places, and another with the same weights."""

    input_shape = (3, 8, 8)

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.tied = nn.Conv2d(3, 3, 3, padding=1)
        self.tied.weight = self.conv.weight
        self.block = nn.Sequential(self.conv, nn.ReLU(), self.conv)

    def forward(self, images: Tensor) -> Tensor:
        return self.tied(self.block(self.conv(images)))


class PythonList(nn.Module):
    input_shape = (4,)

    def __init__(self) -> None:
        super().__init__()
        self.parts = [nn.Linear(4, 4)]

    def forward(self, values: Tensor) -> Tensor:
        return self.parts[0](values)


class GoesOn(nn.Module):
    """Catches what one of its layers raises."""

    input_shape = (4,)

    def __init__(self) -> None:
        super().__init__()
        self.bad = nn.Sequential(nn.Linear(4, 4), nn.Linear(5, 5))
        self.good = nn.Linear(4, 2)

    def forward(self, values: Tensor) -> Tensor:
        try:
            return self.bad(values)
        except RuntimeError:
            return self.good(values)


class Functional(nn.Module):
    """Uses the weights of a layer that it never calls, in inference mode of its own."""

    input_shape = (3, 8, 8)

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3)
        self.fc = nn.Linear(108, 2)
        self.fc_unused = nn.Linear(3, 3)

    def forward(self, images: Tensor) -> Tensor:
        with torch.inference_mode():
            return torch.einsum("nc,kc->nk", self.conv(images).flatten(1), self.fc.weight)


class WrongKey(nn.Module):
    input_shape = (3, 8, 8)

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3)

    def forward(self, images: Tensor) -> Tensor:
        return {"a": self.conv(images)}["b"]


class WantsADictionary(nn.Module):
    input_shape = (3, 8, 8)

    def forward(self, images: dict[str, Tensor]) -> Tensor:
        return images.get("image")


class WantsAKeyword(nn.Module):
    input_shape = (3, 8, 8)

    def forward(self, images: Tensor, *, mask: Tensor) -> Tensor:
        return images


class NoForward(nn.Module):
    input_shape = (4,)


class Hourglass(nn.Module):
    """Halves three times and doubles three times, so that its input must be divisible by eight."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.down = nn.MaxPool2d(8)
        self.up = nn.Upsample(scale_factor=8)
        self.out = nn.Conv2d(16, 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        images = self.conv(images)
        return self.out(torch.cat([images, self.up(self.down(images))], 1))


class Flat(nn.Module):
    """As classic networks end: 5×5 places of 16 channels into a linear layer."""

    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 16, 3, padding=1)
        self.pool = nn.MaxPool2d(32)
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(400, 10))

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.pool(self.conv(images)))

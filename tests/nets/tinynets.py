"""Networks such as users bring along, good ones and bad ones, for 3×8×8 images."""

import threading

import torch
from torch import Tensor, nn


class Linear(nn.Module):
    """One linear layer; says its input."""

    input_shape = (3, 8, 8)

    def __init__(self, num_classes: int = 2) -> None:
        super().__init__()
        self.fc = nn.Linear(192, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(images.flatten(1))


class HeadFirst(nn.Module):
    """Defines its head before its body."""

    input_shape = (3, 8, 8)

    def __init__(self, num_classes: int = 2) -> None:
        super().__init__()
        self.head = nn.Linear(8, num_classes)
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.body(images))


class Regular(nn.Module):
    """A convolution with all that remembers or draws: batch statistics and dropout; the last layer is the head."""

    input_shape = (3, 8, 8)

    def __init__(self, num_classes: int = 2) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.drop = nn.Dropout(0.3)
        self.head = nn.Linear(8 * 4 * 4, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        images = nn.functional.max_pool2d(self.norm(self.conv(images)).relu(), 2)
        return self.head(self.drop(images.flatten(1)))


class Greedy(Linear):
    """Asks for more memory than there is, in its sixth step."""

    steps = 0

    def forward(self, images: Tensor) -> Tensor:
        if self.training:
            self.steps += 1
            if self.steps == 6:
                self.ask()
        return super().forward(images)

    def ask(self) -> None:
        torch.empty(1 << 55)


class GreedyOnTheGpu(Greedy):
    """Says it as CUDA does."""

    def ask(self) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")


class GreedyAtOnce(Greedy):
    """Does so in its first step."""

    steps = 5


class TooLarge(Linear):
    """Fits no device."""

    def _apply(self, *arguments: object, **options: object) -> nn.Module:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")


class Breaking(Linear):
    """Has a mistake that only training meets."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images[:, self.training :])


class BreakingLater(Linear):
    """Has a mistake that only its second step meets; a copy has taken none."""

    steps = 0

    def forward(self, images: Tensor) -> Tensor:
        if self.training:
            self.steps += 1
        return super().forward(images) * (1 / (2 - self.steps) if self.steps == 2 else 1)


class Weightless(nn.Module):
    """Has nothing to learn: three classes by their colour."""

    input_shape = (3, 8, 8)

    def __init__(self, num_classes: int = 3) -> None:
        super().__init__()

    def forward(self, images: Tensor) -> Tensor:
        return images.mean((2, 3))


class Planted(Linear):
    """Computes something else in the exported file than in PyTorch."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images + 1 if torch.compiler.is_exporting() else images)


class NotANumber(Linear):
    """Gives NaN for every class, in PyTorch and in the exported file alike."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.log(super().forward(images) * 0 - 1)


class Branching(Linear):
    """Decides by the values of the images, which no graph can hold."""

    def forward(self, images: Tensor) -> Tensor:
        if images.sum().item() > 0:
            images = images + 1
        return super().forward(images)


class Tied(Linear):
    """Two layers that share their weights."""

    def __init__(self, num_classes: int = 2) -> None:
        super().__init__(num_classes)
        self.again = nn.Linear(192, num_classes)
        self.again.weight = self.fc.weight

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) + self.again(images.flatten(1))


class Needy(Linear):
    """Cannot be built without an argument that nobody gives."""

    def __init__(self, width: int, num_classes: int = 2) -> None:
        super().__init__(num_classes + width)


def silent(num_classes: int = 2) -> nn.Module:
    """Does not say its input."""
    return Linear(num_classes)


def fixed() -> nn.Module:
    """Takes no number of classes: always five."""
    return Linear(5)


fixed.input_shape = (3, 8, 8)


def anything(**options: int) -> nn.Module:
    """Takes whatever it is given."""
    return Linear(options["num_classes"])


def text(num_classes: int = 2) -> str:
    """Is no network at all."""
    return f"a network of {num_classes} classes"


def failing(num_classes: int = 2) -> nn.Module:
    """Breaks while it is built."""
    raise KeyError(num_classes)


def two_outputs(num_classes: int = 2) -> nn.Module:
    """Gives two tensors where one is expected."""

    class Pair(Linear):
        def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
            return (super().forward(images),) * 2

    return Pair(num_classes)


NOT_CALLABLE = 3


def lacking(num_classes: int = 2) -> nn.Module:
    """Needs a library that is not installed."""
    import no_such_library

    return no_such_library.net(num_classes)


class Parallel(nn.Module):
    """Two branches that are concatenated, and layers that are called twice or do nothing."""

    input_shape = (3, 8, 8)

    def __init__(self, num_classes: int = 2) -> None:
        super().__init__()
        self.left = nn.Conv2d(3, 4, 3, padding=1)
        self.right = nn.Conv2d(3, 4, 3, padding=1)
        self.middle = nn.Conv2d(8, 8, 3, padding=1)
        self.act = nn.LeakyReLU(0.2)
        self.smooth = nn.GELU()
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(512, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        both = self.act(torch.cat([self.left(images), self.right(images)], 1))
        return self.fc(self.drop(self.smooth(self.act(self.middle(both)))).flatten(1) * 2)


class Unstable(nn.Module):
    """A convolution that is exact on whole numbers, until a batch norm with rounded factors is folded into it."""

    input_shape = (3, 8, 8)

    def __init__(self, num_classes: int = 2) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, num_classes, 1, bias=False)
        self.norm = nn.BatchNorm2d(num_classes)
        self.pool = nn.AdaptiveMaxPool2d(1)
        nn.init.constant_(self.norm.weight, 0.1)
        with torch.no_grad():
            self.conv.weight.copy_(torch.tensor([65537.0, -65536.0, 0.0]).view(1, 3, 1, 1).expand_as(self.conv.weight))
            self.norm.bias.copy_(torch.arange(num_classes).float())

    def forward(self, images: Tensor) -> Tensor:
        return self.pool(self.norm(self.conv(images))).flatten(1)


class Lopsided(nn.Module):
    """Works in float32; in `middle`, weights that nothing ever reaches leave no steps to the others in eight bits."""

    input_shape = (3, 8, 8)

    def __init__(self, num_classes: int = 2) -> None:
        super().__init__()
        self.first = nn.Linear(192, 16)
        self.middle = nn.Linear(16, 16)
        self.last = nn.Linear(16, num_classes)
        with torch.no_grad():
            self.first.weight[0] = 0
            self.first.bias[0] = 0
            self.middle.weight[:, 0] = 1000

    def forward(self, images: Tensor) -> Tensor:
        return self.last(self.middle(self.first(images.flatten(1)).relu()).relu())


class Saturating(nn.Module):
    """Says `light` where the mean of all pixels is above 0.5; calibrated on dim images, never so in eight bits."""

    input_shape = (3, 8, 8)

    def __init__(self, num_classes: int = 2) -> None:
        super().__init__()
        self.mean = nn.Linear(192, 1)
        self.compare = nn.Linear(1, num_classes)
        with torch.no_grad():
            self.mean.weight.fill_(1 / 192)
            self.mean.bias.zero_()
            self.compare.weight.copy_(torch.tensor([[0.0], [1.0]]))
            self.compare.bias.copy_(torch.tensor([0.5, 0.0]))

    def forward(self, images: Tensor) -> Tensor:
        return self.compare(self.mean(images.flatten(1)).relu())


class Loud(nn.Module):
    """Has values in the millions after `loud`, which float32 holds and float16 does not."""

    input_shape = (3, 8, 8)

    def __init__(self, num_classes: int = 2) -> None:
        super().__init__()
        self.quiet = nn.Linear(192, 16)
        self.loud = nn.Linear(16, 16)
        self.last = nn.Linear(16, num_classes)
        with torch.no_grad():
            self.loud.weight *= 1e7
            self.last.weight *= 1e-6

    def forward(self, images: Tensor) -> Tensor:
        return self.last(self.loud(self.quiet(images.flatten(1)).relu()).relu())


class Squaring(Linear):
    """Divides by a length whose square only float32 holds, so that its answers say nothing of that."""

    def forward(self, images: Tensor) -> Tensor:
        logits = super().forward(images) * 1000
        return logits / (logits * logits).sum(1, keepdim=True).sqrt()


class Fading(Linear):
    """Has values in its middle that are nothing in float16, and weights and answers like any other network's."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) * 2e-5 * 2e-5 * 5e4 * 5e4


class Pooled(nn.Module):
    """Ends in a pooling layer, with no linear one after it."""

    input_shape = (3, 8, 8)

    def __init__(self, num_classes: int = 2) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, num_classes, 3)
        self.pool = nn.AvgPool2d(6)

    def forward(self, images: Tensor) -> Tensor:
        return self.pool(self.conv(images)).flatten(1)


def shaped(num_classes: int = 2, input_shape: tuple[int, int, int] = (3, 8, 8)) -> nn.Module:
    """A linear layer for images of any shape."""
    network = Linear(num_classes)
    channels, height, width = input_shape
    network.fc = nn.Linear(channels * height * width, num_classes)
    return network


def lazy(num_classes: int = 2) -> nn.Module:
    """Layers whose shapes come from the first images."""
    return nn.Sequential(nn.LazyConv2d(6, 3), nn.LazyBatchNorm2d(), nn.ReLU(), nn.Flatten(), nn.LazyLinear(num_classes))


def lazy_unused(num_classes: int = 2) -> nn.Module:
    """A lazy layer that no image comes through."""
    network = Linear(num_classes)
    network.fc = nn.LazyLinear(num_classes)
    network.unused = nn.LazyLinear(3)
    return network


class Uncopied(Linear):
    """Cannot be copied, and gives logits that end in an addition."""

    def __init__(self, num_classes: int = 2) -> None:
        super().__init__(num_classes)
        self.lock = threading.Lock()

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) + images.mean((1, 2, 3))[:, None]


class WrongShape(Linear):
    input_shape = (8, 8)

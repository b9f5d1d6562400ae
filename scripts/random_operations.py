"""Operations that move, mix and resize images, drawn at random for images of a shape. Nothing here knows cnnkit."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Shape = Sequence[int]
LARGEST, MOST_CHANNELS = 14, 8


class Do(nn.Module):
    """A function as a layer; settings follow the tensors."""

    def __init__(self, function: Callable[..., Tensor], *settings: Any) -> None:
        super().__init__()
        self.function = function
        self.settings = settings

    def forward(self, *given: Tensor) -> Tensor:
        """Call it."""
        return self.function(*given, *self.settings)


class MaxPool(nn.MaxPool2d):
    """Maxima; while it is measured, sums, whose gradients reach all of a window."""

    measured = False

    def forward(self, images: Tensor) -> Tensor:
        """Pool [N, C, H, W]."""
        largest: Tensor = super().forward(images)
        if not self.measured:
            return largest
        kernel: Any = self.kernel_size
        before: Any = self.padding
        weight = torch.ones(images.shape[1], 1, *kernel, dtype=images.dtype)
        padded = F.pad(images, (before, before + 9) * 2)  # more than windows that begin inside reach over
        found = F.conv2d(padded, weight, None, self.stride, 0, self.dilation, len(weight))
        return found[..., : largest.shape[2], : largest.shape[3]]


class Gate(nn.Module):
    """Squeeze and excitation, of values that are not zero: the gradient of what they are scaled by is theirs."""

    def forward(self, images: Tensor) -> Tensor:
        """Scale [N, C, H, W]."""
        return (images + 1) * images.mean((2, 3), keepdim=True).sigmoid()


def uneven(images: Tensor) -> Tensor:
    """Give each value of [N, C, H, W] a weight of its own, for the mean of normalised values is constant."""
    shape = images.shape[1:]
    return images * (1 + torch.arange(shape.numel(), device=images.device).view(shape) * 0.618 % 1)


def _last_part(images: Tensor, count: int) -> Tensor:
    return images.chunk(count, 1)[-1]


def _two(rng: Random, low: int, high: int) -> tuple[int, int]:
    return rng.randint(low, high), rng.randint(low, high)


def _conv(rng: Random, shape: Shape) -> nn.Module:
    groups = rng.choice([g for g in (1, 1, 2, 3) if shape[1] % g == 0])
    return nn.Conv2d(
        shape[1], groups * rng.randint(1, 2), _two(rng, 1, 4), _two(rng, 1, 3), _two(rng, 0, 2), _two(rng, 1, 2),
        groups, padding_mode=rng.choice(["zeros", "zeros", "reflect", "replicate", "circular"]),
    )  # fmt: skip


def _transposed(rng: Random, shape: Shape) -> nn.Module:
    stride = rng.randint(1, 3)
    return nn.ConvTranspose2d(
        shape[1], 2, _two(rng, 1, 4), stride, _two(rng, 0, 1), rng.randint(0, stride - 1), dilation=rng.randint(1, 2)
    )


def _max(rng: Random, shape: Shape) -> nn.Module:
    kernel, dilation = _two(rng, 1, 4), rng.randint(1, 2)
    padding = rng.randint(0, min(kernel) // 2)
    return MaxPool(kernel, rng.randint(1, 3), padding, dilation, ceil_mode=rng.random() < 0.5)


def _average(rng: Random, shape: Shape) -> nn.Module:
    kernel = _two(rng, 1, 4)
    return nn.AvgPool2d(kernel, _two(rng, 1, 3), rng.randint(0, min(kernel) // 2), ceil_mode=rng.random() < 0.5)


def _slice(rng: Random, shape: Shape) -> nn.Module:
    rows, columns = (
        slice(rng.randint(-3, 3), rng.choice([None, -1, size - 1]), rng.randint(1, 3)) for size in shape[2:]
    )
    return Do(lambda x: x[..., rows, columns])


def _resize(rng: Random, shape: Shape) -> nn.Module:
    mode = rng.choice(["nearest", "nearest-exact", "bilinear", "bicubic", "area"])
    options: dict[str, Any] = {"mode": mode}
    if mode in {"bilinear", "bicubic"}:
        options["align_corners"] = rng.random() < 0.5
    if rng.random() < 0.5:
        options["size"] = _two(rng, 1, LARGEST)
        # With factors, PyTorch's gradient is of other weights than its result where a size stays.
        options["antialias"] = mode in {"bilinear", "bicubic"} and rng.random() < 0.5
    else:
        options["scale_factor"] = (rng.choice([0.5, 0.7, 1.3, 2.0]), rng.choice([0.5, 0.7, 1.3, 2.0]))
        if mode != "area":
            options["recompute_scale_factor"] = rng.random() < 0.3
    return Do(lambda x: F.interpolate(x, **options))


def _pad(rng: Random, shape: Shape) -> nn.Module:
    mode = rng.choice(["constant", "reflect", "replicate", "circular"])
    low = -2 if mode == "constant" else 0
    sizes = tuple(rng.randint(low, 3) for _ in range(4))
    return Do(lambda x: F.pad(x, sizes, mode=mode))


def _windows(rng: Random, shape: Shape) -> nn.Module:
    """Mix inside windows, as Swin does, at a shift."""
    h, w, shift = rng.choice([1, 2, 3]), rng.choice([1, 2, 3]), rng.randint(0, 2)

    def mix(x: Tensor) -> Tensor:
        n, c, rows, columns = x.shape
        x = x.roll((-shift, -shift), (2, 3)).permute(0, 2, 3, 1)
        x = x.reshape(n, rows // h, h, columns // w, w, c).transpose(2, 3).reshape(-1, h * w, c)
        x = x + torch.softmax(F.softsign(x @ x.transpose(1, 2)), -1) @ x
        x = x.reshape(n, rows // h, columns // w, h, w, c).transpose(2, 3).reshape(n, rows, columns, c)
        return x.permute(0, 3, 1, 2).roll((shift, shift), (2, 3))

    if shape[2] % h or shape[3] % w or h * w == 1:
        raise ValueError("no whole number of windows, or of one value, whose softmax becomes constant")
    return Do(mix)


def _tokens(rng: Random, shape: Shape) -> nn.Module:
    def attend(x: Tensor) -> Tensor:
        tokens = F.softsign(x.flatten(2).transpose(1, 2))
        return F.scaled_dot_product_attention(tokens, tokens, tokens).mT.reshape(x.shape)

    return Do(attend)


def _softmax(rng: Random, shape: Shape) -> nn.Module:
    dim = rng.choice([d for d in (1, 2, 3) if shape[d] > 1])  # one value becomes constant

    def soften(x: Tensor) -> Tensor:
        ramp = torch.arange(1, x.shape[dim] + 1, device=x.device).view(-1, *(1,) * (3 - dim))
        return uneven((F.softsign(x) * ramp).softmax(dim))

    return Do(soften)


def _norm(rng: Random, shape: Shape) -> nn.Module:
    if shape[2] * shape[3] == 1:
        raise ValueError("one value becomes constant")
    kinds = ["batch", "group", "instance", "layer", "local"]
    kind = rng.choice([*kinds, "channels"] if shape[1] > 1 else kinds)  # one channel becomes constant
    if kind == "channels":
        return Do(lambda x: uneven(F.layer_norm(x.permute(0, 2, 3, 1), (x.shape[1],)).permute(0, 3, 1, 2)))
    norms: dict[str, Callable[[], nn.Module]] = {
        "batch": lambda: nn.BatchNorm2d(shape[1]),
        "group": lambda: nn.GroupNorm(rng.choice([g for g in (1, 2, 3) if shape[1] % g == 0]), shape[1]),
        "instance": lambda: nn.InstanceNorm2d(shape[1]),
        "layer": lambda: nn.LayerNorm(list(shape[1:])),
        "local": lambda: nn.LocalResponseNorm(2),
    }
    return nn.Sequential(norms[kind](), Do(uneven))


def _written(rng: Random, shape: Shape) -> nn.Module:
    """Write into a part of a tensor."""
    start, step = rng.randint(0, 2), rng.randint(1, 3)
    kind = rng.choice(["zero", "shifted", "canvas", "view"])

    def write(x: Tensor) -> Tensor:
        y = x.clone()
        if kind == "zero":
            y[:, :, start::step] = 0
        elif kind == "shifted":
            y[:, :, start:-1] = x[:, :, start + 1 :]
        elif kind == "view":
            part, all_of = y[:, :, start::step], y.view(y.shape)
            part += x.flip(2)[:, :, start::step]
            return all_of * 2
        else:
            y = x.new_zeros(*x.shape[:2], x.shape[2] + start, x.shape[3] + 1)
            y[:, :, start:, 1:] = x
        return y

    return Do(write)


def _patches(rng: Random, shape: Shape) -> nn.Module:
    kernel, stride, padding = _two(rng, 1, 3), _two(rng, 1, 3), _two(rng, 0, 1)
    size = tuple(shape[2:])
    if rng.random() < 0.5:
        return Do(lambda x: F.fold(F.unfold(x, kernel, 1, padding, stride), size, kernel, 1, padding, stride))
    return Do(lambda x: x.unfold(2, kernel[0], stride[0]).mean(-1))


OPERATIONS: dict[str, Callable[[Random, Shape], nn.Module]] = {
    "conv": _conv,
    "transposed": _transposed,
    "max": _max,
    "average": _average,
    "slice": _slice,
    "adaptive": lambda rng, shape: nn.AdaptiveAvgPool2d(_two(rng, 1, LARGEST)),
    "resize": _resize,
    "pad": _pad,
    "windows": _windows,
    "tokens": _tokens,
    "norm": _norm,
    "written": _written,
    "patches": _patches,
    "gate": lambda rng, shape: Gate(),
    "activation": lambda rng, shape: rng.choice([nn.LeakyReLU, nn.PReLU, nn.Softsign])(),
    "softmax": _softmax,
    "flip": lambda rng, shape: Do(torch.flip, (rng.choice([2, 3]),)),
    "roll": lambda rng, shape: Do(torch.roll, _two(rng, -4, 4), (2, 3)),
    "turn": lambda rng, shape: Do(torch.rot90, rng.randint(0, 3), (2, 3)),
    "swap": lambda rng, shape: Do(torch.transpose, 2, 3),
    "along": lambda rng, shape: nn.Linear(shape[3], rng.randint(1, 9)),
    "mean": lambda rng, shape: Do(torch.mean, rng.choice([1, 2, 3]), True),
    "cumulated": lambda rng, shape: Do(torch.cumsum, rng.choice([2, 3])),
    "shuffle": lambda rng, shape: nn.PixelShuffle(2),
    "unshuffle": lambda rng, shape: nn.PixelUnshuffle(2),
    "channels": lambda rng, shape: nn.ChannelShuffle(rng.choice([g for g in (1, 2, 3) if shape[1] % g == 0])),
    "some channels": lambda rng, shape: Do(_last_part, rng.randint(1, 2)),
    "repeated": lambda rng, shape: Do(torch.tile, (1, 1, *_two(rng, 1, 2))),
    "interleaved": lambda rng, shape: Do(torch.repeat_interleave, 2, 3),
    "focus": lambda rng, shape: Do(lambda x: torch.cat([x[..., 0:-1:2, :], x[..., 1::2, :]], 1)),
    "flat": lambda rng, shape: Do(lambda x: x.flatten(1)[:, :24].reshape(-1, 2, 3, 4)),
}
"""What makes a layer for images of a shape [N, C, H, W]; some refuse some shapes."""

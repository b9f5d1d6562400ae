"""The receptive fields of `summary` against gradients: all classification networks of torchvision, and random graphs.

    python scripts/check_receptive_fields.py [NAME ...] [--input 3x97x65] [--graphs 200] [--native 3]

Each network is run once more with weights that are all positive, on a CPU, in double precision, with a tangent for
each row and each column of the input: a derivative that is not zero says that a place of a layer's output depends on
that row or column (forward mode, so that one run has all layers and places). Functions whose gradient does not reach
all that they depend on, or may cancel out, are replaced by ones that reach the same values: maxima by sums, softmax,
attention and normalisation by adding means of what they normalise, activations by nothing. Convolutions and linear
layers get equal weights, which makes them a mean over channels and a sum over a window.

Vision transformers are built for images of three and more patches each way, maxvit_t for its only size. A few
networks are measured at their own size as well. Random graphs are measured by ordinary gradients, of each place. Exit
code 3 where a field differs, or none is said where there is one.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from random import Random
from typing import Any, cast
from unittest import mock

import random_graphs
import torch
import torchvision
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn import functional as F

from cnnkit.inspection import summary
from cnnkit.inspection.results import ModuleRow
from cnnkit.sources import create_model

SIDES = {
    "inception_v3": 107,
    "maxvit_t": 224,
    "vit_b_16": 96,
    "vit_b_32": 96,
    "vit_l_16": 96,
    "vit_l_32": 96,
    "vit_h_14": 98,
}
NATIVE = ("alexnet", "squeezenet1_1", "resnet18", "googlenet", "mobilenet_v3_small", "shufflenet_v2_x0_5")
CHUNK = 2**25  # values of the largest tensor of a run

Fields = dict[str, tuple[int, ...]]


def main() -> int:
    """Check, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--input", default="3x97x65")
    parser.add_argument("--graphs", type=int, default=200)
    parser.add_argument("--native", type=int, default=len(NATIVE))
    arguments = parser.parse_args()
    wanted = tuple(int(size) for size in arguments.input.split("x"))
    wrong, layers, graphs = 0, 0, 0
    for seed in range(arguments.graphs):
        wrong += _graph(seed)
        graphs += 1
    print(f"random graphs: {graphs - wrong} of {graphs} equal in all layers", flush=True)
    names = arguments.names or torchvision.models.list_models(module=torchvision.models)
    own = [(name, 224) for name in NATIVE[: arguments.native] if name in names]
    equal = 0
    for name, side in [*((name, SIDES.get(name)) for name in names), *own]:
        shape = (3, side, side) if side else wanted
        started = time.process_time()
        found, count = _network(name, shape)
        layers += count
        equal += not found
        size = "x".join(map(str, shape))
        print(f"{name:22} {size:>10} {count:5} layers {time.process_time() - started:6.1f} s", end="", flush=True)
        print(f"  {len(found)} DIFFER: {found[:3]}" if found else "", flush=True)
    total = len(names) + len(own)
    print(f"networks: {equal} of {total} equal in all layers, {layers:,} layers; torch {torch.__version__}, ", end="")
    print(f"torchvision {torchvision.__version__}")
    return 0 if equal == total and not wrong else 3


def _graph(seed: int) -> bool:
    """Return whether a random graph has a layer whose field is not the measured one."""
    torch.manual_seed(seed)
    graph, shape = random_graphs.graph_of(Random(seed))  # noqa: S311
    fields = random_graphs.measured(graph, shape)
    with torch.device("meta"):
        rows = {row.name: row for row in summary.summarize_module(graph.float().to("meta"), shape).layers}
    found = [(name, rows[f"layers.{place}"].receptive_field) for place, name in enumerate(graph.names)]
    differ = [(name, said, field) for (name, said), field in zip(found, fields, strict=True) if said != field]
    if differ:
        print(f"graph {seed}: says, by gradients: {differ}")
    return bool(differ)


def _network(name: str, shape: tuple[int, ...]) -> tuple[list[tuple[str, tuple[int, ...], tuple[int, ...]]], int]:
    """Return the layers whose field is not the measured one, with both, and how many layers there are."""
    if name.startswith("vit"):
        networks_of = [torchvision.models.get_model(name, weights=None, image_size=shape[1]) for _ in range(2)]
    else:
        networks_of = [create_model(f"torchvision/{name}") for _ in range(2)]
    network, copy = networks_of[0].to("meta"), networks_of[1]
    rows = {row.name: row for row in summary.summarize_module(network, shape).layers if row.output_shape}
    measured = _measured(copy, shape, rows)
    differ = [
        (name, row.receptive_field, measured[name])
        for name, row in rows.items()
        if row.receptive_field != measured[name]
    ]
    return differ, len(rows)


def _measured(network: nn.Module, shape: tuple[int, ...], rows: dict[str, ModuleRow]) -> Fields:
    """Return the fields of all layers by derivatives."""
    network.eval().double()
    largest = max(torch.Size(row.output_shape).numel() for row in rows.values())
    count = max(1, min(CHUNK // largest, 64))
    ends: dict[str, list[tuple[Tensor, Tensor]]] = {}
    for axis in (0, 1):
        size = shape[1 + axis]
        for start in range(0, size, count):
            lines = torch.arange(start, min(start + count, size))
            for name, touched in _touched(network, shape, axis, lines):
                place = lines.view(-1, *(1,) * (touched.dim() - 1))
                first = torch.where(touched, place, size).amin(0)
                last = torch.where(touched, place, -1).amax(0)
                known = ends.setdefault(name, [])
                if len(known) > axis:
                    first, last = torch.minimum(first, known[axis][0]), torch.maximum(last, known[axis][1])
                    known[axis] = (first, last)
                else:
                    known.append((first, last))
    fields = {}
    for name, both in ends.items():
        sizes = tuple(int((last - first + 1).max()) for first, last in both)
        fields[name] = sizes if all(size > 0 for size in sizes) else ()
    return fields


def _touched(network: nn.Module, shape: tuple[int, ...], axis: int, lines: Tensor) -> list[tuple[str, Tensor]]:
    """Run a network with a tangent for each of some rows or columns.

    Returns:
        For each module its name and [lines, *places], whether its last result depends on the line there.
    """
    found: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, given: Any, output: Any) -> None:
            result = output[0] if isinstance(output, tuple) else output
            tangent = _tangent(result)
            if tangent is None:
                tangent = torch.zeros(len(lines), *result.shape[1:])
            touched = tangent != 0
            features = _features(network, name, module, tuple(result.shape))
            # Windows of one image lie one after another along the batch.
            if len(touched) != len(lines):
                touched = touched.view(len(lines), -1, *touched.shape[1:])
                features += 1
            found[name] = touched.any(features) if result.dim() > 2 else touched

        return hook

    tangents = torch.zeros(len(lines), *shape, dtype=torch.float64)
    tangents.movedim(2 + axis, 1)[range(len(lines)), lines] = 1
    handles = [module.register_forward_hook(keep(name)) for name, module in network.named_modules() if name]
    try:
        with torch.no_grad(), forward_ad.dual_level(), _positive():
            network(_dual(torch.ones_like(tangents), tangents))
    finally:
        for handle in handles:
            handle.remove()
    return list(found.items())


def _features(network: nn.Module, name: str, module: nn.Module, shape: Sequence[int]) -> int:
    """Return which dimension of a result holds the features of one place."""
    last = len(shape) - 1
    kind, own = type(network).__name__, type(module).__name__
    if len(shape) < 4:
        return last  # tokens
    if kind == "SwinTransformer":
        return 1 if name in {"features.0.0", "permute", "avgpool"} else last
    if kind == "ConvNeXt":
        in_block = own in {"Linear", "GELU", "LayerNorm"} or (own == "Permute" and name.endswith("block.1"))
        return last if in_block else 1
    if kind == "MaxVit":
        parent = network.get_submodule(name.rpartition(".")[0])
        last_in = {"LayerNorm", "Linear", "WindowPartition", "SwapAxes", "RelativePositionalMultiHeadAttention"}
        mlp = any(isinstance(child, nn.Linear) for child in parent.children())
        if own in last_in or mlp or name.endswith(("attn_layer", "mlp_layer", "attn_dropout")):
            return last
    return 1


def _level(images: Tensor) -> Tensor:
    """Replace values by ones, and keep what they depend on: nothing grows or vanishes from layer to layer."""
    tangent = _tangent(images)
    ones = torch.ones(images.shape, dtype=images.dtype)
    return ones if tangent is None else _dual(ones, tangent)


def _dual(images: Tensor, tangent: Tensor) -> Tensor:
    return cast("Tensor", forward_ad.make_dual(images, tangent))  # type: ignore[no-untyped-call]


def _tangent(images: Tensor) -> Tensor | None:
    return cast("Tensor | None", forward_ad.unpack_dual(images).tangent)  # type: ignore[no-untyped-call]


def _conv2d(
    images: Tensor,
    weight: Tensor,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    n, c, h, w = images.shape
    means = images.reshape(n, groups, c // groups, h, w).mean(2)
    sums = _sums(means, tuple(weight.shape[2:]), stride, padding, dilation)
    return _level(sums.repeat_interleave(weight.shape[0] // groups, 1))


def _sums(images: Tensor, kernel: tuple[int, ...], stride: Any, padding: Any, dilation: Any = 1) -> Tensor:
    """Sum over windows, one axis after the other."""
    rows, columns = padding if isinstance(padding, tuple) else (padding, padding)
    images = F.pad(images, (columns, columns, rows, rows))
    for dim in (2, 3):
        step, apart = ((v if isinstance(v, int) else v[dim - 2]) for v in (stride, dilation))
        reach = (kernel[dim - 2] - 1) * apart + 1
        windows = images.unfold(dim, reach, step)[..., ::apart]
        images = windows.sum(-1)
    return images


def _max_pool2d(
    images: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, **rest: Any
) -> Tensor:
    if rest.get("ceil_mode"):
        return _level(F.avg_pool2d(images, kernel_size, stride, padding, ceil_mode=True))
    kernel = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
    return _level(_sums(images, kernel, stride or kernel, padding, dilation))


def _linear(features: Tensor, weight: Tensor, bias: Any = None) -> Tensor:
    means = features.mean(-1, keepdim=True)
    return _level(means.expand(*features.shape[:-1], weight.shape[0]).contiguous())


def _mixed(images: Tensor, dims: Sequence[int]) -> Tensor:
    """Let each value depend on all along some dimensions."""
    return _level(images + images.mean(tuple(dims), keepdim=True))


def _attention(query: Tensor, key: Tensor, value: Tensor, *rest: Any, **options: Any) -> Tensor:
    means = [query.mean(-1, keepdim=True), key.mean((-1, -2), keepdim=True), value.mean(-2, keepdim=True)]
    return _level(means[0] + means[1] + means[2])


@contextmanager
def _positive() -> Iterator[None]:
    """Replace functions by ones with positive derivatives that depend on the same values."""
    same: Callable[..., Tensor] = lambda images, *rest, **options: images  # noqa: E731
    changes: dict[str, Callable[..., Any]] = {
        "conv2d": _conv2d,
        "linear": _linear,
        "max_pool2d": _max_pool2d,
        "batch_norm": lambda images, *rest, **options: _level(images),
        "layer_norm": lambda images, sizes, *rest: _mixed(images, range(-len(sizes), 0)),
        "softmax": lambda images, dim=None, **options: _mixed(images, [dim]),
        "normalize": lambda images, p=2.0, dim=1, **options: _mixed(images, [dim]),
        "scaled_dot_product_attention": _attention,
        **dict.fromkeys(
            ("relu", "relu6", "silu", "gelu", "hardswish", "hardsigmoid", "sigmoid", "dropout", "softplus"), same
        ),
    }
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # one operator for a whole block
    try:
        with ExitStack() as stack:
            for name, change in changes.items():
                stack.enter_context(mock.patch.object(F, name, change))
            stack.enter_context(mock.patch.object(torch, "sigmoid", same))
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


if __name__ == "__main__":
    sys.exit(main())

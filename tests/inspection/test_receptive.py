"""Receptive fields: the published ones, and those that gradients show."""

import importlib.util
import sys
from collections.abc import Callable
from inspect import signature
from pathlib import Path
from random import Random
from types import ModuleType

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from cnnkit.inspection import tracing
from cnnkit.inspection.results import ModuleRow
from cnnkit.inspection.summary import summarize_module, summarize_network

SCRIPTS = Path(__file__).parents[2] / "scripts"


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


operations, graphs = script("random_operations"), script("random_graphs")

# Araujo, Norris, Sim 2019, table of results; ResNet strides in its 3×3 convolutions here. On an image that holds them.
PUBLISHED = {"alexnet": ("features.12", 195), "vgg16": ("features.30", 212), "resnet50": ("layer4", 427)}


@pytest.mark.parametrize("name", PUBLISHED)
def test_fields_are_the_published_ones(name: str) -> None:
    layer, field = PUBLISHED[name]
    rows = {row.name: row for row in summarize_network(f"torchvision/{name}", shape=(3, 800, 800)).layers}
    assert rows[layer].receptive_field == (field, field)


def rows_of(network: nn.Module, shape: tuple[int, ...], batch: int = 1) -> dict[str, ModuleRow]:
    summary = summarize_module(network.float().to("meta"), shape, batch=batch)
    return {row.name: row for row in summary.layers}


def traced(network: nn.Module, shape: tuple[int, ...]) -> tuple[int, ...]:
    trace = tracing.run(network.float().to("meta"), [torch.zeros(1, *shape, device="meta")])
    assert trace.error is None, trace.error
    return trace.records[""].field


def lost(network: nn.Module, shape: tuple[int, ...]) -> str:
    record = tracing.run(network.to("meta"), [torch.zeros(1, *shape, device="meta")]).records[""]
    assert record.field == ()
    return record.lost_in


def check(random: Random, first: str | None = None) -> None:
    """Compare all layers of a random network with what gradients say."""
    graph, shape = graphs.graph_of(random, first)
    fields = graphs.measured(graph, shape)
    rows = rows_of(graph, shape)
    said = [rows[f"layers.{place}"].receptive_field for place in range(len(fields))]
    assert said == fields, (graph.names, graph.sources)


@pytest.mark.slow
@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.randoms(use_true_random=False))
def test_random_graphs_have_the_fields_that_gradients_show(random: Random) -> None:
    torch.manual_seed(0)
    check(random)


@pytest.mark.parametrize("operation", operations.OPERATIONS)
def test_each_operation_has_the_field_that_gradients_show(operation: str) -> None:
    torch.manual_seed(1)
    for seed in range(4):
        check(Random(seed), operation)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:FutureWarning")  # PyTorch's own, in forward mode
def test_the_script_measures_networks_of_torchvision(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["", "squeezenet1_1", "--input", "3x35x41", "--graphs", "3", "--native", "0"])
    assert script("check_receptive_fields").main() == 0
    out = capsys.readouterr().out
    assert "random graphs: 3 of 3 equal" in out
    assert "networks: 1 of 1 equal in all layers" in out


def by_gradient(network: nn.Module, shape: tuple[int, ...]) -> tuple[int, ...]:
    graph = graphs.Graph([network], [[0]], [""])
    for parameter in network.to(torch.float64).eval().parameters():
        nn.init.uniform_(parameter, 0.5, 1.0)  # nothing cancels out
    (field,) = graphs.measured(graph, shape)
    return tuple(field)


class Before(nn.Module):
    """A function before a convolution."""

    def __init__(self, function: nn.Module) -> None:
        super().__init__()
        self.first = function
        self.body = nn.Conv2d(3, 4, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.body(self.first(images))


BEFORE = {
    "slice": operations.Do(lambda x: x[..., ::2, ::2]),
    "backwards": operations.Do(lambda x: x.flip(2)[..., 1::3, :]),
    "stride": nn.Conv2d(3, 3, 1, stride=2),
    "gaps": nn.Conv2d(3, 3, 2, stride=5),
    "dilated": nn.Conv2d(3, 3, 3, dilation=3),
    "adaptive 5": nn.AdaptiveAvgPool2d(5),
    "adaptive 7": nn.AdaptiveAvgPool2d(7),
    "adaptive 18": nn.AdaptiveAvgPool2d(18),
    "adaptive maximum": nn.AdaptiveMaxPool2d(7),
    "nearest": nn.Upsample(scale_factor=2),
    "bilinear": nn.Upsample(scale_factor=2, mode="bilinear"),
    "corners": nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
    "bicubic": nn.Upsample(9, mode="bicubic"),
    "smaller": nn.Upsample(scale_factor=0.4),
}


@pytest.mark.parametrize("side", [13, 14])
@pytest.mark.parametrize("kind", BEFORE)
def test_what_comes_before_a_convolution(kind: str, side: int) -> None:
    shape = (3, side, side + 3)
    network = Before(BEFORE[kind])
    rows = rows_of(network, shape)
    smooth = nn.AdaptiveAvgPool2d(7) if kind == "adaptive maximum" else BEFORE[kind]
    network = Before(smooth).to_empty(device="cpu")
    assert rows["first"].receptive_field == by_gradient(network.first, shape)
    assert rows["body"].receptive_field == by_gradient(network, shape)


def test_windows_that_differ_count_with_the_largest() -> None:
    assert traced(nn.AdaptiveAvgPool2d((12, 10)), (1, 31, 32)) == (4, 4)
    assert traced(nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(1, 1, 3)), (1, 9, 9)) == (2, 2)
    assert traced(nn.Sequential(operations.Do(lambda x: x[..., ::2, ::3]), nn.Conv2d(1, 1, 3)), (1, 20, 20)) == (5, 7)


class Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.near = nn.Conv2d(2, 2, 3, padding=1)
        self.far = nn.Sequential(nn.Conv2d(2, 2, 5, padding=2), nn.Conv2d(2, 2, (7, 3), padding=(3, 1)))

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([self.near(images) + images, self.far(images)], 1)


def test_branches_meet_with_the_largest_field() -> None:
    assert traced(Branches(), (2, 20, 20)) == (11, 7)


class Gated(nn.Module):
    """Squeeze and excitation: every place depends on the whole image, and places stay as close as they were."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.gate = nn.Conv2d(2, 2, 1)
        self.after = nn.Conv2d(2, 2, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        return self.after(images * self.gate(self.pool(images)).sigmoid())


def test_a_gate_sees_the_whole_image_and_no_more() -> None:
    assert traced(Gated(), (2, 20, 30)) == (20, 30)


class Elsewhere(nn.Module):
    """Permuted as ConvNeXt does, shuffled as ShuffleNet does."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.norm = nn.LayerNorm(4)
        self.fc = nn.Linear(4, 4)

    def forward(self, images: Tensor) -> Tensor:
        images = self.fc(self.norm(self.conv(images).permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
        n, c, h, w = images.shape
        return self.conv(images.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w))


def test_dimensions_are_followed_where_they_go() -> None:
    assert traced(Elsewhere(), (4, 9, 11)) == (5, 5)


@pytest.mark.parametrize(
    ("network", "field"),
    [
        (nn.Sequential(nn.Conv2d(3, 2, 4, 4), nn.ConvTranspose2d(2, 1, 4, 4)), (4, 4)),
        (nn.Sequential(nn.MaxPool2d(2), nn.Upsample(scale_factor=2), nn.Conv2d(3, 1, 3)), (4, 4)),
        (nn.Sequential(nn.Conv1d(3, 2, 5, stride=2), nn.MaxPool1d(3)), (9,)),
        (nn.Sequential(nn.Conv3d(3, 2, (1, 3, 5))), (1, 3, 5)),
    ],
    ids=["transposed", "resized", "1d", "3d"],
)
def test_other_layers_have_theirs(network: nn.Module, field: tuple[int, ...]) -> None:
    shape = {1: (3, 32), 2: (3, 32, 32), 3: (3, 8, 8, 8)}[len(field)]
    assert traced(network, shape) == field


ACTIVATIONS = (
    nn.CELU, nn.ELU, nn.GELU, nn.Hardshrink, nn.Hardsigmoid, nn.Hardswish, nn.Hardtanh, nn.LeakyReLU, nn.LogSigmoid,
    nn.Mish, nn.PReLU, nn.ReLU, nn.ReLU6, nn.RReLU, nn.SELU, nn.Sigmoid, nn.SiLU, nn.Softplus, nn.Softshrink,
    nn.Softsign, nn.Tanh, nn.Tanhshrink,
)  # fmt: skip


@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_activations_leave_it_as_it_is(kind: type[nn.Module]) -> None:
    assert traced(nn.Sequential(nn.Conv2d(2, 2, 3), kind(), nn.Conv2d(2, 1, 3)), (2, 8, 8)) == (5, 5)
    if "inplace" in signature(kind).parameters:
        assert traced(nn.Sequential(nn.Conv2d(2, 2, 3), kind(inplace=True), nn.Conv2d(2, 1, 3)), (2, 8, 8)) == (5, 5)


def rows_of_channels(images: Tensor) -> Tensor:
    canvas = images.new_zeros(1, 20, 1, 8)
    canvas[:, 2:18] = images.transpose(1, 2).reshape(1, 16, 1, 8)
    return canvas


def channels_last(images: Tensor) -> Tensor:
    canvas = images.new_zeros(1, 8, 8, 2)
    canvas.permute(0, 3, 1, 2)[...] = images
    return canvas


def after_one_frame(images: Tensor) -> Tensor:
    clip = images.new_zeros(1, 3, 2, 8, 8)
    clip[:, 1] = images
    return clip.mean(1)


def channels_from_a_row(images: Tensor) -> Tensor:
    """Read twelve pixels each as a channel, after a function that adds and drops dimensions of size 1."""
    return F.local_response_norm(images[:, :1], 2).flatten(1)[:, :24].reshape(1, 2, 3, 4)


@pytest.mark.parametrize(
    ("function", "field"),
    [(rows_of_channels, (1, 1)), (channels_last, (1, 1)), (after_one_frame, (1, 1)), (channels_from_a_row, (3, 5))],
)
def test_channels_are_known_where_tensors_are_written_to_and_lose_dimensions(
    function: Callable[[Tensor], Tensor], field: tuple[int, int]
) -> None:
    assert traced(operations.Do(function), (2, 8, 8)) == field


class Attended(nn.Module):
    """Spatial attention, as in CBAM: where to look comes from the largest and the mean of all channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 7, padding=3)

    def forward(self, images: Tensor) -> Tensor:
        seen = torch.cat([images.max(1, keepdim=True).values, images.mean(1, keepdim=True)], 1)
        return images * self.conv(seen).sigmoid()


def test_the_largest_of_all_channels_keeps_its_place() -> None:
    assert traced(Attended(), (3, 20, 20)) == (7, 7)


class Twins(nn.Module):
    """Compares two images."""

    def __init__(self) -> None:
        super().__init__()
        self.near = nn.Conv2d(1, 2, 3, padding=1)
        self.far = nn.Conv2d(1, 2, 5, padding=2)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return self.near(first) - self.far(self.near(second)[:, :1])


def test_every_input_is_one_to_count_from() -> None:
    inputs = [torch.zeros(1, 1, 20, 20, device="meta") for _ in range(2)]
    records = tracing.run(Twins().to("meta"), inputs).records
    assert {name: records[name].field for name in ("near", "far", "")} == {"near": (3, 3), "far": (7, 7), "": (7, 7)}


class Pads(nn.Module):
    """One input with its places, and a vector: only the image has a field."""

    def forward(self, images: Tensor, vector: Tensor) -> Tensor:
        return images + vector[:, :, None, None]


def test_a_vector_beside_the_image_has_none() -> None:
    inputs = [torch.zeros(1, 2, 9, 9, device="meta"), torch.zeros(1, 2, device="meta")]
    assert tracing.run(Pads(), inputs).records[""].field == (1, 1)


class Meeting(nn.Module):
    """Joins an image and a sequence: there is no one number of axes to count along."""

    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Conv2d(1, 2, 3)
        self.sequence = nn.Conv1d(1, 2, 5)

    def forward(self, images: Tensor, sequences: Tensor) -> Tensor:
        return self.image(images).mean((2, 3)) + self.sequence(sequences).mean(2)


def test_inputs_that_differ_in_their_axes_have_none_together() -> None:
    inputs = [torch.zeros(1, 1, 9, 9, device="meta"), torch.zeros(1, 1, 9, device="meta")]
    records = tracing.run(Meeting().to("meta"), inputs).records
    assert (records["image"].field, records["sequence"].field, records[""].field) == ((3, 3), (5,), ())
    assert [bool(records[name].lost_in) for name in ("image", "sequence", "")] == [False, False, True]


class Reduced(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images + images.mean((2, 3))[:, :, None, None]


class Tokens(nn.Module):
    """A small vision transformer on one channel."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(16, 8)
        self.mix = nn.Linear(4, 4)
        self.block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, images: Tensor) -> Tensor:
        n = len(images)
        patches = images.view(n, 2, 4, 2, 4).permute(0, 1, 3, 2, 4).reshape(n, 4, 16)
        tokens = self.embed(patches)
        rows = self.mix(tokens.view(n, 2, 2, 8).permute(0, 1, 3, 2).reshape(n, 16, 2).repeat(1, 1, 2))
        return self.head(self.block(tokens).mean(1)) + rows.mean()


def test_tokens_are_followed_into_attention() -> None:
    rows = rows_of(Tokens(), (1, 8, 8))
    assert rows["embed"].receptive_field == (4, 4)
    assert rows["block"].receptive_field == rows["head"].receptive_field == (8, 8)


@pytest.mark.parametrize(
    ("network", "field"),
    [
        (nn.Flatten(), (1, 1)),
        (nn.Sequential(nn.Flatten(), nn.Linear(128, 4)), (8, 8)),
        (nn.Linear(8, 8), (1, 8)),
        (nn.Sequential(nn.Unflatten(1, (1, 2)), nn.Linear(8, 8)), (1, 8)),
        (Reduced(), (8, 8)),
        (nn.Softmax(1), (1, 1)),
        (nn.Softmax(3), (1, 8)),
        (nn.GroupNorm(1, 2), (8, 8)),
        (nn.BatchNorm2d(2), (1, 1)),
        (nn.PixelUnshuffle(2), (2, 2)),
        (nn.Sequential(operations.Do(lambda x: torch.roll(x, 1)), nn.Conv2d(2, 1, (3, 1))), (8, 1)),
        (nn.Sequential(nn.Conv2d(2, 2, 1, padding=1), nn.Conv2d(2, 2, 1)), (1, 1)),
    ],
    ids=[
        "flattened", "then linear", "along the image", "unflattened", "mean", "softmax", "softmax along the image",
        "group norm", "batch norm", "pixels to channels", "shifted as one row", "padding alone",
    ],
)  # fmt: skip
def test_what_mixes_places_has_the_field_of_all(network: nn.Module, field: tuple[int, int]) -> None:
    assert traced(network, (2, 8, 8)) == field


def test_batches_change_nothing() -> None:
    for network in (Tokens(), Branches().requires_grad_(False)):
        shape = (1, 8, 8) if isinstance(network, Tokens) else (2, 8, 8)
        one, many = rows_of(network, shape), rows_of(network, shape, batch=5)
        assert {n: r.receptive_field for n, r in one.items()} == {n: r.receptive_field for n, r in many.items()}


def test_a_window_of_swin_then_all() -> None:
    rows = {row.name: row for row in summarize_network("torchvision/swin_t").layers}
    assert rows["features.0"].receptive_field == (4, 4)
    assert rows["features.1.0"].receptive_field == (28, 28)
    assert rows["norm"].receptive_field == rows["head"].receptive_field == (224, 224)


class Masked(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        tokens = images.flatten(2).transpose(1, 2)
        return F.scaled_dot_product_attention(tokens, tokens, tokens, is_causal=True)


ELSEWHERE = {
    "grid_sampler_2d": operations.Do(lambda x: F.grid_sample(x, x[:, :2].permute(0, 2, 3, 1), align_corners=False)),
    "index: an index, whose values are not known": operations.Do(lambda x: x[:, :, [1, 2]]),
    "masked_fill: a mask": operations.Do(lambda x: x.masked_fill(torch.ones_like(x, dtype=torch.bool), 0)),
    "tril: a mask": Masked(),
    "sort": operations.Do(lambda x: torch.sort(x, dim=2, stable=True).values),
}


@pytest.mark.parametrize("why", ELSEWHERE)
def test_what_goes_by_values_is_unknown_and_stays_so(why: str) -> None:
    network = ELSEWHERE[why]
    assert lost(network, (2, 6, 6)).startswith(why)
    rows = rows_of(nn.Sequential(nn.Conv2d(2, 2, 3), network, nn.Softmax(1)), (2, 8, 8))
    assert rows["0"].receptive_field == (3, 3)
    assert rows["2"].receptive_field_lost == rows["1"].receptive_field_lost != ""


def test_what_was_lost_and_overwritten_is_known_again() -> None:
    def again(images: Tensor) -> Tensor:
        other = images[:, :, [1, 0, 2, 3, 4, 5]]
        other.copy_(images)
        return other

    assert traced(operations.Do(again), (2, 6, 6)) == (1, 1)

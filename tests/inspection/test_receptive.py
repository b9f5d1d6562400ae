"""Receptive fields: the published ones, and those that gradients show."""

from inspect import signature

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from cnnkit.inspection import tracing
from cnnkit.inspection.summary import summarize

# Araujo, Norris, Sim 2019, table of results; ResNet strides in its 3×3 convolutions here.
PUBLISHED = {"alexnet": ("features.12", 195), "vgg16": ("features.30", 212), "resnet50": ("layer4", 427)}


@pytest.mark.parametrize("name", PUBLISHED)
def test_fields_are_the_published_ones(name: str) -> None:
    layer, field = PUBLISHED[name]
    rows = {row.name: row for row in summarize(f"torchvision/{name}").layers}
    assert rows[layer].receptive_field == (field, field)


def traced(network: nn.Module, shape: tuple[int, ...]) -> tuple[int, ...]:
    trace = tracing.run(network.float().to("meta"), [torch.zeros(1, *shape, device="meta")])
    assert trace.error is None, trace.error
    return trace.records[""].field


def by_gradient(network: nn.Module, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Measure how far the pixels lie apart that the place in the middle of the output depends on."""
    image = torch.rand(1, *shape, dtype=torch.float64, requires_grad=True)
    output = network.double().eval()(image)
    middle = tuple(size // 2 for size in output.shape[2:])
    output[(0, slice(None), *middle)].sum().backward()
    touched = image.grad[0].abs().sum(0).nonzero()
    return tuple((touched.max(0).values - touched.min(0).values + 1).tolist())


layers = st.one_of(
    st.builds(
        lambda k, s, d: nn.Conv2d(1, 1, k, s, padding=d * (k // 2), dilation=d),
        st.integers(1, 4), st.integers(1, 2), st.integers(1, 2),
    ),
    st.builds(nn.AvgPool2d, st.integers(1, 3), st.integers(1, 2)),
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(st.lists(layers, min_size=1, max_size=4))
def test_chains_have_the_field_that_gradients_show(parts: list[nn.Module]) -> None:
    network = nn.Sequential(*parts)
    for parameter in network.parameters():
        nn.init.uniform_(parameter, 0.5, 1.0)  # nothing cancels out
    measured = by_gradient(network, (1, 160, 160))
    assert traced(network, (1, 160, 160)) == measured


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


def test_a_gate_spreads_the_field_and_not_the_places() -> None:
    assert traced(Gated(), (2, 20, 30)) == (22, 32)


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
        (nn.Sequential(nn.MaxPool2d(2), nn.Upsample(scale_factor=2), nn.Conv2d(3, 1, 3)), (6, 6)),
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


class Reduced(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images + images.mean((2, 3))[:, :, None, None]


@pytest.mark.parametrize(
    "network",
    [nn.Flatten(), nn.Linear(8, 8), nn.Sequential(nn.Unflatten(1, (1, 2)), nn.Linear(8, 8)), Reduced(), nn.Softmax(1)],
    ids=["flattened", "along the image", "unflattened", "without its dimensions", "softmax"],
)
def test_where_it_is_not_defined_there_is_none(network: nn.Module) -> None:
    assert traced(network, (2, 8, 8)) == ()


def test_attention_has_none_from_its_first_block_on() -> None:
    rows = {row.name: row for row in summarize("torchvision/swin_t").layers}
    assert rows["features.0"].receptive_field == (4, 4)
    assert rows["features.1.0"].receptive_field == rows["norm"].receptive_field == ()

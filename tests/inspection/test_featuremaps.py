"""Feature maps: exactly what the layers gave, and which of them Grad-CAM looks at."""

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn

from cnnkit.inspection import featuremaps
from cnnkit.sources import create_model
from tests.hooks import hooks_of

ARTICLE = [f"block{block}.{layer}" for block in (1, 2, 3) for layer in ("conv1", "conv2", "pool", "dropout")]


def image(*shape: int) -> Tensor:
    return torch.randn(1, *shape, generator=torch.Generator().manual_seed(5))


def network(name: str) -> nn.Module:
    torch.manual_seed(3)
    return create_model(name).eval()


class Twice(nn.Module):
    """Runs one convolution twice, and its activation in place."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.pool = nn.MaxPool2d(2, return_indices=True)
        self.fc = nn.Linear(32, 2)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.pool(self.relu(self.conv(self.relu(self.conv(images)))))[0].flatten(1))


def test_the_articles_twelve_layers_are_exactly_what_the_layers_give() -> None:
    net, inputs = network("shapes-cnn"), image(3, 28, 28)
    found = featuremaps.trace(net, inputs)
    assert [maps.layer for maps in found.maps] == ARTICLE
    # The same once more, layer by layer, without hooks.
    expected = {}
    with torch.inference_mode():
        value = inputs
        for block in ("block1", "block2", "block3"):
            for name, layer in net.get_submodule(block).named_children():
                value = layer(value)
                expected[f"{block}.{name}"] = value[0].numpy().copy()
    for maps in found.maps:
        np.testing.assert_array_equal(maps.maps, expected[maps.layer])
    assert [maps.same_as for maps in found.maps if maps.kind == "Dropout"] == [
        "block1.pool", "block2.pool", "block3.pool",
    ]  # fmt: skip
    assert all(maps.same_as is None for maps in found.maps if maps.kind != "Dropout")


def test_the_network_keeps_no_hooks_even_when_it_breaks() -> None:
    net = network("mnist-cnn")
    featuremaps.trace(net, image(1, 28, 28))
    with pytest.raises(RuntimeError):
        featuremaps.trace(net, image(1, 20, 20))
    assert hooks_of(net) == []


def test_a_layer_that_runs_twice_shows_both_and_is_not_spoilt_by_what_works_in_place() -> None:
    net, inputs = Twice().eval(), image(2, 8, 8)
    found = featuremaps.trace(net, inputs)
    assert [maps.layer for maps in found.maps] == ["conv", "conv, call 2", "pool"]
    with torch.inference_mode():
        first = net.conv(inputs)
        second = net.conv(first.relu())
    np.testing.assert_array_equal(found.maps[0].maps, first[0].numpy())
    np.testing.assert_array_equal(found.maps[1].maps, second[0].numpy())
    assert found.maps[0].maps.min() < 0


def test_silent_maps_are_those_without_anything_above_zero() -> None:
    net = network("mnist-cnn")
    with torch.no_grad():
        net.conv1.weight[:3] = 0
        net.conv1.bias[:3] = torch.tensor([0.0, -1.0, 0.5])
    assert featuremaps.trace(net, image(1, 28, 28)).maps[0].silent == 2


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("shapes-cnn", (3, 28, 28), "block3.relu2"),
        ("digit-cnn", (1, 28, 28), "block2.relu2"),
        ("lenet", (1, 28, 28), "sigmoid2"),
        ("cifar-resnet", (3, 32, 32), "stage3"),
        ("torchvision/resnet18", (3, 64, 64), "layer4"),
        ("torchvision/squeezenet1_1", (3, 64, 64), "classifier.2"),
        ("torchvision/mobilenet_v3_small", (3, 64, 64), "features"),
        ("softmax-regression", (1, 28, 28), None),
    ],
)
def test_grad_cam_looks_at_the_end_of_the_last_maps(name: str, shape: tuple[int, ...], expected: str | None) -> None:
    net = network(name)
    assert featuremaps.last_maps(net, featuremaps.trace(net, image(*shape))) == expected


def test_maps_of_a_single_pixel_show_no_place() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 8, 3), nn.Flatten(), nn.Linear(8, 2)).eval()
    assert featuremaps.last_maps(net, featuremaps.trace(net, image(1, 5, 5))) == "1"
    assert featuremaps.last_maps(net[2:], featuremaps.trace(net[2:], image(4, 3, 3))) is None


def test_filters_are_the_weights_and_too_many_of_them_are_named() -> None:
    net = network("shapes-cnn")
    found, left_out = featuremaps.filters(net)
    assert [bank.layer for bank in found] == [name for name in ARTICLE if "conv" in name]
    np.testing.assert_array_equal(found[1].kernels, net.block1.conv2.weight.detach().numpy())
    assert left_out == []
    found, left_out = featuremaps.filters(torchvision.models.resnet18(weights=None))
    assert found[0].layer == "conv1"
    assert "layer4.1.conv2" in left_out
    assert not {"layer2.0.downsample.0"} & {*left_out, *(bank.layer for bank in found)}

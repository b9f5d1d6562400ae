"""Networks are built for the images that they are to take; lazy layers get their shapes from them."""

import pytest
import torch
from torch import nn

from cnnkit import registry
from cnnkit.errors import UsageError
from cnnkit.sources import create_model, find
from tests.expecting import expect_error

NAMES = [name for name, spec in registry.models().items() if spec.factory.startswith("cnnkit.")]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 67, 93), (1, 96, 66)])
def test_registered_networks_take_the_images_that_they_are_built_for(name: str, shape: tuple[int, int, int]) -> None:
    least = registry.model(name).smallest_side
    if min(shape[1:]) < least:
        with expect_error(UsageError, f"{least}×{least}"):
            create_model(name, 7, shape)
        return
    with torch.device("meta"):
        network = create_model(name, 7, shape)
    assert network.eval()(torch.zeros(2, *shape, device="meta")).shape == (2, 7)


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
@pytest.mark.parametrize("name", NAMES)
def test_the_smallest_images_are_as_the_registry_says(name: str) -> None:
    spec = registry.model(name)
    factory = registry.import_factory(spec.factory)

    def goes(side: int) -> bool:
        with torch.device("meta"):
            try:
                network = factory(num_classes=3, input_shape=(1, side, side)).eval()
                return network(torch.zeros(2, 1, side, side)).shape == (2, 3)
            except (RuntimeError, ValueError):
                return False

    sides = range(max(1, spec.smallest_side - 4), spec.smallest_side + 5)
    assert [goes(side) for side in sides] == [side >= spec.smallest_side for side in sides]


@pytest.mark.parametrize("name", NAMES)
def test_the_reference_is_what_it_was(name: str) -> None:
    spec = registry.model(name)
    torch.manual_seed(0)
    own = create_model(name)
    torch.manual_seed(0)
    given = create_model(name, input_shape=spec.input_shape)
    assert sum(parameter.numel() for parameter in own.parameters()) == spec.parameters
    assert all(map(torch.equal, own.state_dict().values(), given.state_dict().values()))


@pytest.mark.usefixtures("nets")
def test_own_factories_take_a_shape_where_they_have_a_parameter_for_it() -> None:
    assert find("tinynets:shaped").takes_shape()
    assert not find("tinynets:Linear").takes_shape()
    assert not find("torchvision/resnet18").takes_shape()
    assert create_model("tinynets:shaped", 4, (1, 5, 6)).fc.in_features == 30
    assert create_model("tinynets:Linear", 4, (1, 5, 6)).fc.in_features == 192


@pytest.mark.usefixtures("nets")
def test_lazy_layers_get_their_shapes_and_first_weights() -> None:
    torch.manual_seed(0)
    network = create_model("tinynets:lazy", 4, (3, 9, 9))
    assert [type(layer) for layer in network][:2] == [nn.Conv2d, nn.BatchNorm2d]
    assert (network[0].in_channels, network[1].num_features, network[4].in_features) == (3, 6, 6 * 7 * 7)
    assert network.training
    assert int(network[1].num_batches_tracked) == 0
    torch.manual_seed(0)
    again = create_model("tinynets:lazy", 4, (3, 9, 9))
    assert all(map(torch.equal, network.state_dict().values(), again.state_dict().values()))
    assert any(map(nn.parameter.is_lazy, find("tinynets:lazy").build().parameters()))


@pytest.mark.usefixtures("nets")
@pytest.mark.parametrize(
    ("name", "shape", "layer"),
    [
        ("tinynets:lazy", (3, 2, 2), "3×2×2"),
        ("tinynets:lazy_unused", (3, 9, 9), "unused"),
    ],
)
def test_lazy_layers_that_get_no_shape_are_named(name: str, shape: tuple[int, int, int], layer: str) -> None:
    with expect_error(UsageError, name, layer):
        create_model(name, 4, shape)

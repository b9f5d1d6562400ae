"""Networks without weights."""

from pathlib import Path

import pytest
import torch
from torch import nn

from cnnkit.card import ModelCard
from cnnkit.errors import CheckpointError, UsageError
from cnnkit.images import Preprocessing
from cnnkit.inspection import building
from cnnkit.training import networks
from cnnkit.training.building import create_model


@pytest.mark.parametrize("name", ["alexnet", "torchvision/regnet_y_400mf", "torchvision/inception_v3"])
def test_nothing_of_a_network_has_memory(name: str) -> None:
    network, _ = building.build(name)
    assert {tensor.device.type for tensor in network.state_dict().values()} == {"meta"}
    shapes = {key: tensor.shape for key, tensor in network.state_dict().items()}
    real = networks.create_model(name)
    assert shapes == {key: tensor.shape for key, tensor in real.state_dict().items()}
    assert [p.requires_grad for p in network.parameters()] == [p.requires_grad for p in real.parameters()]


def test_parameters_that_are_one_stay_one() -> None:
    def make() -> nn.Module:
        weight = nn.Parameter(torch.ones(4, 4))
        layers = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4))
        layers[0].weight = weight
        layers[1].weight = weight
        layers[2].weight = layers[0].weight
        return layers

    assert len({id(layer.weight) for layer in building.without_weights(make)}) == 1


def test_building_elsewhere_is_as_before() -> None:
    building.build("lenet")
    assert nn.Linear(2, 2).weight.device.type == "cpu"
    with pytest.raises(ZeroDivisionError):
        building.without_weights(lambda: nn.Linear(1 // 0, 2))
    assert nn.Linear(2, 2).weight.device.type == "cpu"


def test_a_builder_that_loads_its_weights_is_no_concern() -> None:
    def make() -> nn.Module:
        network = nn.Linear(2, 2)
        network.load_state_dict({"weight": torch.ones(2, 2), "bias": torch.ones(2)})
        return network

    assert building.without_weights(make).weight.is_meta


@pytest.mark.usefixtures("nets")
@pytest.mark.parametrize(
    ("name", "message"), [("tinynets:failing", "KeyError: 2|KeyError"), ("tinynets:text", "returned str")]
)
def test_what_cannot_be_built_is_said(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        building.build(name)


def test_of_a_checkpoint_the_header_is_read(tiny_run: Path, tmp_path: Path) -> None:
    network, shapes = building.build(str(tiny_run))
    assert shapes == ((3, 28, 28),)
    assert all(p.is_meta for p in network.parameters())
    assert not any(p.is_meta for p in building.build_with_weights(str(tiny_run)).parameters())
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes((tiny_run / "best.safetensors").read_bytes()[:-10])
    with pytest.raises(CheckpointError, match="is not a whole safetensors file"):
        building.build(str(cut))


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path, tiny_run: Path) -> None:
    _, card = networks.load_checkpoint(tiny_run / "best.safetensors", "tiny")
    path = tmp_path / "other.safetensors"
    networks.save_checkpoint(path, nn.Sequential(nn.Linear(2, 2)), card)
    with pytest.raises(
        CheckpointError, match=r"does not fit the network 'shapes-cnn' .*: 0\.bias, 0\.weight.* and others"
    ):
        building.build(str(path))


@pytest.mark.usefixtures("nets")
def test_code_that_a_checkpoint_names_is_imported_only_when_trusted(tmp_path: Path, tiny_run: Path) -> None:
    from dataclasses import replace

    _, card = networks.load_checkpoint(tiny_run / "best.safetensors", "tiny")
    path = tmp_path / "own.safetensors"
    own = networks.create_model("tinynets:Linear", 3)
    networks.save_checkpoint(path, own, replace(card, model="tinynets:Linear"))
    with pytest.raises(CheckpointError, match="--trust-code"):
        building.build(str(path))
    assert building.build(str(path), trust_code=True)[0].fc.out_features == 3


@pytest.mark.parametrize("given", [(), "3x3", (0, 2), (1, 2.5), [(1, 2), 3], 7])
def test_shapes_that_make_no_sense_are_refused(given: object) -> None:
    if given == ():
        assert building.shapes_of(given) == ()
        return
    with pytest.raises(UsageError, match="an input shape of"):
        building.shapes_of(given)


@pytest.mark.usefixtures("nets")
def test_a_checkpoint_without_the_weights_of_a_lazy_layer_is_refused(tmp_path: Path) -> None:
    network = create_model("tinynets:lazy", 2, (3, 8, 8))
    card = ModelCard("tinynets:lazy", ("a", "b"), Preprocessing(3, 8, 8, (0.0,) * 3, (1.0,) * 3))
    path = tmp_path / "lazy.safetensors"
    networks.save_checkpoint(path, network, card)
    assert building.build(str(path), trust_code=True)[1] == ((3, 8, 8),)
    networks.save_checkpoint(path, network[:-1], card)
    with pytest.raises(CheckpointError, match=r"does not fit .*: 4\.bias, 4\.weight"):
        building.build(str(path), trust_code=True)

"""torchvision's weights: the same pixels, the same input, and the same tensors as torchvision itself has."""

import importlib.util
import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torch import Tensor, nn
from torchvision.models import get_model, get_model_weights, list_models

from cnnkit.card import ModelCard
from cnnkit.errors import CheckpointError, UnknownNameError
from cnnkit.images import Preprocessing, prepare
from cnnkit.training import finetuning, networks
from cnnkit.training.pretrained import torchvision_preprocessing, torchvision_weights

NAMES = list_models(module=torchvision.models)
SIZES = [(500, 375), (375, 500), (300, 301), (37, 61), (224, 224), (900, 150)]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    path = Path(__file__).parents[2] / "scripts" / "check_torchvision_pixels.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def by_form() -> dict[Preprocessing, list[str]]:
    groups: dict[Preprocessing, list[str]] = defaultdict(list)
    for name in NAMES:
        form = torchvision_preprocessing(name)
        groups[replace(form, mean=(0.0,) * 3, std=(1.0,) * 3)].append(name)
    return groups


# The pixels.


@pytest.mark.parametrize("name", NAMES)
def test_every_classifier_has_the_numbers_of_its_own_transforms(name: str, script: ModuleType) -> None:
    form, transform = torchvision_preprocessing(name), get_model_weights(name).DEFAULT.transforms()
    assert type(transform).__name__ == "ImageClassification"
    assert [form.height] == [form.width] == transform.crop_size
    assert ([form.resize], form.interpolation, form.fit) == (
        transform.resize_size,
        transform.interpolation.value,
        "cover",
    )
    assert script.same_scale(form, name)


@pytest.mark.parametrize(("form", "names"), by_form().items(), ids=lambda v: v[0] if isinstance(v, list) else "")
def test_pixels_are_torchvisions_within_a_level(form: Preprocessing, names: list[str], script: ModuleType) -> None:
    for size in SIZES:
        file = script.drawn(*size)
        difference = np.abs(script.levels(file, names[0]) - prepare(file, form).pixels)
        assert (difference <= 1).mean() >= 0.999, size
        assert difference.max() <= 2, size


def test_the_script_finds_a_preprocessing_that_is_not_torchvisions(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(script, "SHAPES", [(500, 375)])
    monkeypatch.setattr("sys.argv", ["it", "resnet18", "googlenet"])
    assert script.main() == 0
    assert "2 of 2 networks as torchvision on 1 images" in capsys.readouterr().out

    def as_before(name: str) -> Preprocessing:
        return replace(torchvision_preprocessing(name), resize=240, mean=(0.485, 0.456, 0.406))

    monkeypatch.setattr(script, "torchvision_preprocessing", as_before)
    assert script.main() == 3


def test_an_unknown_network_is_an_unknown_name() -> None:
    for call in (torchvision_preprocessing, torchvision_weights):
        with pytest.raises(UnknownNameError, match="Did you mean resnet1"):
            call("resnet1")


# The weights, beside those that torchvision itself reads from the same file.


@pytest.fixture
def plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offline: None) -> Callable[[str, Any], None]:
    """Put a state where torchvision keeps what it downloaded; nothing can be downloaded."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))

    def do(name: str, state: Any) -> None:
        folder = tmp_path / "torch" / "hub" / "checkpoints"
        folder.mkdir(parents=True)
        torch.save(state, folder / get_model_weights(name).DEFAULT.url.rpartition("/")[2])

    return do


def random_network(name: str, **options: Any) -> nn.Module:
    torch.manual_seed(5)
    network: nn.Module = get_model(name, weights=None, **options)
    return network.eval()


def renamed(state: dict[str, Tensor], pattern: str, old: str) -> None:
    for key in list(state):
        state[re.sub(pattern, old, key)] = state.pop(key)


def without_counts(state: dict[str, Tensor]) -> None:
    """As PyTorch before 0.4.1 wrote it."""
    for key in [key for key in state if key.endswith("num_batches_tracked")]:
        del state[key]
    del state._metadata  # type: ignore[attr-defined]


def of_first_densenet(state: dict[str, Tensor]) -> None:
    without_counts(state)
    renamed(state, r"(denselayer\d+\.(?:norm|conv))(\d)", r"\1.\2")


OLD_FILES: dict[str, Callable[[dict[str, Tensor]], None]] = {
    "densenet121": of_first_densenet,
    "mnasnet0_5": lambda state: None,
    "resnet18": without_counts,
}


@pytest.mark.parametrize("name", OLD_FILES)
def test_files_with_the_names_of_older_versions_are_read_as_torchvision_reads_them(
    name: str, plant: Callable[[str, Any], None], tmp_path: Path
) -> None:
    state = random_network(name).state_dict()
    OLD_FILES[name](state)
    plant(name, state)
    expected = get_model(name, weights="DEFAULT").state_dict()
    found, labels = torchvision_weights(name)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    assert len(labels) == 1000
    # They go into a new network, into a file, and out of it again.
    source = finetuning.Source(name, found, labels, torchvision_preprocessing(name))
    network = networks.create_model(f"torchvision/{name}")
    finetuning.start_from(network, source, None)
    card = ModelCard(f"torchvision/{name}", labels, source.preprocessing)
    networks.save_checkpoint(tmp_path / "it.safetensors", network, card)
    loaded, _ = networks.load_checkpoint(tmp_path / "it.safetensors", "it")
    assert all(torch.equal(tensor, expected[key]) for key, tensor in loaded.state_dict().items())


def test_a_vision_transformer_of_torchvision_0_12_is_read(plant: Callable[[str, Any], None]) -> None:
    with torch.device("meta"):
        shapes = get_model("vit_b_32", weights=None).state_dict()
    # One number in all places takes no room, neither here nor in the file.
    state = {name: torch.zeros(()).expand(tensor.shape) for name, tensor in shapes.items()}
    renamed(state, r"mlp\.0\.", "mlp.linear_1.")
    renamed(state, r"mlp\.3\.", "mlp.linear_2.")
    assert state.keys() != shapes.keys()
    plant("vit_b_32", state)
    assert torchvision_weights("vit_b_32")[0].keys() == shapes.keys()


def test_weights_of_another_network_under_its_name_are_refused(plant: Callable[[str, Any], None]) -> None:
    plant("squeezenet1_1", random_network("squeezenet1_0").state_dict())
    with pytest.raises(CheckpointError, match=r"does not fit torchvision/squeezenet1_1: .* size mismatch"):
        torchvision_weights("squeezenet1_1")


# What GoogLeNet and Inception do to their input.


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_the_input_is_the_one_that_the_weights_were_trained_on(
    name: str, plant: Callable[[str, Any], None], tmp_path: Path, script: ModuleType
) -> None:
    plant(name, random_network(name, aux_logits=True, init_weights=False).state_dict())
    theirs = get_model(name, weights="DEFAULT").eval()
    file = script.drawn(*torchvision_preprocessing(name).shape[:2])
    image = get_model_weights(name).DEFAULT.transforms()(Image.open(BytesIO(file)))[None]
    expected = reaching_first_layer(theirs, lambda: theirs(image))
    assert not torch.allclose(expected, image, atol=0.1)
    source = finetuning.read_source(f"torchvision/{name}")
    network = networks.create_model(source.name)
    finetuning.start_from(network, source, None)
    card = ModelCard(source.name, source.labels, source.preprocessing)
    networks.save_checkpoint(tmp_path / "it.safetensors", network, card)
    ours = networks.TorchNetwork(*networks.load_checkpoint(tmp_path / "it.safetensors", "it"), "cpu")
    pixels = np.stack([prepare(file, source.preprocessing).pixels])
    found = reaching_first_layer(ours.module, lambda: ours.logits(pixels))
    # One level of a pixel is 2 / 255.
    assert ((found - expected).abs() < 1.01 * 2 / 255).float().mean() >= 0.999
    assert (found - expected).abs().median() < 1e-6


def reaching_first_layer(network: nn.Module, run: Callable[[], Any]) -> Tensor:
    """Return what the first convolution of a network gets while something is run."""
    first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    seen: list[Tensor] = []
    handle = first.register_forward_pre_hook(lambda _, given: seen.append(given[0].clone()))
    with torch.inference_mode():
        run()
    handle.remove()
    return seen[0]

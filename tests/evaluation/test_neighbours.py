"""The nearest training images, against all of them compared one by one."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import cnnkit
from cnnkit.card import ModelCard
from cnnkit.data.loaded import Split
from cnnkit.evaluation.neighbours import Neighbours, nearest
from cnnkit.images import Preprocessing
from cnnkit.models.networks import TorchNetwork
from cnnkit.operation import result_of
from cnnkit.sources import create_model
from tests.hooks import hooks_of

FORM = Preprocessing(3, 8, 8, (0.0,) * 3, (1.0,) * 3)


@pytest.fixture
def make(nets: None) -> Callable[[str], TorchNetwork]:
    def build(name: str) -> TorchNetwork:
        torch.manual_seed(3)
        network = create_model(f"tinynets:{name}")
        labels = tuple("abc"[: len(network.eval()(torch.zeros(1, 3, 8, 8))[0])])
        return TorchNetwork(network, ModelCard(name, labels, FORM), "cpu")

    return build


def drawn(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (count, 8, 8, 3), np.uint8)


def brute(features: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compare each with each in double precision."""
    unit, other = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (features.astype(float), others.astype(float)))
    cosines = unit @ other.T
    return cosines.argmax(1), cosines.max(1)


def features_of(network: TorchNetwork, images: np.ndarray) -> np.ndarray:
    """What the last layer of `Regular` is given, computed without hooks."""
    net = network.module
    inputs = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        return nn.functional.max_pool2d(net.norm(net.conv(inputs)).relu(), 2).flatten(1).numpy()


def split_of(images: np.ndarray) -> Split:
    return Split(torch.from_numpy(images), torch.zeros(len(images), dtype=torch.int64))


def agree(found: Neighbours, expected: tuple[np.ndarray, np.ndarray]) -> None:
    np.testing.assert_array_equal(found.positions, expected[0])
    np.testing.assert_allclose(found.similarities, expected[1], atol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 7, 256])
def test_the_nearest_are_those_of_all_compared(batch_size: int, make: Callable[[str], TorchNetwork]) -> None:
    network, images, others = make("Regular"), drawn(9, 0), drawn(50, 1)
    found = result_of(nearest(network, images, split_of(others), batch_size=batch_size))
    agree(found, brute(features_of(network, images), features_of(network, others)))
    assert found.space == "the input of the layer head"


def test_progress_counts_the_images_of_the_split(make: Callable[[str], TorchNetwork]) -> None:
    steps = list(nearest(make("Regular"), drawn(2, 0), split_of(drawn(10, 1)), batch_size=4))
    assert [(step.done, step.total) for step in steps] == [(4, 10), (8, 10), (10, 10)]


def test_an_image_of_the_split_is_not_its_own_neighbour(make: Callable[[str], TorchNetwork]) -> None:
    network, others = make("Regular"), drawn(20, 1)
    others[13] = others[4]
    own = torch.tensor([4, -1, 13])
    images = others[[4, 4, 13]]
    found = result_of(nearest(network, images, split_of(others), own=own, batch_size=6))
    first, twin, last = found.positions.tolist()
    assert (first, last) == (13, 4)
    assert twin in {4, 13}
    assert found.similarities.tolist() == pytest.approx([1, 1, 1], abs=1e-5)


def test_maps_before_the_last_layer_are_averaged(make: Callable[[str], TorchNetwork]) -> None:
    network, images, others = make("Pooled"), drawn(5, 0), drawn(30, 1)
    found = result_of(nearest(network, images, split_of(others)))
    agree(found, brute(images.mean((1, 2)), others.mean((1, 2))))
    assert found.space == "the input of the layer conv"


def test_a_network_without_weights_is_compared_by_its_logits(make: Callable[[str], TorchNetwork]) -> None:
    network, images, others = make("Weightless"), drawn(5, 0), drawn(30, 1)
    found = result_of(nearest(network, images, split_of(others)))
    logits = [network.logits(x) - network.logits(x).mean(1, keepdims=True) for x in (images, others)]
    agree(found, brute(*logits))
    assert found.space == "the logits"


def test_an_onnx_file_is_compared_by_its_logits(tiny_onnx: Path) -> None:
    network = cnnkit.load(tiny_onnx).network
    images = np.random.default_rng(0).integers(0, 255, (40, 28, 28, 3), np.uint8)
    found = result_of(nearest(network, images[:5], split_of(images[5:])))
    logits = [network.logits(x) - network.logits(x).mean(1, keepdims=True) for x in (images[:5], images[5:])]
    agree(found, brute(*logits))
    assert found.space == "the logits"


def test_the_network_is_left_as_it_was(make: Callable[[str], TorchNetwork]) -> None:
    network = make("Regular")
    steps = nearest(network, drawn(2, 0), split_of(drawn(10, 1)), batch_size=4)
    next(steps)
    assert hooks_of(network.module.head)
    steps.close()
    assert hooks_of(network.module) == []

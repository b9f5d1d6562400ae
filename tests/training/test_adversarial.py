"""Training images moved to where the network does worst, and nothing else moved with them."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cnnkit.images import Preprocessing
from cnnkit.recipe import Recipe
from cnnkit.training import randomness
from cnnkit.training.adversarial import Adversary

CPU = torch.device("cpu")
FORM = Preprocessing(3, 6, 6, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
RECIPE = Recipe(adversarial_training=0.05, adversarial_steps=3, seed=4)
MEAN, STD = (torch.tensor(v).view(-1, 1, 1) for v in (FORM.mean, FORM.std))


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 5)
    ).train()


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(1)
    pixels = torch.rand(12, 3, 6, 6, generator=source).round(decimals=1)
    return (pixels - MEAN) / STD, torch.randint(5, (12,), generator=source)


def moved(network: nn.Module, batch: tuple[Tensor, Tensor], recipe: Recipe = RECIPE, **place: int) -> Tensor:
    at = {"together": 12, "epoch": 1, "step": 0} | {k: place.pop(k) for k in ("epoch", "step") if k in place}
    return Adversary(network, recipe, FORM, CPU, **place)(*batch, **at)


def loss(network: nn.Module, images: Tensor, targets: Tensor) -> float:
    return F.cross_entropy(copy.deepcopy(network).eval()(images), targets).item()


def test_the_images_are_worse_and_as_near_in_pixels_as_the_recipe_says(
    network: nn.Module, batch: tuple[Tensor, Tensor]
) -> None:
    found = moved(network, batch)
    before, after = (images * STD + MEAN for images in (batch[0], found))
    assert (after - before).abs().max().item() == pytest.approx(0.05, abs=1e-5)
    assert after.min().item() >= -1e-6
    assert after.max().item() <= 1 + 1e-6
    assert loss(network, found, batch[1]) > 1.1 * loss(network, *batch)


def test_the_network_stays_as_it_is_and_nobody_elses_random_numbers_are_used(
    network: nn.Module, batch: tuple[Tensor, Tensor]
) -> None:
    before, states = copy.deepcopy(network.state_dict()), randomness.capture(CPU)
    moved(network, batch)
    assert network.training
    assert all(module.training for module in network.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert all(
        torch.equal(tensor, states[name]) for name, tensor in randomness.capture(CPU).items() if "gauss" not in name
    )


def test_the_search_begins_by_seed_epoch_and_step(network: nn.Module, batch: tuple[Tensor, Tensor]) -> None:
    first = moved(network, batch)
    assert torch.equal(first, moved(network, batch))
    others = (
        moved(network, batch, step=1),
        moved(network, batch, epoch=2),
        moved(network, batch, RECIPE.override({"seed": 5})),
    )
    assert not any(torch.equal(first, other) for other in others)


def test_processes_together_move_a_batch_as_one_does(network: nn.Module, batch: tuple[Tensor, Tensor]) -> None:
    shares = zip(*(tensor.tensor_split(2) for tensor in batch), strict=True)
    parts = [moved(network, share, rank=rank, world=2) for rank, share in enumerate(shares)]
    torch.testing.assert_close(torch.cat(parts), moved(network, batch))


def test_mixed_labels_and_bf16_go_as_well(network: nn.Module, batch: tuple[Tensor, Tensor]) -> None:
    mixed = F.one_hot(batch[1], 5).float().lerp(torch.full((12, 5), 0.2), 0.3)
    found = moved(network, (batch[0], mixed), RECIPE.override({"precision": "bf16"}))
    assert found.dtype == torch.float32
    assert loss(network, found, batch[1]) > loss(network, *batch)


def test_a_network_that_is_sure_of_itself_is_attacked_all_the_same(
    network: nn.Module, batch: tuple[Tensor, Tensor]
) -> None:
    targets = copy.deepcopy(network).eval()(batch[0]).argmax(1)
    with torch.no_grad():
        network[5].weight.mul_(1e4)
    logits = [copy.deepcopy(network).eval()(images) for images in (batch[0], moved(network, (batch[0], targets)))]
    before, after = (z.gather(1, targets[:, None])[:, 0] - z.scatter(1, targets[:, None], -1e9).amax(1) for z in logits)
    assert (after < before).all()

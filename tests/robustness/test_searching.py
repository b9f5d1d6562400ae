"""Attacks on small networks: what they find depends on the answers alone, and what they cannot find is counted."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cnnkit.card import ModelCard
from cnnkit.errors import CheckpointError
from cnnkit.images import Preprocessing
from cnnkit.models.networks import TorchNetwork
from cnnkit.operation import result_of
from cnnkit.robustness.curves import gradient_attack
from cnnkit.robustness.gradients import PixelNetwork
from cnnkit.robustness.results import AttackName, GradientAttack, Norm
from cnnkit.robustness.subject import Subject
from tests.expecting import expect_error

FORM = Preprocessing(1, 6, 6, (0.5,), (0.25,))
RADII: dict[Norm, tuple[float, ...]] = {"linf": (0.02, 0.05, 0.1, 0.2), "l2": (0.1, 0.25, 0.5, 1.0)}
BOTH: tuple[AttackName, ...] = ("fgsm", "pgd")


def network(classes: int, *end: nn.Module) -> nn.Sequential:
    torch.manual_seed(classes)
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 24), nn.Tanh(), nn.Linear(24, classes), *end).eval()


def scaled(plain: nn.Sequential, scale: float) -> nn.Sequential:
    found = copy.deepcopy(plain)
    with torch.no_grad():
        for parameter in found[3].parameters():
            parameter.mul_(scale)
    return found


def subject(module: nn.Module, classes: int, *, targets: np.ndarray | None = None, most: int = 256) -> Subject:
    """Forty images, which the network gets right unless classes are given."""
    card = ModelCard("own:net", tuple("abcdefgh"[:classes]), FORM)
    images = np.random.default_rng(1).integers(0, most, (40, 6, 6, 1), np.uint8)
    run = TorchNetwork(module, card, "cpu")
    answers = run.logits(images).argmax(1)
    targets = answers if targets is None else targets
    return Subject(run, card.labels, images, targets, np.arange(40), answers == targets, 16, 0, None)


def attacked(
    module: nn.Module,
    classes: int,
    attack: AttackName = "pgd",
    norm: Norm = "linf",
    *,
    epsilons: tuple[float, ...] | None = None,
    steps: int = 10,
    restarts: int = 1,
    **given: Any,
) -> GradientAttack:
    chosen, pixels = subject(module, classes, **given), PixelNetwork(module, FORM, torch.device("cpu"))
    options: dict[str, Any] = {"steps": steps, "step_size": None, "restarts": restarts}
    return result_of(gradient_attack(chosen, pixels, attack, norm, epsilons or RADII[norm], **options))


@pytest.mark.slow
@pytest.mark.no_cover
@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("norm", RADII)
@pytest.mark.parametrize("attack", BOTH)
def test_the_scale_of_the_logits_changes_nothing(attack: AttackName, norm: Norm, classes: int) -> None:
    plain = network(classes)
    expected = attacked(plain, classes, attack, norm)
    assert 0 < min(expected.accuracies[:2]) < 1
    assert expected.accuracies[-1] < expected.accuracies[0]
    for scale in (1e-3, 2**-7, 30.0, 2**14):
        found = attacked(scaled(plain, scale), classes, attack, norm)
        assert np.abs(np.subtract(found.accuracies, expected.accuracies)).max() <= 1 / 40
        assert found.without_gradient == (0,) * 4


@pytest.mark.slow
@pytest.mark.no_cover
@pytest.mark.parametrize("end", [nn.Softmax(1), nn.LogSoftmax(1), nn.Sigmoid()], ids=repr)
@pytest.mark.parametrize("scale", [1.0, 10.0])
def test_a_network_that_ends_in_probabilities_is_no_more_robust(end: nn.Module, scale: float) -> None:
    plain = attacked(network(3), 3)
    found = attacked(scaled(network(3, end), scale), 3)
    assert found.accuracies == plain.accuracies
    assert found.without_gradient == (0,) * 4


@pytest.mark.parametrize("norm", RADII)
@pytest.mark.parametrize("attack", BOTH)
def test_a_larger_radius_never_leaves_more_right(attack: AttackName, norm: Norm) -> None:
    radii = tuple(np.linspace(0.01, 0.9, 15).tolist())
    found = attacked(network(5), 5, attack, norm, epsilons=radii)
    assert list(found.accuracies) == sorted(found.accuracies, reverse=True)


@pytest.mark.parametrize("norm", RADII)
@pytest.mark.parametrize("steps", [1, 2, 10])
def test_pgd_is_as_strong_as_fgsm_and_as_itself_with_fewer_restarts(norm: Norm, steps: int) -> None:
    fgsm, once, often = (
        attacked(network(5), 5, name, norm, steps=steps, restarts=restarts).accuracies
        for name, restarts in (("fgsm", 1), ("pgd", 1), ("pgd", 3))
    )
    assert all(a >= b >= c for a, b, c in zip(fgsm, once, often, strict=True))


def test_what_an_attack_passed_on_its_way_counts() -> None:
    """Wrong in a band only, which each way up leads through and out of again."""

    class Band(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            mean = x.flatten(1).mean(1)
            return torch.stack([torch.zeros_like(mean), (0.3 + mean) * (0.5 - mean) * 100 * (mean + 5)], 1)

    module = Band()
    images = np.full((4, 6, 6, 1), 80, np.uint8)  # at -0.745 in what the network sees
    card = ModelCard("own:net", ("a", "b"), FORM)
    run = TorchNetwork(module, card, "cpu")
    chosen = Subject(run, card.labels, images, np.zeros(4, np.int64), np.arange(4), np.ones(4, bool), 4, 0, None)
    steps = gradient_attack(
        chosen,
        PixelNetwork(module, FORM, torch.device("cpu")),
        "pgd",
        "linf",
        (0.6,),
        steps=6,
        step_size=0.1,
        restarts=1,
    )
    assert result_of(steps).accuracies == (0.0,)


class Rounds(nn.Module):
    """Gives images no gradient whose first value is over the middle."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        scores = self.inner(x)
        return torch.where((x[:, 0, 0, 0] > 0)[:, None], (20 * scores).round() / 20, scores)


class Root(Rounds):
    """Has a gradient of no numbers."""

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) + (x - x.detach()).abs().sum((1, 2, 3)).sqrt()[:, None]


@pytest.mark.parametrize("attack", BOTH)
@pytest.mark.parametrize("norm", RADII)
def test_images_without_a_gradient_are_counted(attack: AttackName, norm: Norm) -> None:
    module = Rounds(network(5))
    high = int((subject(module, 5).images[:, 0, 0, 0] > 128).sum())
    found = attacked(module, 5, attack, norm)
    for count, accuracy in zip(found.without_gradient, found.accuracies, strict=True):
        assert high - 10 <= count <= high
        assert count <= round(40 * accuracy)
    assert found.accuracies[-1] < 1  # the others are fooled


@pytest.mark.parametrize("attack", BOTH)
@pytest.mark.parametrize("norm", RADII)
def test_a_gradient_of_no_numbers_is_none(attack: AttackName, norm: Norm) -> None:
    found = attacked(Root(network(5)), 5, attack, norm)
    assert found.without_gradient == tuple(round(40 * accuracy) for accuracy in found.accuracies)


def test_those_that_are_wrong_from_the_start_are_not_attacked() -> None:
    found = attacked(network(3), 3, targets=np.full(40, 7), epsilons=(0.1,))
    assert (found.accuracies, found.without_gradient, found.examples) == ((0.0,), (0,), ())


def test_scores_that_are_no_numbers_are_an_error_and_no_robustness() -> None:
    class Breaks(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return net(x) + torch.where(x.amax((1, 2, 3)) > 1.95, torch.nan, 0.0)[:, None]

    net = network(3)
    with expect_error(CheckpointError, "finite"):
        attacked(Breaks(), 3, most=250)


def test_an_image_is_attacked_alike_whatever_goes_with_it() -> None:
    found = [attacked(network(5), 5, epsilons=(radius,)).accuracies[0] for radius in RADII["linf"]]
    together = attacked(network(5), 5).accuracies
    assert all(a >= b for a, b in zip(found, together, strict=True))
    assert found[0] == together[0]

"""Directions that more of a class lies in, on networks whose gradient is known."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from cnnkit.card import ModelCard
from cnnkit.errors import OnnxError
from cnnkit.images import Preprocessing
from cnnkit.pictures import Pixels
from cnnkit.robustness import ascent
from cnnkit.robustness.ascent import Evolution, Gradient
from cnnkit.robustness.canvas import Canvas
from cnnkit.robustness.gradients import PixelNetwork
from tests.expecting import expect_error

FORM = Preprocessing(1, 12, 12, (0.0,), (1.0,))
CANVAS = Canvas(FORM)


class Linear:
    """Scores of four classes, linear in the pixels; remembers what it was asked."""

    card = ModelCard(model="own:net", labels=tuple("abcd"), preprocessing=FORM)
    engine = "numpy"

    def __init__(self) -> None:
        self.weights = np.random.default_rng(5).standard_normal((4, 144)) / 2000
        self.asked: list[Pixels] = []

    def logits(self, pixels: Pixels) -> NDArray[np.float32]:
        self.asked.append(pixels)
        return (pixels.reshape(len(pixels), -1) @ self.weights.T).astype(np.float32)

    def truth(self, values: NDArray[np.float64], target: int) -> NDArray[np.float64]:
        """The gradient of a class's log-odds, as a vector."""
        others = np.delete(self.weights, target, 0)
        shares = np.exp(others @ values.ravel())
        return self.weights[target] - shares @ others / shares.sum()


def likeness(found: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    return float(found.ravel() @ truth / np.linalg.norm(found) / np.linalg.norm(truth))


def test_the_gradient_is_that_of_the_log_odds() -> None:
    network, layer = Linear(), nn.Linear(144, 4, bias=False)
    layer.weight.data = torch.from_numpy(network.weights).float() * 255
    way = Gradient(PixelNetwork(nn.Sequential(nn.Flatten(), layer), FORM, torch.device("cpu")), CANVAS)
    source = np.random.default_rng(0)
    values = way.begin(1, source)
    assert likeness(way.direction(values, 1, source), network.truth(values, 1)) > 0.9999


def test_a_softmax_at_the_end_hides_no_gradient() -> None:
    layer = nn.Linear(144, 4, bias=False)
    layer.weight.data = torch.from_numpy(Linear().weights).float() * 2e6  # a probability of 1, to the last digit
    source = np.random.default_rng(0)
    values = np.random.default_rng(3).uniform(0, 255, CANVAS.shape)
    ways = [
        Gradient(PixelNetwork(nn.Sequential(nn.Flatten(), layer, *end), FORM, torch.device("cpu")), CANVAS)
        for end in ([], [nn.Softmax(1)])
    ]
    for target in range(4):
        plain, ended = (way.direction(values, target, source) for way in ways)
        assert np.abs(plain).max() > 0
        np.testing.assert_array_equal(ended, plain)


def test_an_evolution_finds_it_by_scores_and_better_with_each_generation() -> None:
    network, source = Linear(), np.random.default_rng(0)
    way = Evolution(network, CANVAS, range(4))
    values = np.full(CANVAS.shape, 128.0)
    found = [likeness(way.direction(values, 2, source), network.truth(values, 2)) for _ in range(10)]
    assert 0.2 < found[0] < 0.5
    assert np.mean(found[-3:]) > found[0] + 0.15
    assert sum(map(len, network.asked)) == 10 * 2 * ascent._PAIRS
    way.begin(3, source)
    assert likeness(way.direction(values, 3, source), network.truth(values, 3)) < 0.5, "another class begins anew"


def test_a_class_begins_with_the_nearest_image_that_was_scored() -> None:
    network, source = Linear(), np.random.default_rng(0)
    way = Evolution(network, CANVAS, range(4))
    values = way.begin(0, source)
    for _ in range(3):
        way.direction(values, 0, source)
    scored = np.concatenate(network.asked)
    for target in (1, 2, 3):
        shares = torch.from_numpy(network.logits(scored)).softmax(1)[:, target]
        np.testing.assert_array_equal(way.begin(target, source), scored[int(shares.argmax())])


def test_only_so_many_images_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ascent, "_REMEMBERED_BYTES", 2 * 144)
    network, source = Linear(), np.random.default_rng(0)
    way = Evolution(network, CANVAS, range(4))
    way.direction(way.begin(0, source), 0, source)
    scored = network.asked[0]
    began = [way.begin(target, source) for target in (1, 2, 3)]
    assert [any((start == image).all() for image in scored) for start in began] == [True, True, False]


def test_images_are_remembered_for_classes_that_come() -> None:
    network, source = Linear(), np.random.default_rng(0)
    way = Evolution(network, CANVAS, [0, 2])
    way.direction(way.begin(0, source), 0, source)
    began = {target: way.begin(target, source) for target in (1, 2, 3)}
    scored = {target: any((start == image).all() for image in network.asked[0]) for target, start in began.items()}
    assert scored == {1: False, 2: True, 3: False}


def test_log_odds_are_those_of_the_softmax_and_finite_where_a_class_has_it_all() -> None:
    logits = np.float32([[1, 2, 3.5], [0, 0, 0], [-1000, 0, 1000]])
    found = ascent.log_odds(logits)
    expected = torch.from_numpy(logits[:2]).double().softmax(1).logit().numpy()
    np.testing.assert_allclose(found[:2], expected, rtol=1e-6)
    assert np.isfinite(found).all()
    assert list(found[2].argsort()) == [0, 1, 2]


@pytest.mark.parametrize("score", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite_lead_nowhere(score: float) -> None:
    class Bad(Linear):
        def logits(self, pixels: Pixels) -> NDArray[np.float32]:
            found = super().logits(pixels)
            found[3, 1] = score
            return found

    source = np.random.default_rng(0)
    way = Evolution(Bad(), CANVAS, range(4))
    with expect_error(OnnxError, "own:net", "finite"):
        way.direction(way.begin(0, source), 0, source)

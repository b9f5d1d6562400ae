"""The loss: of all answers to an image, its own class costs least, whatever options are on together."""

import itertools
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from cnnkit.data.loaded import Split
from cnnkit.images import Preprocessing
from cnnkit.recipe import Recipe
from cnnkit.training.adversarial import Adversary
from cnnkit.training.classification import Classification, class_weights, summed_loss
from cnnkit.training.loader import BatchLoader
from cnnkit.training.step import TrainingStep

CPU = torch.device("cpu")
CLASSES = 3


@given(
    st.lists(st.floats(0.001, 1000), min_size=CLASSES, max_size=CLASSES),
    st.sampled_from([0.0, 0.1, 0.9]),
    st.lists(st.floats(0, 1), min_size=CLASSES, max_size=CLASSES).filter(lambda parts: sum(parts) > 1e-3),
    st.lists(st.floats(-20, 20), min_size=CLASSES, max_size=CLASSES),
    st.booleans(),
)
def test_no_answer_costs_less_than_the_smoothed_target(
    weights: list[float], smoothing: float, parts: list[float], answer: list[float], mixed: bool
) -> None:
    shares = torch.tensor([parts], dtype=torch.float64)
    shares = shares / shares.sum()
    target = shares if mixed else shares.argmax(1)
    wanted = shares if mixed else F.one_hot(target, CLASSES).double()
    best = ((1 - smoothing) * wanted + smoothing / CLASSES).clamp(min=1e-30).log()

    def loss(logits: Tensor) -> float:
        costs = torch.tensor(weights, dtype=torch.float64)
        return summed_loss(logits, target, weights=costs, smoothing=smoothing).item()

    lowest = loss(best)
    assert lowest <= loss(torch.tensor([answer], dtype=torch.float64)) * (1 + 1e-9) + 1e-9


@pytest.mark.parametrize(
    ("weighted", "smoothing", "mixed"),
    [(True, 0.0, False), (False, 0.0, False), (False, 0.1, False), (False, 0.0, True), (False, 0.1, True)],
)
def test_where_pytorch_is_right_the_loss_is_its_own_to_the_last_bit(
    weighted: bool, smoothing: float, mixed: bool
) -> None:
    source = torch.Generator().manual_seed(0)
    logits, targets = torch.randn(64, CLASSES, generator=source), torch.arange(64) % CLASSES
    given = F.one_hot(targets, CLASSES).float().lerp(torch.full((64, CLASSES), 1 / 3), 0.2) if mixed else targets
    weights = torch.tensor([0.1, 1.0, 30.0]) if weighted else None
    found = summed_loss(logits, given, weights=weights, smoothing=smoothing)
    expected = F.cross_entropy(logits, given, weight=weights, label_smoothing=smoothing, reduction="sum")
    assert torch.equal(found, expected)


def test_images_of_shares_are_weighted_by_the_mean_of_their_classes() -> None:
    weights, logits = torch.tensor([0.5, 2.0, 9.0]), torch.randn(4, CLASSES, generator=torch.Generator().manual_seed(0))
    targets = torch.tensor([0, 1, 2, 1])
    alone = summed_loss(logits, targets, weights=weights, smoothing=0.1)
    same = summed_loss(logits, F.one_hot(targets, CLASSES).float(), weights=weights, smoothing=0.1)
    torch.testing.assert_close(alone, same)
    half = torch.full((1, CLASSES), 0.0).index_fill(1, torch.tensor([0, 2]), 0.5)
    found = summed_loss(logits[:1], half, weights=weights, smoothing=0.0)
    torch.testing.assert_close(found, 4.75 * F.cross_entropy(logits[:1], half))


def test_half_precision_around_it_changes_no_weight() -> None:
    weights, logits = torch.tensor([0.5003, 2.0007, 497.3]), torch.zeros(1, CLASSES)
    shares = torch.tensor([[0.1003, 0.3001, 0.5996]])
    expected = summed_loss(logits, shares, weights=weights, smoothing=0.1)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(summed_loss(logits, shares, weights=weights, smoothing=0.1), expected)


# All pairs of what shapes the loss, on a problem with an obvious answer.

OPTIONS: dict[str, dict[str, Any]] = {
    "smoothing": {"label_smoothing": 0.1},
    "weights": {"class_weights": "balanced"},
    "mixup": {"mixup": 0.4},
    "adversarial": {"adversarial_training": 0.05, "adversarial_steps": 2},
    "ema": {"ema": 0.99},
    "bf16": {"precision": "bf16"},
    "clipping": {"clip_norm": 1.0},
    "decay": {"weight_decay": 1e-5},
}
FORM = Preprocessing(3, 1, 1, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def colours(counts: tuple[int, ...]) -> Split:
    """Images of one pixel; each class has a colour of its own."""
    targets = torch.cat([torch.full((count,), label) for label, count in enumerate(counts)])
    pixels = torch.tensor([[200, 60, 60], [60, 200, 60], [60, 60, 200]], dtype=torch.uint8)
    return Split(pixels[targets].view(-1, 1, 1, 3), targets)


@pytest.mark.slow
@pytest.mark.no_cover
@pytest.mark.parametrize("counts", [(500, 12), (1000, 1)], ids=str)
@pytest.mark.parametrize("pair", [*itertools.combinations(OPTIONS, 2)], ids="-".join)
def test_with_any_two_options_each_image_gets_its_own_class(pair: tuple[str, str], counts: tuple[int, ...]) -> None:
    split, classes = colours(counts), len(counts)
    recipe = Recipe(batch_size=len(split), **{name: value for one in pair for name, value in OPTIONS[one].items()})
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(3, classes))
    task = Classification.of(recipe, classes, split.targets, CPU)
    step = TrainingStep(network, task, recipe, CPU)
    adversary = Adversary(network, recipe, FORM, CPU) if recipe.adversarial_training else None
    batches = BatchLoader(split, FORM, classes, recipe, CPU)
    for epoch in range(1, 41):
        for images, targets, together in batches.epoch(epoch):
            seen = adversary(images, targets, together=together, epoch=epoch, step=0) if adversary else images
            step(seen, targets, rate=0.4, together=together)
    images, targets = batches.normalise(split.images), split.targets
    with torch.inference_mode():
        logits = step.kept(images)
    assert torch.equal(logits.argmax(1), targets)
    # And the loss agrees that this is better than any answer that is the same for all images.
    own, options = task.weights, {"weights": task.weights, "smoothing": recipe.label_smoothing}
    found = summed_loss(logits, targets, **options)
    counted = torch.tensor(counts) * (1 if own is None else own)
    for constant in (*torch.eye(classes).mul(8), (counted / counted.sum()).log()):
        assert found < summed_loss(constant.expand_as(logits), targets, **options)


def test_without_class_weights_there_are_none() -> None:
    assert class_weights(Recipe(), torch.tensor([0, 0, 1]), 2, torch.device("cpu")) is None


def test_balanced_weights_let_every_class_cost_the_same() -> None:
    targets = torch.tensor([0] * 6 + [1] * 3 + [2])
    weights = class_weights(Recipe(class_weights="balanced"), targets, 3, torch.device("cpu"))
    assert weights is not None
    assert weights.dtype == torch.float32
    assert weights.tolist() == pytest.approx([10 / (3 * count) for count in (6, 3, 1)])
    # All classes together cost as much as without weights.
    assert weights[targets].sum().item() == pytest.approx(len(targets))


def test_a_class_without_images_gets_a_finite_weight() -> None:
    weights = class_weights(Recipe(class_weights="balanced"), torch.tensor([0, 1, 1]), 3, torch.device("cpu"))
    assert weights is not None
    assert torch.isfinite(weights).all()

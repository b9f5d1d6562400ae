"""One training step, against the same step written out with plain PyTorch."""

import copy
import functools
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cnnkit.errors import DeviceError, UsageError
from cnnkit.recipe import Recipe
from cnnkit.training.classification import Classification
from cnnkit.training.step import Totals, TrainingStep, autocast, require_precision

CPU = torch.device("cpu")
TASK = Classification(3)
CLASSES = 5


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, CLASSES))


@pytest.fixture
def plain() -> nn.Module:
    """A network without batch statistics, so that each image counts by itself."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(64, CLASSES))


def batches(count: int, size: int = 12) -> Iterator[tuple[Tensor, Tensor]]:
    source = torch.Generator().manual_seed(1)
    for _ in range(count):
        targets = torch.randint(CLASSES, (size,), generator=source)
        images = torch.randn(size, 3, 6, 6, generator=source) + targets.view(-1, 1, 1, 1) / 2
        yield images, targets


def take(step: TrainingStep, count: int = 5, *, rate: float = 0.1) -> None:
    step.network.train()
    for images, targets in batches(count):
        step(images, targets, rate=rate, together=len(images))


def weights(network: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in network.parameters()]).clone()


def shares(targets: Tensor) -> Tensor:
    """Soft targets such as mixup makes."""
    return F.one_hot(targets, CLASSES).float().lerp(F.one_hot(targets.roll(1), CLASSES).float(), 0.3)


OPTIMIZERS: dict[str, tuple[dict[str, Any], Callable[..., torch.optim.Optimizer], dict[str, Any]]] = {
    "sgd": ({}, torch.optim.SGD, {}),
    "momentum": ({"momentum": 0.9}, torch.optim.SGD, {"momentum": 0.9}),
    "nesterov": ({"momentum": 0.9, "nesterov": True}, torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
    "adam": ({}, torch.optim.Adam, {}),
    "adamw": ({}, torch.optim.AdamW, {}),
    "rmsprop": ({"momentum": 0.5}, torch.optim.RMSprop, {"momentum": 0.5, "alpha": 0.9, "eps": 1e-7}),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_steps_are_those_of_the_optimizer_written_out(name: str, plain: nn.Module) -> None:
    fields, make, settings = OPTIMIZERS[name]
    kind = name if name in {"adam", "adamw", "rmsprop"} else "sgd"
    before, other = weights(plain), copy.deepcopy(plain)
    step = TrainingStep(plain, TASK, Recipe(optimizer=kind, weight_decay=0.01, **fields), CPU)
    by_hand = make(other.parameters(), lr=1.0, weight_decay=0.01, foreach=False, **settings)
    for number, (images, targets) in enumerate(batches(8), 1):
        rate = 0.02 / number
        step(images, targets, rate=rate, together=12)
        by_hand.param_groups[0]["lr"] = rate
        by_hand.zero_grad()
        F.cross_entropy(other(images), targets).backward()
        by_hand.step()
    torch.testing.assert_close(weights(plain), weights(other), atol=1e-5, rtol=1e-4)
    assert (weights(plain) - before).norm() > 0.05


@pytest.mark.parametrize("share", [False, True], ids=["indices", "shares"])
@pytest.mark.parametrize("weighted", [False, True], ids=["even", "weighted"])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_the_loss_is_the_formula(smoothing: float, weighted: bool, share: bool, plain: nn.Module) -> None:
    (images, targets), costs = next(batches(1)), torch.tensor([0.5, 1.0, 2.0, 0.1, 1.4])
    task = Classification(CLASSES, costs if weighted else None, smoothing)
    step = TrainingStep(plain, task, Recipe(optimizer="sgd"), CPU)
    with torch.inference_mode():
        logits = plain(images).double().numpy()
    given = shares(targets) if share else targets
    step(images, given, rate=0.1, together=12)
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    wanted = shares(targets).numpy() if share else np.eye(CLASSES)[targets.numpy()]
    wanted = (1 - smoothing) * wanted + smoothing / CLASSES
    # The weight of an image is that of its own class, or the mean by its shares; smoothing has no part in it.
    own = (shares(targets).numpy() if share else np.eye(CLASSES)[targets.numpy()]) @ costs.numpy()
    cost = own if weighted else np.ones(len(own))
    assert step.totals.loss.item() == pytest.approx(-(wanted * log_p).sum(1) @ cost, rel=1e-5)
    assert step.totals.right.item() == (logits.argmax(1) == (given.argmax(1) if share else given).numpy()).sum()


def test_the_gradient_is_the_mean_over_the_images_of_the_batch(plain: nn.Module) -> None:
    (images, targets), costs = next(batches(1)), torch.tensor([0.5, 1.0, 2.0, 0.1, 1.4])
    before, other = weights(plain), copy.deepcopy(plain)
    task = Classification(CLASSES, costs, 0.2)
    TrainingStep(plain, task, Recipe(optimizer="sgd"), CPU)(images, targets, rate=0.5, together=12)
    losses = costs[targets] * F.cross_entropy(other(images), targets, label_smoothing=0.2, reduction="none")
    gradients = torch.autograd.grad(losses.mean(), list(other.parameters()))
    change = torch.cat([gradient.flatten() for gradient in gradients])
    torch.testing.assert_close(weights(plain), before - 0.5 * change)


@pytest.mark.parametrize("limit", [0.0, 0.05, 1e6])
def test_clipping_shortens_the_gradient_to_its_limit_and_no_further(limit: float, plain: nn.Module) -> None:
    free = copy.deepcopy(plain)
    before, (images, targets) = weights(plain), next(batches(1))
    TrainingStep(free, TASK, Recipe(optimizer="sgd"), CPU)(images, targets, rate=1.0, together=12)
    TrainingStep(plain, TASK, Recipe(optimizer="sgd", clip_norm=limit), CPU)(images, targets, rate=1.0, together=12)
    whole, clipped = weights(free) - before, weights(plain) - before
    assert whole.norm() > 0.5
    expected = limit if limit == 0.05 else whole.norm().item()
    assert clipped.norm().item() == pytest.approx(expected, rel=1e-3)
    assert F.cosine_similarity(whole, clipped, dim=0).item() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("decay", [0.5, 0.9, 0.999])
def test_what_is_kept_is_the_average_of_the_weights_and_statistics(decay: float, network: nn.Module) -> None:
    step = TrainingStep(network, TASK, Recipe(optimizer="sgd", ema=decay), CPU)
    average = {name: tensor.double() for name, tensor in network.state_dict().items()}
    network.train()
    for number, (images, targets) in enumerate(batches(12), 1):
        step(images, targets, rate=0.3, together=12)
        now = min(1 - number ** (-2 / 3), decay)
        average = {name: now * average[name] + (1 - now) * t.double() for name, t in network.state_dict().items()}
    average["1.num_batches_tracked"] = torch.tensor(12)  # a count is no statistic
    found = step.kept.state_dict()
    torch.testing.assert_close(
        {name: found[name].to(t.dtype) for name, t in average.items()}, average, rtol=1e-5, atol=1e-6
    )
    assert not torch.allclose(weights(step.kept), weights(network), atol=1e-3)
    assert not any(p.requires_grad for p in step.kept.parameters())


def test_without_averaging_the_network_itself_is_kept(network: nn.Module) -> None:
    step = TrainingStep(network, TASK, Recipe(), CPU)
    assert step.kept is network
    assert step.average is None


@pytest.mark.parametrize("sizes", [(6, 6), (7, 5)])
def test_two_processes_that_share_their_gradients_are_one(sizes: tuple[int, int], plain: nn.Module) -> None:
    recipe = Recipe(optimizer="sgd", label_smoothing=0.1)
    halves = [copy.deepcopy(plain) for _ in range(2)]
    one = TrainingStep(plain, TASK, recipe, CPU)
    two = [TrainingStep(half, TASK, recipe, CPU, world=2) for half in halves]
    for images, targets in batches(5):
        one(images, targets, rate=0.5, together=12)
        for step, part, wanted in zip(two, images.split(sizes), targets.split(sizes), strict=True):
            step(part, wanted, rate=0.5, together=12)
        # Plain descent is linear, so the mean of the weights is what the mean of the gradients gives.
        mean = (weights(halves[0]) + weights(halves[1])) / 2
        for half in halves:
            nn.utils.vector_to_parameters(mean.clone(), half.parameters())
    torch.testing.assert_close(mean, weights(plain))
    assert sum(step.totals.loss.item() for step in two) == pytest.approx(one.totals.loss.item(), rel=1e-5)
    assert sum(step.totals.images for step in two) == one.totals.images == 60


def test_what_wraps_the_network_computes_the_gradients(plain: nn.Module) -> None:
    class Doubled(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, images: Tensor) -> Tensor:
            return 2 * self.inner(images)

    other = copy.deepcopy(plain)
    (images, targets) = next(batches(1))
    step = TrainingStep(plain, TASK, Recipe(optimizer="sgd"), CPU, wrap=Doubled)
    step(images, targets, rate=1.0, together=12)
    expected = F.cross_entropy(2 * other(images), targets, reduction="sum")
    assert step.totals.loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert step.kept is plain


@pytest.mark.parametrize("recipe", [{}, {"ema": 0.9}, {"optimizer": "sgd", "momentum": 0.9, "weight_decay": 0.1}])
def test_what_is_frozen_stays_bit_for_bit(recipe: dict[str, Any], network: nn.Module) -> None:
    network.requires_grad_(False)
    network[4].requires_grad_(True)
    before = copy.deepcopy(network.state_dict())
    step = TrainingStep(network, TASK, Recipe(**recipe), CPU)
    network.eval()
    for images, targets in batches(3):
        step(images, targets, rate=0.1, together=12)
    for kept in (network, step.kept):
        same = {name: torch.equal(tensor, before[name]) for name, tensor in kept.state_dict().items()}
        assert [name for name, equal in same.items() if not equal] == ["4.weight", "4.bias"]


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop"])
def test_bfloat16_computes_in_it_and_keeps_everything_in_float32(optimizer: str, network: nn.Module) -> None:
    seen = []
    network[4].register_forward_hook(lambda _, __, logits: seen.append(logits.dtype))
    momentum = 0.0 if optimizer == "adam" else 0.5
    recipe = Recipe(optimizer=optimizer, momentum=momentum, precision="bf16", ema=0.9, clip_norm=1.0)
    step = TrainingStep(network, TASK, recipe, CPU)
    take(step, 12, rate=0.01)
    first = step.totals.means()[0]
    step.totals.clear()
    take(step, 12, rate=0.01)
    assert set(seen) == {torch.bfloat16}
    assert step.totals.means()[0] < first
    tensors = [*network.parameters(), *step.kept.parameters()]
    tensors += [t for state in step.optimizer.state.values() for t in state.values() if isinstance(t, Tensor)]
    assert {tensor.dtype for tensor in tensors} == {torch.float32}
    assert step.totals.loss.dtype == torch.float32


def test_bfloat16_comes_close_to_float32(network: nn.Module) -> None:
    other = copy.deepcopy(network)
    steps = [
        TrainingStep(n, TASK, Recipe(optimizer="sgd", precision=p), CPU)
        for n, p in ((network, "bf16"), (other, "fp32"))
    ]
    for step in steps:
        take(step, 10, rate=0.05)
    losses = [step.totals.means()[0] for step in steps]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)
    assert losses[0] != losses[1]


def test_float32_needs_no_context_and_bfloat16_has_one() -> None:
    layer = nn.Linear(2, 2)
    with autocast("fp32", CPU):
        assert layer(torch.zeros(1, 2)).dtype == torch.float32
    with autocast("bf16", CPU):
        assert layer(torch.zeros(1, 2)).dtype == torch.bfloat16


def test_float16_is_refused_on_the_cpu() -> None:
    with pytest.raises(DeviceError, match="--precision fp16 needs a GPU; on the CPU use bf16 or fp32"):
        require_precision("fp16", CPU)
    require_precision("bf16", CPU)
    require_precision("fp32", CPU)


def test_totals_are_sums_until_they_are_cleared() -> None:
    totals = Totals(Classification(2), CPU)
    memory = totals.loss.data_ptr(), totals.right.data_ptr()
    logits = torch.tensor([[2.0, 1.0], [0.0, 3.0], [5.0, 4.0]])
    totals.add(logits, torch.tensor([0, 1, 1]), torch.tensor(1.5))
    totals.add(logits[:1], torch.tensor([[0.4, 0.6]]), torch.tensor(0.5))
    assert totals.means() == (2.0 / 4, 2 / 4)
    totals.clear()
    assert (totals.images, totals.loss.item(), totals.right.item()) == (0, 0, 0)
    assert (totals.loss.data_ptr(), totals.right.data_ptr()) == memory, "a recorded step writes there"
    totals.add(logits[1:], torch.tensor([1, 0]), torch.tensor(0.5))
    assert totals.means() == (0.25, 1.0)


def test_the_rate_is_that_of_the_call_not_of_the_recipe(plain: nn.Module) -> None:
    before, (images, targets) = weights(plain), next(batches(1))
    step = TrainingStep(plain, TASK, Recipe(optimizer="sgd", learning_rate=5.0), CPU)
    step(images, targets, rate=0.0, together=12)
    assert torch.equal(weights(plain), before)
    step(images, targets, rate=0.1, together=12)
    assert not torch.equal(weights(plain), before)


@pytest.mark.slow
@pytest.mark.skipif(
    not any(shutil.which(name) for name in (os.environ.get("CXX", ""), "g++", "clang++")),
    reason="torch.compile needs a C++ compiler on the CPU",
)
def test_a_compiled_network_trains_as_an_eager_one() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(108, 8), nn.Tanh(), nn.Linear(8, CLASSES))
    other = copy.deepcopy(network)
    compiled = TrainingStep(network, TASK, Recipe(optimizer="sgd", compile=True), CPU)
    eager = TrainingStep(other, TASK, Recipe(optimizer="sgd"), CPU)
    for step in (compiled, eager):
        take(step, 4)
    torch.testing.assert_close(network.state_dict(), other.state_dict(), atol=1e-5, rtol=1e-4)
    assert compiled.kept is network
    assert not any(name.startswith("_orig_mod") for name in compiled.kept.state_dict())


def test_what_cannot_be_compiled_is_the_users_to_switch_off(
    plain: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch._inductor import config

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch.compiler.reset()
    step = TrainingStep(plain, TASK, Recipe(compile=True), CPU)
    with (
        config.patch({"cpp.cxx": ("no-such-compiler",)}),
        pytest.raises(UsageError, match=r"--compile: torch\.compile cannot compile this network here: .*compiler"),
    ):
        take(step, 1)


def test_a_warning_on_the_way_is_no_failure_to_compile(plain: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    def warning(graph: torch.fx.GraphModule, inputs: object) -> Any:
        warnings.warn("a compiler's own", DeprecationWarning, stacklevel=1)
        return graph.forward

    torch.compiler.reset()
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=warning))
    step = TrainingStep(plain, TASK, Recipe(compile=True), CPU)
    # Warnings are errors in these tests.
    with warnings.catch_warnings(record=True) as said:
        take(step, 2)
    assert "a compiler's own" in [str(each.message) for each in said]


def test_an_error_of_the_network_itself_is_not_blamed_on_the_compiler(network: nn.Module) -> None:
    step = TrainingStep(network, TASK, Recipe(), CPU)
    with pytest.raises(RuntimeError, match="channels"):
        step(torch.zeros(4, 2, 6, 6), torch.zeros(4, dtype=torch.int64), rate=0.1, together=4)

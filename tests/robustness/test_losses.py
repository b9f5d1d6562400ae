"""Losses that an attack follows: never flat, and the same at every scale of the logits."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from cnnkit.robustness.losses import LOSSES, cross_entropy

SCALES = (1e-30, 1e-3, 1.0, 1e4, 1e30)


def gradient(loss: Tensor, logits: Tensor) -> Tensor:
    return torch.autograd.grad(loss.sum(), logits)[0]


def direction(gradient: Tensor) -> Tensor:
    gradient = gradient.double()
    return gradient / gradient.norm(dim=1, keepdim=True)


def made(seed: int, classes: int, scale: float = 1.0, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(seed)
    logits = 5 * torch.randn(6, classes, generator=source, dtype=torch.float64)
    return (logits * scale).to(dtype).requires_grad_(), torch.randint(classes, (6,), generator=source)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**16), classes=st.integers(2, 12))
def test_cross_entropy_leads_where_the_exact_one_does(seed: int, classes: int) -> None:
    logits, targets = made(seed, classes, dtype=torch.float64)
    exact = gradient(F.cross_entropy(logits, targets, reduction="sum"), logits)
    found = gradient(cross_entropy(logits, targets), logits)
    torch.testing.assert_close(direction(found), direction(exact))
    shares = F.one_hot(targets, classes).double()
    torch.testing.assert_close(gradient(cross_entropy(logits, shares), logits), found)


def test_shares_of_several_classes_have_the_cross_entropy_itself() -> None:
    logits, _ = made(0, 3)
    shares = torch.tensor([[0.5, 0.5, 0.0]]).repeat(6, 1)
    expected = F.cross_entropy(logits, shares, reduction="none")
    torch.testing.assert_close(cross_entropy(logits, shares), expected)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("scale", SCALES)
def test_the_scale_of_the_logits_changes_no_direction(name: str, classes: int, scale: float) -> None:
    for seed in range(5):
        (plain, targets), (scaled, _) = made(seed, classes), made(seed, classes, scale)
        expected, found = (gradient(LOSSES[name](z, targets), z) for z in (plain, scaled))
        assert found.isfinite().all()
        assert (found.abs().amax(1) > 0).all()
        torch.testing.assert_close(direction(found), direction(expected), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_they_rise_where_the_true_class_loses(name: str) -> None:
    logits = torch.tensor([[9.0, 1.0, 0.0], [5.0, 4.0, 0.0], [4.0, 5.0, 0.0]])
    loss = LOSSES[name](logits, torch.zeros(3, dtype=torch.int64))
    assert loss.tolist() == sorted(loss.tolist())


def test_a_margin_over_two_that_are_equal_and_rise_apart_has_a_gradient() -> None:
    place = torch.zeros(1, requires_grad=True)
    logits = torch.stack([place * 0 + 1, place, -place], 1)
    assert gradient(LOSSES["margin"](logits, torch.tensor([0])), place).abs().item() > 0


@pytest.mark.parametrize("name", LOSSES)
def test_logits_that_are_all_equal_break_nothing(name: str) -> None:
    logits = torch.full((2, 3), 7.0, requires_grad=True)
    assert not gradient(LOSSES[name](logits, torch.tensor([0, 2])), logits).isnan().any()

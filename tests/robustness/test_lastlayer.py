"""The scores under a softmax or sigmoid, however it was written."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cnnkit.robustness.lastlayer import unsquashed

X = torch.tensor([[900.0, 1.0, -3.0], [-2.0, 700.0, 40.0]])
ENDS: dict[str, Callable[[Tensor], Tensor]] = {
    "layer": nn.Softmax(1),
    "function": lambda x: F.softmax(x, dim=1),
    "torch": lambda x: torch.softmax(x, 1),
    "method": lambda x: x.softmax(-1),
    "named": lambda x: F.softmax(input=x, dim=1),
    "sigmoid": nn.Sigmoid(),
    "tanh": torch.tanh,
}


class Ends(nn.Module):
    def __init__(self, end: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.end = end

    def forward(self, x: Tensor) -> Tensor:
        return self.end(2 * x)


@pytest.mark.parametrize("name", ENDS)
def test_what_it_was_given_is_returned_with_its_gradient(name: str) -> None:
    x = X.clone().requires_grad_()
    scores, before = unsquashed(Ends(ENDS[name]), x)
    assert torch.equal(scores, ENDS[name](2 * X))
    assert torch.equal(before, 2 * X)
    assert torch.autograd.grad(before.sum(), x)[0].eq(2).all()


@pytest.mark.parametrize(
    "end", [lambda x: x, lambda x: x.softmax(0), lambda x: 1 - x.softmax(1), lambda x: x.sigmoid() @ torch.eye(3)]
)
def test_other_ends_are_left(end: Callable[[Tensor], Tensor]) -> None:
    scores, before = unsquashed(Ends(end), torch.randn(40, 3, generator=torch.Generator().manual_seed(0)))
    assert before is scores

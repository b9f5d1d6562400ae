"""Multiply-adds by operator, against what is worked out by hand."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cnnkit.inspection import tracing


class Calling(nn.Module):
    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.function(*inputs)


def counted(module: nn.Module, *shapes: tuple[int, ...]) -> int:
    trace = tracing.run(module.to("meta"), [torch.zeros(shape, device="meta") for shape in shapes])
    assert trace.error is None, trace.error
    return sum(record.multiply_adds for record in trace.records.values())


@pytest.mark.parametrize(
    ("function", "shapes", "expected"),
    [
        (torch.matmul, [(2, 3, 4), (2, 4, 5)], 2 * 3 * 4 * 5),
        (torch.matmul, [(3, 4), (4,)], 12),
        (torch.dot, [(7,), (7,)], 7),
        (torch.outer, [(7,), (5,)], 0),  # each product stands alone: nothing is added
        (torch.addmv, [(3,), (3, 4), (4,)], 12),
        (torch.addr, [(7, 5), (7,), (5,)], 35),
        (lambda a, b: torch.einsum("bij,bkj->bik", a, b), [(2, 3, 4), (2, 5, 4)], 2 * 3 * 5 * 4),
        (F.linear, [(6, 8), (5, 8)], 6 * 8 * 5),
        (F.conv2d, [(2, 3, 8, 8), (4, 3, 3, 3)], 2 * 4 * 36 * 27),
        # every query meets every key, every weight every value
        (F.scaled_dot_product_attention, [(2, 4, 6, 8)] * 3, 2 * 2 * 4 * 6 * 6 * 8),
        (lambda a: a * a + a.exp(), [(9, 9)], 0),
    ],
)
def test_functions_are_counted_wherever_they_are_called(
    function: Callable[..., Tensor], shapes: list[tuple[int, ...]], expected: int
) -> None:
    assert counted(Calling(function), *shapes) == expected


@pytest.mark.parametrize(
    ("module", "shapes", "expected"),
    [
        # each of 8×8 places of the input meets a kernel of 3×3 for each of 4 outputs
        (nn.ConvTranspose2d(3, 4, 3), [(1, 3, 8, 8)], 64 * 3 * 4 * 9),
        (nn.Conv3d(1, 2, 3), [(1, 1, 4, 5, 6)], 2 * 2 * 3 * 4 * 27),
        (nn.Conv1d(4, 8, 3, groups=4), [(1, 4, 10)], 8 * 8 * 3),
        # four gates, from the input and from the state, in each of three steps
        (nn.LSTM(6, 5), [(3, 2, 6)], 3 * 2 * 4 * (5 * 6 + 5 * 5)),
        (nn.GRU(6, 5), [(3, 2, 6)], 3 * 2 * 3 * (5 * 6 + 5 * 5)),
        (nn.RNN(6, 5), [(3, 2, 6)], 3 * 2 * (5 * 6 + 5 * 5)),
        (nn.Bilinear(3, 4, 5), [(2, 3), (2, 4)], 2 * (5 * 3 * 4 + 5 * 4)),
        (nn.Linear(6, 5), [(6,)], 30),
    ],
)
def test_layers_of_all_kinds_are_counted(module: nn.Module, shapes: list[tuple[int, ...]], expected: int) -> None:
    assert counted(module, *shapes) == expected


def test_a_transformer_is_counted_layer_by_layer() -> None:
    encoder = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    projections, attention, mlp = 4 * 5 * 16 * 16, 2 * 5 * 5 * 16, 2 * 5 * 16 * 32
    assert counted(encoder, (1, 5, 16)) == projections + attention + mlp
    assert torch.backends.mha.get_fastpath_enabled()

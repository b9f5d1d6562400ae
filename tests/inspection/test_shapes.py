"""Results without values, remembered."""

import pytest
import torch
from torch import Tensor

from cnnkit.inspection.shapes import ShapeCache

ATEN = torch.ops.aten


def form(result: Tensor | tuple[Tensor, ...]) -> list[object]:
    made = result if isinstance(result, tuple) else (result,)
    return [(tensor.shape, tensor.stride(), tensor.dtype, tensor.device.type) for tensor in made]


IMAGE = torch.empty(2, 3, 8, 8, device="meta")
CASES = [
    (ATEN.convolution.default, IMAGE, torch.empty(4, 3, 3, 3, device="meta"), None, [1, 1], [0, 0], [1, 1], False,
     [0, 0], 1),
    (ATEN.relu.default, IMAGE.to(memory_format=torch.channels_last)),
    (ATEN.max_pool2d_with_indices.default, IMAGE, [2, 2], [2, 2]),
    (ATEN.add.Tensor, IMAGE.int(), 1),
    (ATEN.add.Tensor, IMAGE.int(), 1.0),
    (ATEN.add.Tensor, IMAGE.half(), 1.0),
    (ATEN.add.Tensor, IMAGE.bool(), True),
    (ATEN.cat.default, [IMAGE, IMAGE], 1),
]  # fmt: skip


def test_what_is_remembered_is_what_was_given() -> None:
    cache = ShapeCache()
    expected = [form(function(*args)) for function, *args in CASES]
    for _ in range(3):
        assert [form(cache.call(function, args, {})) for function, *args in CASES] == expected


def test_each_result_is_a_tensor_of_its_own() -> None:
    cache = ShapeCache()
    first, second = (cache.call(ATEN.relu.default, (IMAGE,), {}) for _ in range(2))
    assert first is not second
    assert first.untyped_storage()._cdata != second.untyped_storage()._cdata


@pytest.mark.parametrize(
    ("function", "args"),
    [(ATEN.view.default, (IMAGE, [2, 192])), (ATEN.relu_.default, (IMAGE,))],
    ids=["view", "inplace"],
)
def test_what_shares_memory_goes_on_to_share_it(function: object, args: tuple[object, ...]) -> None:
    cache = ShapeCache()
    for _ in range(2):
        result = cache.call(function, args, {})
        assert result.untyped_storage()._cdata == IMAGE.untyped_storage()._cdata


def test_real_values_are_computed_each_time() -> None:
    cache = ShapeCache()
    assert [cache.call(ATEN.add.Tensor, (torch.tensor(n), 1), {}).item() for n in (1, 5)] == [2, 6]

"""The comparison of PyTorch with onnxruntime: what counts as agreement, and what never does."""

from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from cnnkit.certificate import TOLERANCE, ParityCertificate
from cnnkit.exporting.parity import certify, draw_batches


@pytest.fixture(scope="module")
def identity() -> onnxruntime.InferenceSession:
    """A file whose logits are its input, float32 [N, 3]."""
    rows = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 3]) for name in ("image", "logits")]
    graph = helper.make_graph([helper.make_node("Identity", ["image"], ["logits"])], "identity", rows[:1], rows[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


class Applied(nn.Module):
    """What PyTorch makes of the same input."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, images: Tensor) -> Tensor:
        return self.function(images)


def compare(
    session: onnxruntime.InferenceSession, function: Callable[[Tensor], Tensor], rows: list[list[float]]
) -> ParityCertificate:
    return certify(Applied(function), session, [torch.tensor([row]) for row in rows], images="rows by hand")


def plus(amount: float) -> Callable[[Tensor], Tensor]:
    return lambda logits: logits + torch.tensor([amount, 0.0, 0.0])


def test_the_same_numbers_agree(identity: onnxruntime.InferenceSession) -> None:
    batches = [torch.randn(size, 3) for size in (1, 2, 7)]
    found = certify(Applied(torch.clone), identity, batches, images="noise")
    assert found == ParityCertificate(
        images="noise",
        batch_sizes=(1, 2, 7),
        max_absolute_difference=0.0,
        max_relative_difference=0.0,
        max_tolerance_ratio=0.0,
        top1_agreement=1.0,
        tolerance=TOLERANCE,
        versions={"torch": torch.__version__, "onnxruntime": onnxruntime.__version__},
        images_count=10,
        mean_absolute_difference=0.0,
    )
    assert found.passed


@pytest.mark.parametrize(("difference", "passes"), [(9e-5, True), (-9e-5, True), (1.2e-4, False), (-0.5, False)])
def test_the_tolerance_is_absolute_for_small_logits(
    difference: float, passes: bool, identity: onnxruntime.InferenceSession
) -> None:
    found = compare(identity, plus(difference), [[0.0, 0.0, 2.0], [0.0, 1.0, 4.0]])
    assert found.max_absolute_difference == pytest.approx(abs(difference), rel=1e-3)
    assert found.mean_absolute_difference == pytest.approx(abs(difference) / 3, rel=1e-3)
    assert found.max_relative_difference == pytest.approx(abs(difference) / 2, rel=1e-3)
    assert found.max_tolerance_ratio == pytest.approx(abs(difference) / TOLERANCE, rel=1e-3)
    assert found.passed is passes


@pytest.mark.parametrize(("difference", "passes"), [(0.008, True), (0.012, False)])
def test_beyond_ten_the_tolerance_grows_with_the_largest_logit(
    difference: float, passes: bool, identity: onnxruntime.InferenceSession
) -> None:
    assert compare(identity, plus(difference), [[0.0, 0.0, -1000.0]]).passed is passes


def test_another_first_class_is_a_failure_however_small_the_difference(
    identity: onnxruntime.InferenceSession,
) -> None:
    found = compare(identity, plus(2e-5), [[1.0, 1.00001, 0.0], [1.0, 3.0, 0.0]])
    assert found.max_tolerance_ratio < 1
    assert found.top1_agreement == 0.5
    assert not found.passed


def test_one_bad_image_among_good_ones_is_found(identity: onnxruntime.InferenceSession) -> None:
    rows = [[0.0, 1.0, 5.0]] * 9 + [[7.0, 0.0, 0.0]]
    found = compare(identity, lambda logits: logits + (logits[:, :1] > 6) * 0.01, rows)
    assert found.max_absolute_difference == pytest.approx(0.01, rel=1e-3)
    assert not found.passed


@pytest.mark.parametrize(
    ("where", "value"),
    [
        *((where, float("nan")) for where in ("PyTorch", "onnxruntime", "both")),
        ("onnxruntime", float("inf")),
        ("onnxruntime", float("-inf")),
        *((where, value) for where in ("PyTorch", "both") for value in (np.inf, -np.inf)),
    ],
)
def test_what_is_no_number_never_agrees(value: float, where: str, identity: onnxruntime.InferenceSession) -> None:
    row = [1.0, value if where != "PyTorch" else 0.5, 2.0]
    found = compare(
        identity,
        {
            "PyTorch": lambda logits: torch.where(logits == 0.5, value, logits),
            "onnxruntime": lambda logits: torch.where(logits == logits.clamp(-9, 9), logits, 0.5),
            "both": torch.clone,
        }[where],
        [row, [0.0, 1.0, 2.0]],
    )
    assert found.max_absolute_difference == float("inf")
    assert not found.passed


def test_the_input_may_have_any_name_and_the_logits_any_place() -> None:
    shape = ["N", 3]
    names = ("pixels", "probabilities", "logits")
    given, *out = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in names)
    nodes = [
        helper.make_node("Identity", ["pixels"], ["logits"]),
        helper.make_node("Softmax", ["pixels"], ["probabilities"]),
    ]
    model = helper.make_model(
        helper.make_graph(nodes, "two", [given], out), opset_imports=[helper.make_opsetid("", 20)], ir_version=10
    )
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    assert compare(session, torch.clone, [[0.0, 1.0, 2.0]]).passed


@pytest.mark.parametrize("count", [1, 4, 10, 30])
def test_batches_of_one_two_and_seven_are_cut_from_any_number_of_images(count: int) -> None:
    images = np.arange(count, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 5, 3), np.uint8)
    batches = draw_batches(images[:, ::-1])
    assert [tuple(batch.shape) for batch in batches] == [(1, 4, 5, 3), (2, 4, 5, 3), (7, 4, 5, 3)]
    assert all(batch.dtype == torch.uint8 and batch.is_contiguous() for batch in batches)
    assert torch.cat(batches)[:, 0, 0, 0].tolist() == [index % count for index in range(10)]

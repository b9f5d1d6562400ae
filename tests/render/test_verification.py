"""How a verification looks in a terminal of 80 columns."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from cnnkit.certificate import ParityCertificate
from cnnkit.exporting.results import BatchParity, Divergence, LayerParity, Verification
from cnnkit.render import verification
from tests.expecting import rows_of

LAYERS = (
    LayerParity("normalise", "Normalise", "add_10", 1.2e-7, 2.1, True),
    LayerParity("stage1.conv", "Conv2d", "conv2d_1", 9.5e-7, 4.25, True),
    LayerParity("stage1.pool", "MaxPool2d", "max_pool2d", 9.5e-7, 4.25, True),
    LayerParity("stage1.norm", "BatchNorm2d", "getitem_3", 4.8e-7, 1.9, True),
    LayerParity("stage1.block.conv", "Conv2d", "", None, 3.0, None),
    LayerParity("stage1.block.norm", "BatchNorm2d", "getitem_6", 0.31, 2.5, False),
    LayerParity("stage1.block.relu", "ReLU", "relu_2", 0.31, 2.5, False),
    LayerParity("fc", "Linear", "logits", 0.02, 11.0, False),
    LayerParity("logits", "", "logits", 0.02, 11.0, False),
)


@pytest.fixture
def passed(certificate: ParityCertificate) -> Verification:
    rows = ((1, 1, 1.9e-6), (2, 2, 2.4e-6), (7, 7, 2.9e-6), (256, 9984, 3.4e-6), (6, 6, 1e-6))
    return Verification(
        file="net.onnx",
        reference="best.safetensors",
        data="mnist",
        split="test",
        engines=("PyTorch CPU", "onnxruntime CPU"),
        batches=tuple(BatchParity(size, count, largest, 4e-7, 1.0) for size, count, largest in rows),
        certificate=replace(
            certificate,
            images_count=10_000,
            mean_absolute_difference=4.1e-7,
            torch_accuracy=0.9866,
            onnx_accuracy=0.9866,
        ),
        run_error="",
        divergence=None,
        graph_changed=False,
        stored=True,
        not_stored_because="",
        seconds=2.5,
    )


@pytest.fixture
def failed(passed: Verification) -> Verification:
    return replace(
        passed,
        certificate=replace(
            passed.certificate, max_absolute_difference=0.02, max_tolerance_ratio=200.0, top1_agreement=0.9994
        ),
        divergence=Divergence(
            layer="stage1.block.conv",
            kind="Conv2d",
            folded=("stage1.block.norm",),
            node="Conv node_Conv_110",
            max_absolute_difference=0.31,
            cause="weight",
            explanation="stage1.block.conv.weight differs in 1 of 20,736 values.",
            layers=LAYERS,
        ),
        graph_changed=True,
        stored=False,
        not_stored_because="the check failed",
    )


def test_passed(passed: Verification, capsys: pytest.CaptureFixture[str]) -> None:
    verification.show(passed)
    out = capsys.readouterr().out
    assert ["all", "10,000", "3.4e-06", "4.1e-07", "100%"] in rows_of(out)
    assert ["onnxruntime CPU", "98.66%"] in rows_of(out)
    assert out.splitlines()[-1].startswith("passed: ")


def test_failed(failed: Verification, golden: Callable[[str, str], None], capsys: pytest.CaptureFixture[str]) -> None:
    verification.show(failed)
    shown = capsys.readouterr().out
    golden("verify", shown)
    assert max(map(len, shown.splitlines())) <= 80


def test_the_reason_is_a_sentence(failed: Verification) -> None:
    assert verification.failure(failed) == (
        "net.onnx is not best.safetensors: logits differ by up to 2.0e-02, 200.0 times what is allowed, the top-1 "
        "class agrees on 99.94%. First layer that differs: stage1.block.conv (Conv2d) with stage1.block.norm folded "
        "in. Likely cause, weight: stage1.block.conv.weight differs in 1 of 20,736 values."
    )


def test_a_file_that_does_not_run_says_so(failed: Verification) -> None:
    text = verification.failure(replace(failed, run_error="net failed on [1, 28, 28, 1]: no"))
    assert text.startswith("net.onnx does not run as best.safetensors does: net failed on [1, 28, 28, 1]: no. First")


def test_where_nothing_is_known_nothing_is_said(failed: Verification) -> None:
    text = verification.failure(replace(failed, divergence=None))
    assert text.endswith("the top-1 class agrees on 99.94%.")

"""What a reduced precision costs and brings, as it looks in a terminal of 80 columns."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from cnnkit.exporting.results import LayerError, Measured, OutOfRange, PrecisionReport
from cnnkit.render import precision
from tests.expecting import rows_of

NAMES = ("stage3.block.conv", "stage1.block.conv", "stage1.conv", "stage2.block.conv", "conv", "fc")


@pytest.fixture
def report() -> PrecisionReport:
    return PrecisionReport(
        precision="int8",
        data="cifar10-jpeg",
        trained_on=True,
        split="validation",
        images=2_500,
        test_images=10_000,
        calibration="512 training images",
        engine="onnxruntime CPU",
        batch=1,
        fp32=Measured(2.62, 0.8968, 0.475, 0.8831),
        reduced=Measured(0.68, 0.8964, 0.0183, 0.8839),
        top1_agreement=0.993,
        in_range=True,
        accuracy_budget_points=0.5,
        speed_up=2.2,
        speed_up_interval=(2.07, 2.35),
        layers=tuple(LayerError(name, "Conv", 31.5 + rank, 27.8 + rank) for rank, name in enumerate(NAMES)),
        objections=(),
    )


def test_precision(
    report: PrecisionReport, golden: Callable[[str, str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    precision.report(report)
    shown = capsys.readouterr().out
    assert ["int8", "0.68 MB", "89.6%", "0.0183 ms", "2.20 (2.07–2.35)"] in rows_of(shown)
    assert ["stage3.block.conv", "Conv", "31.5 dB", "27.8 dB"] in rows_of(shown)
    assert max(map(len, shown.splitlines())) <= 80


def test_fp16_has_no_layers_and_no_calibration(report: PrecisionReport, capsys: pytest.CaptureFixture[str]) -> None:
    precision.report(replace(report, precision="fp16", layers=(), calibration=""))
    shown = capsys.readouterr().out
    assert "fp16" in shown
    assert "quantisation" not in shown
    assert "Calibrated" not in shown


def test_without_a_test_split_no_test_accuracy_is_shown(
    report: PrecisionReport, capsys: pytest.CaptureFixture[str]
) -> None:
    fp32, reduced = (replace(measured, test_accuracy=None) for measured in (report.fp32, report.reduced))
    precision.report(replace(report, test_images=0, fp32=fp32, reduced=reduced))
    assert "test images" not in capsys.readouterr().out


def test_data_that_the_network_was_not_trained_on_is_said(
    report: PrecisionReport, capsys: pytest.CaptureFixture[str]
) -> None:
    precision.report(replace(report, trained_on=False))
    assert "The network was not trained on cifar10-jpeg." in capsys.readouterr().out


def test_what_is_out_of_range_and_what_is_kept_is_listed(
    report: PrecisionReport, capsys: pytest.CaptureFixture[str]
) -> None:
    beyond = tuple(OutOfRange(f"block{n}.conv", "Conv", "values", 70_000.0 * n) for n in range(1, 8))
    kept = ("LayerNormalization norm1", "LayerNormalization norm2", "Softmax node_softmax")
    fp16 = replace(report, precision="fp16", layers=(), calibration="", out_of_range=beyond, kept_fp32=kept)
    precision.report(replace(fp16, rounded_accuracy=0.5, rounded_agreement=0.25))
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    assert "(5 of 7)" in shown
    assert ["7e+04" in shown, "block5.conv" in shown, "block6.conv" in shown] == [True, True, False]
    assert "accuracy 50.0%, same top-1 class 25.0%" in " ".join(shown.split())
    assert "Kept in fp32: 2 LayerNormalization, Softmax." in shown

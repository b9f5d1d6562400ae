"""What `doctor` and tuning draw, as it looks in a terminal of 80 columns: see `tests/golden`."""

from collections.abc import Callable
from pathlib import Path

import pytest

from cnnkit.render import installation, tuning
from cnnkit.runtime.results import Check, Installation, TriedOptions, TuningResult
from tests.expecting import rows_of

Golden = Callable[[str, str], None]
Captured = pytest.CaptureFixture[str]
PIP = 'pip install "onnxruntime-gpu[cuda,cudnn]"'
FINE = Check("Python", "3.11.7 on Linux x86_64")
MISSING = "not found: libcublasLt.so.13, libcublas.so.13, libcurand.so.10, libcudnn.so.9"


def test_an_installation_with_problems(golden: Golden, capsys: Captured) -> None:
    advice = "They overwrite each other's files; keep one:"
    both = "onnxruntime 1.24.0, onnxruntime-gpu 1.31.1: more than one"
    found = (
        FINE,
        Check("onnxruntime", both, "problem", advice, f"pip uninstall -y onnxruntime onnxruntime-gpu && {PIP}"),
        Check("CUDA libraries", MISSING, "problem", "They come with:", PIP),
        Check("session on TensorRT", "not run: libraries are missing", "note"),
    )
    installation.doctor(Installation(found))
    golden("doctor", capsys.readouterr().out)


def test_an_installation_without_problems(capsys: Captured) -> None:
    installation.doctor(Installation((FINE, Check("NVIDIA driver", "not found on this machine", "note"))))
    assert ["NVIDIA driver", "not found on this machine", "note"] in rows_of(capsys.readouterr().out)


def test_an_installation_where_all_is_there(capsys: Captured) -> None:
    installation.doctor(Installation((FINE,)))
    assert capsys.readouterr().out.endswith("\nNo problem.\n")


TRIED = (
    TriedOptions("default", "default", 1.0),
    TriedOptions("search EXHAUSTIVE, nhwc, graph", "faster", 0.5, (2.0, 1.9, 2.1)),
    TriedOptions("no workspace", "slower", 1.25, (0.8, 0.7, 0.9)),
    TriedOptions("nhwc", "no difference", 1.0, (1.0, 0.9, 1.1)),
    TriedOptions("tf32", "refused", reason="logits differ by 0.013 in a batch of 32"),
    TriedOptions("graph", "failed", reason="out of memory"),
)


def result(winner: str | None, *, removed: bool = False) -> TuningResult:
    gained = (1.98, 1.95, 2.01) if winner else None
    stored = Path("runs/lenet-mnist-1/model.onnx") if winner else None
    return TuningResult("lenet.onnx", "CUDA", "cuda: Test GPU", 32, 1e-4, TRIED, winner, {}, gained, stored, removed)


def test_tuning_with_a_winner(golden: Golden, capsys: Captured) -> None:
    tuning.tuning(result("search EXHAUSTIVE, nhwc, graph"))
    golden("tuning", capsys.readouterr().out)


def test_tuning_whose_fastest_did_not_win_again(capsys: Captured) -> None:
    tuning.tuning(result(None, removed=True))
    out = capsys.readouterr().out
    assert ["no workspace", "1.250", "0.80 (0.70 to 0.90)", "slower"] in rows_of(out)
    assert "nothing is stored" in out

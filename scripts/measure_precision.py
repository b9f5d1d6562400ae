"""Measure fp16 and int8 of every entry of models_zoo/ against fp32, and print a Markdown table for docs/performance.md.

The accuracy on the validation split decides whether a file is written; the one on the test split is only reported.

    python scripts/measure_precision.py --data-dir DIR [--device cpu] [--only digits,lenet-mnist]

DIR holds MNIST/raw/…, FashionMNIST/raw/…, basicshapes/<class>/… and cifar10-jpeg/{train,test}/<class>/…. Run it on an
idle machine; two cores take about four minutes.
"""

import argparse
import contextlib
import platform
import tempfile
from pathlib import Path
from typing import Literal

import onnxruntime as ort

import cnnkit
from cnnkit import zoo
from cnnkit.errors import PrecisionError
from cnnkit.exporting.results import PrecisionReport
from cnnkit.words import megabytes, percent

HEADER = """\
| entry | precision | size | validation accuracy | test accuracy | latency p50 | speed-up (95%) | worst layer | |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |"""


def measure(entry: str, precision: Literal["fp16", "int8"], device: str, data_dir: Path) -> PrecisionReport:
    """Export an entry in one precision, accepted or not, and return what was measured."""
    # The cards of entries that were trained on a folder name it as it is inside DIR.
    with tempfile.TemporaryDirectory() as scratch, contextlib.chdir(data_dir):
        try:
            result = cnnkit.export(
                entry,
                Path(scratch) / "model.onnx",
                precision=precision,
                force=True,
                device=device,
                data_dir=data_dir,
            )
        except PrecisionError as error:
            if isinstance(error.result, PrecisionReport):
                return error.result
            raise
    assert result.precision is not None  # noqa: S101
    return result.precision


def row(entry: str, found: PrecisionReport) -> str:
    """Return one line of the table."""
    plain, reduced, (low, high) = found.fp32, found.reduced, found.speed_up_interval
    worst = f"`{found.layers[0].name}` {found.layers[0].alone_snr_db:.0f} dB" if found.layers else ""
    tested = (
        f"{plain.test_accuracy:.2%} → {reduced.test_accuracy:.2%}"
        if plain.test_accuracy is not None and reduced.test_accuracy is not None
        else ""
    )
    cells = (
        entry,
        found.precision,
        f"{megabytes(plain.size_mb)} → {megabytes(reduced.size_mb)}",
        f"{percent(plain.accuracy, of=found.images)} → {percent(reduced.accuracy, of=found.images)}",
        tested,
        f"{plain.latency_p50_ms:.3g} → {reduced.latency_p50_ms:.3g} ms",
        f"{found.speed_up:.2f} ({low:.2f}–{high:.2f})",
        worst,
        f"refused: {'; '.join(found.objections)}" if found.objections else "written",
    )
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Measure what is asked for, line by line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--only", default=",".join(zoo.entries()))
    arguments = parser.parse_args()
    print(f"onnxruntime {ort.__version__} on {platform.machine()}, batch 1\n\n{HEADER}", flush=True)
    for entry in arguments.only.split(","):
        for precision in ("int8", "fp16"):
            found = measure(entry, precision, arguments.device, arguments.data_dir.resolve())
            print(row(entry, found), flush=True)


if __name__ == "__main__":
    main()

"""Benchmarks as tables of 80 and 120 columns, see `tests/golden`, and as CSV."""

import csv
from collections.abc import Callable, Generator
from dataclasses import fields
from pathlib import Path

import pytest

from cnnkit.errors import OutputError
from cnnkit.render import benchmarks
from cnnkit.runtime.results import Benchmark, BenchmarkStep, Measurement
from tests.expecting import expect_error, rows_of

Golden = Callable[[str, str], None]
Make = Callable[..., Benchmark]


# Rows that only this kind has; where the columns fit, 120 of them hold two tables in one.
TABLES = {
    "alone": [["256", "4.32", "4.85", "6.18", "4.41 ±1.5%", "58,037", "39.7", "197 MB"]],
    "threads": [["onnxruntime CPU, 2 threads", "0.659", "0.739", "0.941", "0.672 ±1.5%"]],
    "torch": [],
    "gpu": [
        ["onnxruntime CUDA", "0.0333", "0.0373", "0.0475", "0.0339 ±1.5%"],
        ["onnxruntime CUDA", "0.0136", "0.0190", "0.0007"],
    ],
    "models": [["256", "6.48", "7.28", "9.26", "6.62 ±1.5%"]],
}


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("kind", ["alone", "threads", "torch", "gpu", "models"])
def test_tables(
    kind: str,
    columns: int,
    make_benchmark: Make,
    golden: Golden,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    benchmarks.tables(make_benchmark(kind))
    out = capsys.readouterr().out
    prose = "Milliseconds for a whole batch"
    assert max(map(len, out.partition(prose)[0].splitlines())) <= columns
    assert "…" not in out
    if (kind, columns) == ("torch", 80):
        golden("benchmark", out)
    for row in TABLES[kind]:
        assert any(set(row) <= set(each) for each in rows_of(out))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.00812, "0.0081"), (0.0312, "0.0312"), (0.5, "0.500"), (3.14159, "3.14"), (45.67, "45.7"), (1234.5, "1,234"),
        (None, "–"),
    ],
)  # fmt: skip
def test_times_have_three_digits_that_count(value: float | None, text: str) -> None:
    assert benchmarks.milliseconds(value) == text


def test_names_cannot_steer_the_terminal(make_benchmark: Make, capsys: pytest.CaptureFixture[str]) -> None:
    benchmarks.tables(make_benchmark("alone", model="\x1b[31mred.onnx"))
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize("terminal", [False, True])
def test_progress_is_shown_where_somebody_sees_it(
    terminal: bool, make_benchmark: Make, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def steps() -> Generator[BenchmarkStep, None, Benchmark]:
        yield BenchmarkStep("batch 1, first run of onnxruntime", 0, 2)
        yield BenchmarkStep("batch 1", 0.5, 2)
        return found

    found = make_benchmark("alone")
    if terminal:
        monkeypatch.setenv("TTY_COMPATIBLE", "1")
    assert benchmarks.follow(steps()) is found
    out, err = capsys.readouterr()
    assert out == ""
    assert ("first run of onnxruntime" in err and "25%" in err) == terminal


def test_the_csv_has_a_row_for_each_measurement(make_benchmark: Make, tmp_path: Path) -> None:
    found = make_benchmark("torch")
    benchmarks.write_csv(found, tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [*(field.name for field in fields(Measurement)), "verdict"]
    for row, measured in zip(rows, found.measurements, strict=True):
        assert float(row["latency_p50_ms"]) == measured.latency_p50_ms
        assert (row["engine"], row["batch"]) == (measured.engine, str(measured.batch))
        assert row["verdict"] == (measured.verdict or "")
    assert rows[0]["compute_ms"] == ""


def test_a_csv_that_cannot_be_written_is_an_output_error(make_benchmark: Make, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with expect_error(OutputError, "a.csv"):
        benchmarks.write_csv(make_benchmark("alone"), tmp_path / "file" / "a.csv")

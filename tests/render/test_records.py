"""Files of predictions: a row an image in three formats, whole or not there."""

import csv
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from cnnkit.cautions import Caution
from cnnkit.errors import ImageError, MissingDependencyError, OutputError, UsageError
from cnnkit.render import records
from cnnkit.render.records import PredictionFile
from cnnkit.runtime.prediction import Prediction
from tests.expecting import expect_error

Make = Callable[..., Prediction]
SUFFIXES = [".csv", ".jsonl", ".parquet"]


@pytest.fixture
def results(make_prediction: Make) -> list[Prediction | ImageError]:
    """A prediction, a bad image with an odd name, and a prediction with fewer classes than asked for."""
    scores = (("a, b", 0.75), ('say "c"', 0.125), ("東京", 0.0625))
    good = make_prediction("one.png", *scores, steps=("colour to grey", "inverted"))
    bad = ImageError(f"{os.fsdecode(b'bad-ff-')}: is empty\nand more")
    return [good, bad, make_prediction("two.png", ("x", 1.0), steps=(Caution("blank", "blank"),))]


SOURCES = ["one.png", os.fsdecode(b"\xff.png"), "=two.png"]


def read(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        return list(parquet.read_table(path).to_pylist())
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_csv_has_a_column_for_each_class(results: list[Any], tmp_path: Path) -> None:
    written, bad = records.save(results, SOURCES, tmp_path / "a.csv", classes=3)
    assert written == PredictionFile(tmp_path / "a.csv", images=2, errors=1)
    assert bad == [results[1]]
    good, error, few = read(tmp_path / "a.csv")
    assert list(good) == [
        "source", "label", "probability", "label_2", "probability_2", "label_3", "probability_3", "steps", "warnings",
        "error",
    ]  # fmt: skip
    assert list(good.values()) == [
        "one.png", "a, b", "0.75", 'say "c"', "0.125", "東京", "0.0625", "colour to grey; inverted", "", "",
    ]  # fmt: skip
    assert list(error.values()) == ["\\udcff.png", "", "", "", "", "", "", "", "", "bad-ff-: is empty\nand more"]
    assert list(few.values()) == ["=two.png", "x", "1.0", "", "", "", "", "blank", "blank", ""]


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_lists_stay_lists_where_the_format_has_them(suffix: str, results: list[Any], tmp_path: Path) -> None:
    records.save(results, SOURCES, tmp_path / f"a{suffix}", classes=2)
    assert read(tmp_path / f"a{suffix}") == [
        {
            "source": "one.png",
            "label": "a, b",
            "probability": 0.75,
            "scores": [{"label": "a, b", "probability": 0.75}, {"label": 'say "c"', "probability": 0.125}],
            "steps": ["colour to grey", "inverted"],
            "warnings": [],
            "error": None,
        },
        {
            "source": "\\udcff.png",
            "label": None,
            "probability": None,
            "scores": [],
            "steps": [],
            "warnings": [],
            "error": "bad-ff-: is empty\nand more",
        },
        {
            "source": "=two.png",
            "label": "x",
            "probability": 1.0,
            "scores": [{"label": "x", "probability": 1.0}],
            "steps": ["blank"],
            "warnings": ["blank"],
            "error": None,
        },
    ]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_more_rows_than_are_held_back_come_in_order(suffix: str, tmp_path: Path, make_prediction: Make) -> None:
    names = [f"{index}.png" for index in range(records._GROUP + 10)]
    found = [make_prediction(name, ("a", 0.5)) for name in names]
    assert records.save(iter(found), names, tmp_path / f"A{suffix.upper()}", classes=1)[0].images == len(names)
    (path,) = tmp_path.iterdir()
    assert [row["source"] for row in read(path.rename(tmp_path / f"a{suffix}"))] == names


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_stops_halfway_leaves_the_older_file(suffix: str, tmp_path: Path, make_prediction: Make) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"older")

    def stopped() -> Iterator[Prediction]:
        yield make_prediction("a.png", ("a", 1.0))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        records.save(stopped(), ["a.png", "b.png"], path, classes=1)
    assert path.read_bytes() == b"older"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_full_disk_leaves_no_file(suffix: str, tmp_path: Path, make_prediction: Make) -> None:
    resource = pytest.importorskip("resource", reason="only Unix can limit the size of files")
    names = [os.urandom(8).hex() for _ in range(20_000)]
    found = [make_prediction(name, ("a", 0.5)) for name in names]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with expect_error(OutputError):
            records.save(found, names, tmp_path / f"a{suffix}", classes=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a", "a.txt", "a.json", ".csv", "a.csv.gz"])
def test_a_suffix_that_names_no_format_is_wrong_usage(name: str, tmp_path: Path) -> None:
    with expect_error(UsageError, ".csv", ".jsonl", ".parquet"):
        records.check(tmp_path / name)


def test_parquet_without_pyarrow_tells_the_pip_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with expect_error(MissingDependencyError, "pip install pyarrow"):
        records.check(tmp_path / "a.parquet")
    records.check(tmp_path / "a.csv")

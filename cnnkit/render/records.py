"""Predictions as a file for other programs: a row an image, in the order of the images, good ones and bad ones.

| column | what |
| --- | --- |
| source | the image as it was named |
| label, probability | of the most probable class; empty for a bad image |
| scores | JSON lines and Parquet: label and probability of the most probable classes |
| label_2, probability_2, … | CSV: the same, from the second on |
| steps | what preprocessing did; in CSV separated by "; " |
| warnings | those of the steps that may make the prediction wrong |
| error | why there is no prediction; empty for a good image |

Each row is written when it comes, and the file takes its place after the last one.
"""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from cnnkit.errors import ImageError, MissingDependencyError, UsageError
from cnnkit.files import JsonObject, open_atomic, require_writable, writing
from cnnkit.runtime.prediction import Prediction


@dataclass(frozen=True)
class PredictionFile:
    """A file of predictions: how many images it has a class for, and how many an error."""

    path: Path
    images: int
    errors: int


Write = Callable[[dict[str, Any]], None]

_GROUP = 4096
"""Rows that Parquet compresses together."""


def check(path: Path) -> None:
    """Make sure, before any long work, that predictions can be written to `path`.

    Raises:
        UsageError: its suffix names no format.
        MissingDependencyError: the format needs a library that is not installed.
        OutputError: its folder cannot be written.
    """
    if path.suffix.lower() not in _WRITERS:
        raise UsageError(f"--output {path}: expected a name that ends in {', '.join(_WRITERS)}.")
    if path.suffix.lower() == ".parquet":
        _parquet()
    require_writable(path.parent)


def save(
    results: Iterable[Prediction | ImageError], sources: Sequence[str], path: Path, *, classes: int
) -> tuple[PredictionFile, list[ImageError]]:
    """Write results as they come, and return what was written and the errors of bad images.

    Args:
        results: one for each source, in their order.
        sources: what the images are called.
        path: `.csv`, `.jsonl` or `.parquet`; an older file is replaced once all results are there.
        classes: at most this many of each image are written.

    Raises:
        OutputError: the file cannot be written; an older one is as it was.
    """
    bad: list[ImageError] = []
    with open_atomic(path) as file, _WRITERS[path.suffix.lower()](file, path, classes) as write:
        for source, result in zip(sources, results, strict=True):
            if isinstance(result, ImageError):
                bad.append(result)
            row = _row(source, result)
            with writing(path):
                write(row)
    return PredictionFile(path, images=len(sources) - len(bad), errors=len(bad)), bad


def _row(source: str, result: Prediction | ImageError) -> dict[str, Any]:
    row: dict[str, Any] = {"source": _text(source), "label": None, "probability": None}
    if isinstance(result, ImageError):
        return {**row, "scores": [], "steps": [], "warnings": [], "error": _text(str(result))}
    scores = [{"label": score.label, "probability": score.probability} for score in result.scores]
    done = {"steps": list(result.steps), "warnings": list(result.warnings)}
    return {**row, **scores[0], "scores": scores, **done, "error": None}


def _text(name: str) -> str:
    # A file name need not be text; the files written here are UTF-8.
    return name.encode("utf-8", "backslashreplace").decode()


@contextmanager
def _csv(file: BinaryIO, path: Path, classes: int) -> Iterator[Write]:
    more = [f"{what}_{rank}" for rank in range(2, classes + 1) for what in ("label", "probability")]

    def write_line(values: Iterable[object]) -> None:
        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow(values)
        file.write(line.getvalue().encode())

    def write(row: JsonObject) -> None:
        rest = [value for score in row["scores"][1:classes] for value in score.values()]
        rest += [None] * (len(more) - len(rest))
        done = ["; ".join(row[what]) for what in ("steps", "warnings")]
        write_line([row["source"], row["label"], row["probability"], *rest, *done, row["error"]])

    with writing(path):
        write_line(["source", "label", "probability", *more, "steps", "warnings", "error"])
    yield write


@contextmanager
def _json_lines(file: BinaryIO, path: Path, classes: int) -> Iterator[Write]:
    def write(row: JsonObject) -> None:
        file.write(json.dumps({**row, "scores": row["scores"][:classes]}, ensure_ascii=False).encode() + b"\n")

    yield write


@contextmanager
def _parquet_rows(file: BinaryIO, path: Path, classes: int) -> Iterator[Write]:
    pa, parquet = _parquet()
    text, number = pa.string(), pa.float64()
    schema = pa.schema(
        {
            "source": text,
            "label": text,
            "probability": number,
            "scores": pa.list_(pa.struct({"label": text, "probability": number})),
            "steps": pa.list_(text),
            "warnings": pa.list_(text),
            "error": text,
        }
    )
    waiting: list[dict[str, Any]] = []

    def flush() -> None:
        writer.write_table(pa.Table.from_pylist(waiting, schema))
        waiting.clear()

    def write(row: JsonObject) -> None:
        waiting.append({**row, "scores": row["scores"][:classes]})
        if len(waiting) == _GROUP:
            flush()

    with writing(path):
        writer = parquet.ParquetWriter(file, schema)
    try:
        yield write
        with writing(path):
            flush()
            writer.close()
    except BaseException:
        with suppress(OSError):
            writer.close()
        raise


def _parquet() -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise MissingDependencyError(
            "Parquet files need pyarrow, which is not installed. Run: pip install pyarrow; or write .csv or .jsonl."
        ) from error
    return pa, parquet


_WRITERS: dict[str, Callable[[BinaryIO, Path, int], AbstractContextManager[Write]]] = {
    ".csv": _csv,
    ".jsonl": _json_lines,
    ".parquet": _parquet_rows,
}

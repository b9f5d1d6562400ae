"""Run folders, `runs/<model>-<data>-<n>`, and what stands in them beside the weights."""

import csv
import errno
import importlib.metadata
import io
import os
import platform
import re
import shutil
import unicodedata
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

from cnnkit.errors import CheckpointError, OutputError, UsageError, guess
from cnnkit.files import write_atomic
from cnnkit.recipe import Recipe
from cnnkit.runfile import read_recipe_table
from cnnkit.training.results import EpochRecord

METRICS = "metrics.csv"
_NAME_BYTES = 100
_LAUNCH = ".launch"
LAUNCH = "CNNKIT_LAUNCH"
"""The environment variable in which `--nproc` tells its processes which start they belong to."""


def new_run_folder(
    runs: Path,
    model: str,
    data: str,
    recipe: Recipe,
    marks: Sequence[str] = (),
    *,
    files: Mapping[str, bytes] | None = None,
) -> Path:
    """Create the next free `runs/<model>-<data>-<n>` with its `run.toml` and other files, and return it.

    It appears with all of them in it or not at all, and two processes never get the same one.

    Raises:
        OutputError: it cannot be created.
    """
    stem = "-".join(filter(None, map(_in_a_name, (model, data))))
    taken = [
        int(m[1]) for m in (re.fullmatch(rf"{re.escape(stem)}-(\d+)", p.name) for p in runs.glob(f"{stem}-*")) if m
    ]
    number = max(taken, default=0) + 1
    temporary = runs / f".cnnkit.{uuid.uuid4().hex}.tmp"
    try:
        temporary.mkdir(parents=True)
        recipe.write(temporary / "run.toml")
        for name, content in (files or {}).items():
            write_atomic(temporary / name, content)
        mark_launch(temporary, marks)
        while True:
            folder = runs / f"{stem}-{number}"
            try:
                temporary.rename(folder)
            except OSError as error:
                if error.errno not in {errno.EEXIST, errno.ENOTEMPTY, errno.EACCES} or not folder.exists():
                    raise
                number += 1
            else:
                return folder
    except OSError as error:
        raise OutputError(f"cannot create a run folder in {runs}: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _in_a_name(text: str) -> str:
    """Return a text as part of a folder's name, which may have 255 bytes: its letters and digits, in any script."""
    plain = re.sub(r"[^\w.]+", "-", unicodedata.normalize("NFC", text))
    return plain.encode()[:_NAME_BYTES].decode(errors="ignore").strip("-.")


def launch_mark() -> str:
    """Return what tells one start of torchrun from another, the same in all its restarts; "" without torchrun."""
    if LAUNCH in os.environ:
        return os.environ[LAUNCH]
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return ""
    # Names are used again; the process that restarts the workers of a machine tells one start from another.
    agent = psutil.Process(os.getppid())
    return f"{platform.node()} {agent.pid} {agent.create_time()}"


def mark_launch(run: Path, marks: Sequence[str]) -> None:
    """Note which start of torchrun trains in a run folder, by the marks of its machines, so that it finds it again."""
    if any(marks):
        write_atomic(run / _LAUNCH, "\n".join(sorted(set(marks))).encode())


def unmark_launch(run: Path) -> None:
    """Let torchrun not try again what ended with an error that will come again."""
    with suppress(OSError):
        (run / _LAUNCH).unlink()


def is_restart() -> bool:
    """Return whether torchrun started this process, the first of its group, again after one of the group died."""
    return os.environ.get("RANK") == "0" and int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


def run_of_this_launch(runs: Path, resume: Path | None) -> Path | None:
    """Return the run folder in which this start of torchrun already trained, if there is one."""
    places = [resume] if resume else [path for path in runs.glob("*") if not path.name.startswith(".")]
    marks = [mark for place in places if (mark := place / _LAUNCH).is_file()]
    own = launch_mark()
    return next((mark.parent for mark in marks if own and own in mark.read_text("utf-8").split("\n")), None)


def recipe_of(run: Path) -> Recipe:
    """Read the recipe of a run folder.

    Raises:
        UsageError: it is no run folder.
    """
    if not (run / "run.toml").is_file():
        beside = guess(str(run), [str(path.parent) for path in run.parent.glob("*/run.toml")])
        raise UsageError(
            f"{run} is no run folder: it has no run.toml. {beside or 'Expected something like runs/mnist-cnn-mnist-1.'}"
        )
    return Recipe.recorded(read_recipe_table(run / "run.toml"))


def versions() -> dict[str, str]:
    """Return the versions that decide what a run computes."""
    packages = {name: importlib.metadata.version(name) for name in ("cnnkit", "torch", "torchvision", "pillow")}
    return {"python": platform.python_version(), **packages}


_COLUMNS = fields(EpochRecord)
_READERS: dict[Any, Callable[[str], Any]] = {int: int, float: float, bool: {"True": True, "False": False}.__getitem__}


def write_metrics(path: Path, records: Sequence[EpochRecord]) -> None:
    """Write one CSV line an epoch, with the fields of `EpochRecord` as header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [f.name for f in _COLUMNS], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(record) for record in records)
    write_atomic(path, text.getvalue().encode())


def read_metrics(run: Path) -> tuple[EpochRecord, ...]:
    """Read the epochs of a run folder.

    Raises:
        CheckpointError: it has no `metrics.csv`, or one that was changed by hand.
    """
    path = run / METRICS
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        # Files of versions before 0.2 lack the last columns.
        known = [f for f in _COLUMNS if f.default is MISSING or (rows and f.name in rows[0])]
        return tuple(EpochRecord(**{f.name: _READERS[f.type](row[f.name]) for f in known}) for row in rows)
    except OSError as error:
        raise CheckpointError(f"cannot read the epochs of the run from {path}: {error.strerror or error}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} does not hold the epochs of a run: {error}.") from error

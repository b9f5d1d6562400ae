"""Run folders: `runs/<model>-<data>-<n>`."""

import importlib.metadata
import platform
import re
from pathlib import Path

from cnnkit.errors import OutputError


def new_run_folder(runs: Path, model: str, data: str) -> Path:
    """Create the next free `runs/<model>-<data>-<n>` and return it; two processes never get the same.

    Raises:
        OutputError: it cannot be created.
    """
    stem = "-".join(re.sub(r"[^A-Za-z0-9_.]+", "-", part).strip("-.") for part in (model, data))
    taken = [
        int(m[1]) for m in (re.fullmatch(rf"{re.escape(stem)}-(\d+)", p.name) for p in runs.glob(f"{stem}-*")) if m
    ]
    number = max(taken, default=0) + 1
    while True:
        folder = runs / f"{stem}-{number}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            number += 1
        except OSError as error:
            raise OutputError(f"cannot create {folder}: {error.strerror or error}.") from error
        else:
            return folder


def versions() -> dict[str, str]:
    """Return the versions that decide what a run computes."""
    packages = {name: importlib.metadata.version(name) for name in ("cnnkit", "torch", "torchvision")}
    return {"python": platform.python_version(), **packages}

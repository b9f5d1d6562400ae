"""Where the files of data sets are: what the user says, a run remembers, the environment or the project names."""

import os
import tomllib
from pathlib import Path
from typing import Literal

import platformdirs
import tomli_w

from cnnkit.errors import UsageError

DATA_VARIABLE = "CNNKIT_DATA"
"""The environment variable that names the data folder when `--data-dir` does not."""
PROJECT = "cnnkit.toml"
"""A file that does so for the folder it is in, and for those below."""
HERE = "here.toml"
"""What a run folder remembers of the machine; nothing of it goes into a card."""

Origin = Literal["--data-dir", "$CNNKIT_DATA", "cnnkit.toml", "cache"]


def data_folder(data_dir: Path | None = None) -> tuple[Path, Origin]:
    """Return the data folder and who names it: `data_dir`, `$CNNKIT_DATA`, or `cnnkit.toml`; else the user's cache.

    Raises:
        UsageError: `cnnkit.toml` cannot be read, or says something else.
    """
    if data_dir is not None:
        return data_dir, "--data-dir"
    if variable := os.environ.get(DATA_VARIABLE):
        return Path(variable).expanduser(), "$CNNKIT_DATA"
    if folder := _of_project():
        return folder, "cnnkit.toml"
    return platformdirs.user_cache_path("cnnkit") / "data", "cache"


def _of_project() -> Path | None:
    here = Path.cwd()
    file = next((folder / PROJECT for folder in (here, *here.parents) if (folder / PROJECT).is_file()), None)
    if file is None:
        return None
    try:
        said = tomllib.loads(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"cannot read {file}: {getattr(error, 'strerror', None) or error}.") from error
    named = said.get("data-dir")
    if said.keys() - {"data-dir"} or not isinstance(named, str | None):
        raise UsageError(f'{file} says {", ".join(said)}; expected data-dir = "FOLDER", and nothing else.')
    return file.parent / Path(named).expanduser() if named else None


def remembering(data_dir: Path) -> bytes:
    """Return the content of a run's `here.toml`, by which it remembers a data folder."""
    return tomli_w.dumps({"data-dir": str(data_dir.resolve())}).encode()


def remembered(run: Path | None) -> Path | None:
    """Return the data folder that a run remembers; None where it remembers none, or the folder is gone."""
    try:
        named = tomllib.loads((run / HERE).read_text("utf-8"))["data-dir"] if run else None
    except (OSError, ValueError, KeyError):
        return None
    return Path(named) if isinstance(named, str) and Path(named).is_dir() else None

"""Files of an image folder that cannot be decoded: named in messages, and listed in a CSV file."""

import csv
import io
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import platformdirs

from cnnkit.data.results import DamagedFiles
from cnnkit.errors import OutputError
from cnnkit.files import sha256, write_atomic
from cnnkit.words import counted

_NAMED = 3
"""Files that a message names."""


def damaged_list(files: Mapping[str, str]) -> bytes:
    """Return the content of a CSV file with a line for each damaged file and its problem."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("file", "problem"), *files.items()])
    return text.getvalue().encode(errors="surrogateescape")


def with_list(found: DamagedFiles) -> DamagedFiles:
    """Write the damaged files to a CSV file in the cache folder, where that can be done."""
    folder = Path(found.folder).resolve()
    name = f"{folder.name}-{sha256(os.fsencode(folder))[:8]}.csv"
    path = platformdirs.user_cache_path("cnnkit") / "damaged" / name
    with suppress(OutputError):
        write_atomic(path, damaged_list(found.files))
        return replace(found, listed_in=str(path))
    return found


def described(found: DamagedFiles) -> str:
    """Say which files are damaged, without a full stop."""
    shown = "; ".join(problem.rstrip(".") for _, problem in sorted(found.files.items())[:_NAMED])
    every = f" (all of them are listed in {found.listed_in})" if found.listed_in else ""
    return f"{len(found.files):,} of {counted(found.total, 'file')} of {found.folder} cannot be decoded: {shown}{every}"

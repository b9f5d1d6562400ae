"""Files that are either whole or not there: atomic writes and content hashes."""

import hashlib
import os
from contextlib import suppress
from pathlib import Path

from cnnkit.errors import OutputError


def write_atomic(path: Path, data: bytes, *, keep: Path | None = None) -> None:
    """Write `data` to a temporary file beside `path`, flush it to the disk, and rename it into place.

    A link is followed; what it names is replaced. With `keep`, an older `path` gets that name instead of being lost.

    Raises:
        OutputError: the folder cannot be written, the disk is full, or `path` is something else than a file; an older
            `path` is left as it was.
    """
    import uuid  # slow to load, and reading needs none of it

    temporary: Path | None = None
    try:
        path = path.resolve()
        if path.exists() and not path.is_file():
            raise OutputError(f"cannot write {path}: it is there, and not a file. Choose another name.")
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.parent / f".cnnkit.{uuid.uuid4().hex}.tmp"
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if keep is not None and path.exists():
            path.replace(keep)
        temporary.replace(path)
        _flush_folder(path.parent)
    except OSError as error:
        raise OutputError(
            f"cannot write {path}: {error.strerror or error}. Choose a folder that exists and has space."
        ) from error
    finally:
        if temporary is not None:
            with suppress(OSError):  # on a folder that became read-only, even looking for it is an error
                temporary.unlink()


def _flush_folder(folder: Path) -> None:
    """Bring renames to the disk too, where folders can be opened."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_temporaries(folder: Path) -> None:
    """Take away what killed writers left in a folder that nobody writes into now."""
    for path in folder.glob(".cnnkit.*.tmp"):
        with suppress(OSError):
            path.unlink()


def require_writable(folder: Path) -> None:
    """Make sure, before any long work, that files can be made in `folder`, or it itself where it is not there yet.

    Raises:
        OutputError: they cannot.
    """
    import tempfile

    try:
        there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise OutputError(f"cannot write into {folder}: {error.strerror or error}. Choose another folder.") from error


def sha256(data: bytes) -> str:
    """Return the SHA-256 of `data` in hexadecimal."""
    return hashlib.sha256(data).hexdigest()

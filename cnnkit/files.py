"""Files that are either whole or not there: atomic writes and content hashes."""

import errno
import hashlib
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from cnnkit.errors import OutputError

JsonObject = dict[str, Any]
"""What a JSON object holds, or will hold; its values are checked where they are read."""


def write_atomic(path: Path, data: bytes, *, keep: Path | None = None) -> None:
    """Write `data` to a temporary file beside `path`, flush it to the disk, and rename it into place.

    A link is followed; what it names is replaced. With `keep`, an older `path` gets that name instead of being lost.

    Raises:
        OutputError: the folder cannot be written, the disk is full, or `path` is something else than a file; an older
            `path` is left as it was.
    """
    with open_atomic(path, keep=keep) as file, writing(path):
        file.write(data)


@contextmanager
def open_atomic(path: Path, *, keep: Path | None = None) -> Iterator[BinaryIO]:
    """Open a file that takes its place, as `write_atomic` describes, when the block ends without an exception.

    The block guards its own writes by `writing`: what else may fail in it is no error of this file.
    """
    import uuid  # slow to load, and reading needs none of it

    with writing(path):
        path = path.resolve()
        if path.exists() and not path.is_file():
            raise OutputError(f"cannot write {path}: it is there, and not a file. Choose another name.")
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.parent / f".cnnkit.{uuid.uuid4().hex}.tmp"
        file = temporary.open("xb")
    try:
        try:
            yield file
            with writing(path):
                file.flush()
                os.fsync(file.fileno())
        finally:
            # A full disk may show only here; where the block failed, that is the news.
            with suppress(OSError):
                file.close()
        with writing(path):
            if keep is not None and path.exists():
                path.replace(keep)
            temporary.replace(path)
            _flush_folder(path.parent)
    finally:
        with suppress(OSError):  # on a folder that became read-only, even looking for it is an error
            temporary.unlink()


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the file system says about writing `path` into an `OutputError`."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"cannot write {path}: {error.strerror or error}. Choose a folder that exists and has space."
        ) from error


def write_folder_atomic(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files into a temporary folder beside `folder`, flush them, and rename it: all of them are there, or none.

    Args:
        folder: not there yet.
        files: content by path inside the folder.

    Raises:
        OutputError: it cannot be written, or it is there.
    """
    import shutil
    import uuid

    temporary = folder.parent / f".cnnkit.{uuid.uuid4().hex}.tmp"
    try:
        with writing(folder):
            for name, content in files.items():
                path = temporary / name
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("xb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                _flush_folder(path.parent)
            if folder.exists():  # Linux would let an empty one be replaced
                raise FileExistsError(errno.EEXIST, "it is there already")
            temporary.rename(folder)
            _flush_folder(folder.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _flush_folder(folder: Path) -> None:
    """Bring renames to the disk too, where folders can be opened."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_temporaries(folder: Path, *, older_than: float | None = None) -> None:
    """Take away what killed writers left in a folder.

    Args:
        folder: nobody writes into it now.
        older_than: leave alone what is younger, in seconds, where others may be writing.
    """
    for path in folder.glob(".cnnkit.*.tmp"):
        with suppress(OSError):
            if older_than is None or time.time() - path.stat().st_mtime > older_than:
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


def expanded(given: str | Path | None) -> Path | None:
    """Return what a user wrote as a path, with `~` as the home folder; None stays None."""
    return None if given is None else Path(given).expanduser()

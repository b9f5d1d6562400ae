"""Image folders decoded once: a memory-mapped array for each content and form, in the user's cache folder.

An array is named after what it was made of: names and SHA-256 of the files, and the form of the images. So a copied
folder finds it, and a changed one does not. An index for each folder keeps the hashes of files that look unchanged.
"""

import errno
import hashlib
import io
import json
import math
import os
import shutil
import time
import uuid
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import platformdirs
import psutil  # type: ignore[import-untyped]

from cnnkit.errors import DataError, OutputError
from cnnkit.files import remove_temporaries, sha256, write_atomic
from cnnkit.images import Preprocessing
from cnnkit.pictures import Pixels
from cnnkit.results import LoadNote, LoadProgress
from cnnkit.training.decoding import decode
from cnnkit.training.folders import Listing, Stat, stat

_VERSION = 1
"""Part of every array's name; to be raised when the same file no longer gives the same pixels."""

_CHUNK = 64
"""Files that one task of a thread hashes."""

_UNSETTLED = 2 * 10**9
"""Nanoseconds: file systems tell two moments apart that are further apart than this."""

_A_DAY = 24 * 60 * 60


@dataclass(frozen=True)
class _Index:
    """What is remembered of a folder.

    Attributes:
        content: hash of the names and contents of all its images.
        forms: those in which they were cached.
        files: stat and SHA-256 by name, as far as the one tells that the other still holds.
    """

    content: str
    forms: list[str]
    files: dict[str, tuple[Stat, str]]


def fits_in_memory(size: int) -> bool:
    """Whether so many bytes, in each process that trains on this machine, leave as much memory again to others."""
    return bool(size * int(os.environ.get("LOCAL_WORLD_SIZE", "1")) <= psutil.virtual_memory().available / 2)


def load(listing: Listing, form: Preprocessing) -> Generator[LoadProgress | LoadNote, None, Pixels]:
    """Return all images of a folder, uint8 [N, H, W, C] in the order of `listing.files`, mapped from the cache.

    Decodes them first, and yields how far that is, where the cache does not have them. Where it cannot take them
    either, they come in memory.

    Raises:
        DataError: files that are not usable images, by name; or too many for memory that cannot be cached.
    """
    now = time.time_ns()
    place = platformdirs.user_cache_path("cnnkit") / "images"
    index_path = place / f"{sha256(os.fsencode(listing.folder.resolve()))}.json"
    old = None
    try:
        old = _read_index(index_path)
    except ValueError:
        yield LoadNote(f"the index of the cached images of {listing.folder} is damaged, so it is made again")
    digests = _digests(listing, old.files if old else {})
    kind = json.dumps({key: value for key, value in asdict(form).items() if key not in {"mean", "std"}})
    content = sha256(json.dumps(digests).encode())
    path = place / _array_name(content, kind)
    images = _open(path, (len(digests), *form.shape))
    if images is None:
        if path.is_file():
            yield LoadNote(f"the cached images of {listing.folder} are damaged, so they are decoded again")
        elif old and old.content != content and kind in old.forms:
            yield LoadNote(f"the images of {listing.folder} changed since they were cached, so they are decoded again")
        images = yield from _make(listing, form, path)
    if isinstance(images, np.memmap):
        same = old is not None and old.content == content
        _remember(
            index_path,
            old,
            _Index(
                content,
                sorted({kind, *(old.forms if old and same else [])}),
                # A file may change again within the same tick of its clock: such a young one is hashed the next time.
                {n: (s, digests[n]) for n, s in listing.files.items() if s[1] < now - _UNSETTLED},
            ),
        )
    return images


def _array_name(content: str, kind: str) -> str:
    return f"{sha256(f'{_VERSION} {kind} {content}'.encode())}.npy"


def _read_index(path: Path) -> _Index | None:
    """Return an index, or None where there is none.

    Raises:
        ValueError: it is damaged.
    """
    try:
        found = json.loads(path.read_bytes())
        stats = zip(found["sizes"], found["times"], strict=True)
        known = zip(stats, map(str, found["digests"]), strict=True)
        return _Index(
            str(found["content"]), list(map(str, found["forms"])), dict(zip(found["names"], known, strict=True))
        )
    except OSError:
        return None
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path} is no index") from error


def _remember(path: Path, old: _Index | None, new: _Index) -> None:
    """Write an index where it says something new, and remove the arrays of what the folder no longer holds."""
    if new == old:
        return
    if old and old.content != new.content:
        for kind in old.forms:
            with suppress(OSError):
                (path.parent / _array_name(old.content, kind)).unlink()
    # Column by column, it is read in a tenth of the time that a list for each file takes.
    columns = {
        "names": list(new.files),
        "sizes": [size for (size, _), _ in new.files.values()],
        "times": [changed for (_, changed), _ in new.files.values()],
        "digests": [digest for _, digest in new.files.values()],
    }
    # Without it, the next load hashes the files again, and is right all the same.
    with suppress(OutputError):
        write_atomic(path, json.dumps({"content": new.content, "forms": new.forms, **columns}).encode())


def _digests(listing: Listing, known: dict[str, tuple[Stat, str]]) -> dict[str, str]:
    """Return the SHA-256 of every file, by name; only those that are not known by their stat are read."""
    digests = {n: known[n][1] if n in known and known[n][0] == s else "" for n, s in listing.files.items()}
    fresh = [name for name, digest in digests.items() if not digest]
    chunks = [fresh[start : start + _CHUNK] for start in range(0, len(fresh), _CHUNK)]
    with ThreadPoolExecutor() as pool:
        for part in pool.map(lambda names: {n: _digest(listing.folder / n) for n in names}, chunks):
            digests |= part
    return digests


def _digest(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:  # decoding it will say what is wrong, with all the others that are
        return ""


def _header(shape: tuple[int, ...]) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return buffer.getvalue()


def map_array(path: Path, shape: tuple[int, ...]) -> Pixels:
    """Map an array of the cache, uint8 of that shape."""
    # Copy on write, as PyTorch knows no tensor that must not be written.
    return np.memmap(path, np.uint8, "c", len(_header(shape)), shape)


def _open(path: Path, shape: tuple[int, ...]) -> Pixels | None:
    """Map an array of the cache; None where it is not there or not what its name says."""
    header = _header(shape)
    try:
        with path.open("rb") as file:
            whole = file.read(len(header)) == header and stat(path)[0] == len(header) + math.prod(shape)
        return map_array(path, shape) if whole else None
    except OSError:
        return None


def _make(listing: Listing, form: Preprocessing, path: Path) -> Generator[LoadProgress | LoadNote, None, Pixels]:
    """Decode a folder into `path`, or into memory where that cannot be written."""
    shape = (len(listing.files), *form.shape)
    size = math.prod(shape)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_temporaries(path.parent, older_than=_A_DAY)
        if shutil.disk_usage(path.parent).free < size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        temporary = path.with_name(f".cnnkit.{uuid.uuid4().hex}.tmp")
        try:
            # Written, not mapped: on a full disk a write is an error, and a map is the end of the process.
            with temporary.open("xb") as file:
                file.write(_header(shape))
                yield from decode(listing, form, lambda _, pixels: file.write(pixels.data))
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        return map_array(path, shape)
    except OSError as error:
        reason = error.strerror or str(error)
    if not fits_in_memory(size):
        raise DataError(
            f"the images of {listing.folder} take {size / 1e9:.1f} GB, too much for memory, and cannot be cached in "
            f"{path.parent}: {reason}. Make room there, or take a smaller input."
        )
    yield LoadNote(
        f"the images of {listing.folder} cannot be cached in {path.parent} ({reason}), so they are kept in memory for "
        f"this run"
    )
    decoded = np.empty(shape, np.uint8)
    yield from decode(listing, form, decoded.__setitem__)
    return decoded

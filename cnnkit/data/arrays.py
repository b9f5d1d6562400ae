"""The arrays of the image cache: mapped files with what was found when they were made, and a limit on their size."""

import errno
import io
import json
import math
import os
import shutil
import uuid
from collections.abc import Generator, Mapping
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from pathlib import Path

import numpy as np
import PIL
import psutil  # type: ignore[import-untyped]
from PIL import features

from cnnkit import depth, formats, images, ink, modes, pictures, resampling, sixteen
from cnnkit.data import decoding
from cnnkit.data.decoding import Facts, decode
from cnnkit.data.walking import Stat, stat
from cnnkit.errors import DataError, OutputError, UsageError
from cnnkit.files import remove_temporaries, sha256, write_atomic
from cnnkit.images import Preprocessing
from cnnkit.pictures import Pixels
from cnnkit.progress import LoadProgress, Notice

LIMIT_VARIABLE = "CNNKIT_CACHE_GB"
"""The environment variable that says how many gigabytes of arrays are kept."""

_LIMIT_GB = 20.0
_DECODING = (pictures, images, ink, depth, modes, sixteen, formats, resampling, decoding)
_LIBRARIES = ("jpg", "libjpeg_turbo", "jpg_2000", "zlib", "libtiff", "webp", "avif")
_A_DAY = 24 * 60 * 60


def fits_in_memory(size: int) -> bool:
    """Whether so many bytes, in each process that trains on this machine, leave as much memory again to others."""
    return bool(size * int(os.environ.get("LOCAL_WORLD_SIZE", "1")) <= psutil.virtual_memory().available / 2)


def limit() -> int:
    """Return how many bytes the arrays may take together.

    Raises:
        UsageError: the environment variable is not a number of gigabytes.
    """
    given = os.environ.get(LIMIT_VARIABLE, "")
    try:
        gigabytes = float(given) if given else _LIMIT_GB
        if not (math.isfinite(gigabytes) and gigabytes >= 0):
            raise ValueError
    except ValueError:
        raise UsageError(f"${LIMIT_VARIABLE} is {given!r}; expected a number of gigabytes, such as 20.") from None
    return int(gigabytes * 1e9)


@cache
def decoder() -> str:
    """Return a hash of all that decides which pixels a file gives: the code, Pillow, and the libraries that it uses."""
    code = [Path(module.__file__ or "").read_bytes() for module in _DECODING]
    versions = [PIL.__version__, *(str(features.version(name)) for name in _LIBRARIES)]
    return sha256(b"".join(code) + " ".join(versions).encode())


def _header(shape: tuple[int, ...]) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return buffer.getvalue()


def map_array(path: Path, shape: tuple[int, ...]) -> Pixels:
    """Map an array of the cache, uint8 of that shape."""
    # Copy on write, as PyTorch knows no tensor that must not be written.
    return np.memmap(path, np.uint8, "c", len(_header(shape)), shape)


def open_array(base: Path, shape: tuple[int, ...]) -> tuple[Pixels, Facts] | None:
    """Map an array of the cache; None where it or its facts are absent, or not what its name says."""
    path, header = base.with_suffix(".npy"), _header(shape)
    try:
        with path.open("rb") as file:
            whole = file.read(len(header)) == header and stat(path)[0] == len(header) + math.prod(shape)
        facts = _facts_of(base)
        if not whole or facts is None:
            return None
        with suppress(OSError):
            os.utime(path)  # the arrays that are used stay longest
        return map_array(path, shape), facts
    except OSError:
        return None


def _facts_of(base: Path) -> Facts | None:
    """Read what was found when an array was made; None where that is absent or damaged."""
    try:
        found = json.loads(base.with_suffix(".json").read_bytes())["facts"]
        low_high = found["value_range"]
        return Facts(**{**found, "value_range": None if low_high is None else (low_high[0], low_high[1])})
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None


def made_of(base: Path) -> tuple[str, str] | None:
    """Return the content and the decoder that an array was made of and by."""
    try:
        found = json.loads(base.with_suffix(".json").read_bytes())
        return found["content"], found["decoder"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remove_array(base: Path) -> None:
    """Remove an array and what is known of it, where that can be done."""
    for suffix in (".npy", ".json"):
        with suppress(OSError):
            base.with_suffix(suffix).unlink(missing_ok=True)


def _make_room(place: Path, size: int) -> None:
    """Remove the arrays that were not used for longest, until so many bytes are free below the limit.

    Raises:
        OSError: so many are more than the limit.
    """
    if size > limit():
        raise OSError(errno.ENOSPC, f"they take more than the {limit() / 1e9:g} GB that ${LIMIT_VARIABLE} allows")
    arrays = []
    for path in place.glob("*.npy"):
        with suppress(FileNotFoundError):  # another process may make room, too
            taken, used, _ = stat(path)
            arrays.append((used, taken, path))
    arrays.sort()
    excess = sum(taken for _, taken, _ in arrays) + size - limit()
    for _, taken, path in arrays:
        if excess <= 0:
            break
        remove_array(path.with_suffix(""))
        excess -= taken


def make_array(
    folder: Path, files: Mapping[str, Stat], form: Preprocessing, base: Path, *, content: str
) -> Generator[LoadProgress | Notice, None, tuple[Pixels, Facts]]:
    """Decode a folder into the array of that name, or into memory where it cannot be written.

    Raises:
        DataError: a file changed while it was read, or the images are too many for memory and cannot be cached.
    """
    shape = (len(files), *form.shape)
    size, row, listed = math.prod(shape), math.prod(form.shape), list(files.items())
    place = base.parent
    try:
        place.mkdir(parents=True, exist_ok=True)
        remove_temporaries(place, older_than=_A_DAY)
        _make_room(place, size)
        if shutil.disk_usage(place).free < size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        temporary, header = place / f".cnnkit.{uuid.uuid4().hex}.tmp", _header(shape)
        try:
            # Written, not mapped: on a full disk a write is an error, and a map is the end of the process.
            with temporary.open("xb") as file:
                file.write(header)

                def keep(at: int, pixels: Pixels) -> None:
                    file.seek(len(header) + at * row)
                    file.write(pixels.data)

                facts = yield from decode(folder, listed, form, keep)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(base.with_suffix(".npy"))
        finally:
            temporary.unlink(missing_ok=True)
        # An array without its facts is made again.
        about = {"content": content, "decoder": decoder(), "facts": asdict(facts)}
        with suppress(OutputError):
            write_atomic(base.with_suffix(".json"), json.dumps(about).encode())
        return map_array(base.with_suffix(".npy"), shape), facts
    except OSError as error:
        reason = error.strerror or str(error)
    if not fits_in_memory(size):
        raise DataError(
            f"the images of {folder} take {size / 1e9:.1f} GB, too much for memory, and cannot be cached in "
            f"{place}: {reason}. Make room there, or take a smaller input."
        )
    yield Notice(
        f"the images of {folder} cannot be cached in {place} ({reason}), so they are kept in memory for this run"
    )
    decoded = np.empty(shape, np.uint8)

    def keep_in_memory(at: int, pixels: Pixels) -> None:
        decoded[at : at + len(pixels)] = pixels

    facts = yield from decode(folder, listed, form, keep_in_memory)
    return decoded, facts

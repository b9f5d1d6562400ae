"""Image folders decoded once: a memory-mapped array for each content and form, in the user's cache folder.

An array is named after what it was made of: names and SHA-256 of the files, the form of the images, and the versions of
the code and of Pillow that decoded them. So a copied folder finds it, and a changed one does not. An index for each
folder keeps the hashes of files that look unchanged.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import platformdirs

from cnnkit.data.arrays import decoder, limit, made_of, make_array, open_array, remove_array
from cnnkit.data.decoding import Facts
from cnnkit.data.traits import ImageTraits, traits_of
from cnnkit.data.walking import Stat
from cnnkit.errors import OutputError
from cnnkit.files import sha256, write_atomic
from cnnkit.images import Preprocessing
from cnnkit.pictures import Pixels
from cnnkit.progress import LoadProgress, Notice

_CHUNK = 64
"""Files that one task of a thread hashes."""

_UNSETTLED = 2 * 10**9
"""Nanoseconds: file systems tell two moments apart that are further apart than this."""


@dataclass(frozen=True)
class Stored:
    """All images of a folder.

    Attributes:
        images: uint8 [N, H, W, C] in the order of the files.
        form: what was made of them.
        digests: SHA-256 of each file by its name; empty for one that cannot be read.
        facts: what was found while they were decoded.
        file: what the images are mapped from; None where they are in memory only.
    """

    images: Pixels
    form: Preprocessing
    digests: dict[str, str]
    facts: Facts
    file: Path | None


@dataclass(frozen=True)
class _Index:
    """What is remembered of a folder.

    Attributes:
        content: hash of the names and contents of all its images.
        arrays: names of the arrays that were made of it, without their endings.
        files: stat and SHA-256 by name, as far as the one tells that the other still holds.
        traits: what the headers of the files say; None where nobody asked.
    """

    content: str
    arrays: list[str]
    files: dict[str, tuple[Stat, str]]
    traits: ImageTraits | None = None


def load(
    folder: Path, files: Mapping[str, Stat], form: Preprocessing | Callable[[ImageTraits], Preprocessing]
) -> Generator[LoadProgress | Notice, None, Stored]:
    """Return all images of a folder in the order of its files, mapped from the cache.

    Decodes them first, and yields how far that is, where the cache does not have them. Where it cannot take them
    either, they come in memory.

    Args:
        folder: where the files are.
        files: their names inside it, and what was found of each.
        form: of the images, or what chooses one by what their headers say.

    Raises:
        DataError: a file changed while it was read, or the images are too many for memory and cannot be cached.
    """
    limit()  # a wrong setting is told also where nothing has to be made
    now = time.time_ns()
    place = platformdirs.user_cache_path("cnnkit") / "images"
    index_path = place / f"{sha256(os.fsencode(folder.resolve()))}.json"
    old = None
    try:
        old = _read_index(index_path)
    except ValueError:
        yield Notice(f"the index of the cached images of {folder} is damaged, so it is made again")
    digests = _digests(folder, files, old.files if old else {})
    content = sha256(json.dumps(digests).encode())
    traits = old.traits if old and old.content == content else None
    if callable(form):
        if traits is None:
            traits = yield from traits_of(folder, list(files))
        form = form(traits)
    shape = (len(digests), *form.shape)
    found = None
    # Where the range of values is known, an array may do in which it was found.
    for candidate in (form, replace(form, value_range=None)):
        base = place / _array_name(content, candidate)
        opened = open_array(base, shape)
        if opened is not None and (candidate == form or opened[1].value_range in {None, form.value_range}):
            found = opened
            break
    if found is None:
        base = place / _array_name(content, form)
        if base.with_suffix(".npy").is_file():
            yield Notice(f"the cached images of {folder} are damaged, so they are decoded again")
        elif old and old.arrays and old.content != content:
            yield Notice(f"the images of {folder} changed since they were cached, so they are decoded again")
        found = yield from make_array(folder, files, form, base, content=content)
    stored, facts = found
    in_file = isinstance(stored, np.memmap)
    if in_file:
        arrays = {base.name}
        for name in old.arrays if old else ():
            # Other forms of the same images stay.
            if made_of(place / name) == (content, decoder()):
                arrays.add(name)
            else:
                remove_array(place / name)
        # A file may change again within the same tick of its clock: such a young one is hashed the next time.
        settled = {name: (s, digests[name]) for name, s in files.items() if s[1] < now - _UNSETTLED}
        _remember(index_path, old, _Index(content, sorted(arrays), settled, traits))
    return Stored(stored, form, digests, facts, base.with_suffix(".npy") if in_file else None)


def _array_name(content: str, form: Preprocessing) -> str:
    kind = json.dumps({key: value for key, value in asdict(form).items() if key not in {"mean", "std"}})
    return sha256(f"{decoder()} {kind} {content}".encode())


def _read_index(path: Path) -> _Index | None:
    """Return an index, or None where there is none.

    Raises:
        ValueError: it is damaged.
    """
    try:
        found = json.loads(path.read_bytes())
        if "forms" in found:  # of a version before 0.2, whose arrays go by their age
            return None
        stats = zip(found["sizes"], found["times"], found["numbers"], strict=True)
        known = zip(stats, map(str, found["digests"]), strict=True)
        known_by_name = dict(zip(found["names"], known, strict=True))
        traits = ImageTraits.from_json(found["traits"]) if found.get("traits") else None
        return _Index(str(found["content"]), list(map(str, found["arrays"])), known_by_name, traits)
    except OSError:
        return None
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path} is no index") from error


def _remember(path: Path, old: _Index | None, new: _Index) -> None:
    """Write an index where it says something new."""
    if new == old:
        return
    # Column by column, it is read in a tenth of the time that a list for each file takes.
    columns = {
        "names": list(new.files),
        "sizes": [size for (size, _, _), _ in new.files.values()],
        "times": [changed for (_, changed, _), _ in new.files.values()],
        "numbers": [number for (_, _, number), _ in new.files.values()],
        "digests": [digest for _, digest in new.files.values()],
    }
    # Without it, the next load hashes the files again, and is right all the same.
    with suppress(OutputError):
        about = {"content": new.content, "arrays": new.arrays, "traits": new.traits and asdict(new.traits)}
        write_atomic(path, json.dumps({**about, **columns}).encode())


def _digests(folder: Path, files: Mapping[str, Stat], known: dict[str, tuple[Stat, str]]) -> dict[str, str]:
    """Return the SHA-256 of every file, by name; only those that are not known by their stat are read."""
    digests = {n: known[n][1] if n in known and known[n][0] == s else "" for n, s in files.items()}
    fresh = [name for name, digest in digests.items() if not digest]
    chunks = [fresh[start : start + _CHUNK] for start in range(0, len(fresh), _CHUNK)]
    with ThreadPoolExecutor() as pool:
        for part in pool.map(lambda names: {n: _digest(folder / n) for n in names}, chunks):
            digests |= part
    return digests


def _digest(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:  # decoding it will say what is wrong, with all the others that are
        return ""

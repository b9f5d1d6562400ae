"""Which version of a model a file is, by its content: the same in every worker, whenever that started."""

import os
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

Fingerprint = tuple[int, int, int] | None


def fingerprint(path: Path | None) -> Fingerprint:
    """Return what changes with a file; None where there is none, or it is just being replaced."""
    try:
        found = path.stat() if path is not None else None
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_size, found.st_ino) if found is not None else None


class Versions:
    """Numbers files in the order in which they first served; one that comes back has its number again."""

    def __init__(self, folder: Path | None) -> None:
        """Number on one's own, or in agreement with the other workers that share a folder."""
        self._folder = folder
        self._known: dict[str, list[str]] = {}

    def number(self, model: str, sha256: str) -> int:
        """Return the version of what runs of a file, from 1 on."""
        known = self._known.setdefault(model, [])
        while sha256 not in known:
            place = f"{model}.{len(known) + 1}"
            known.append(sha256 if self._folder is None else _agreed(self._folder / place, sha256))
        return known.index(sha256) + 1


def _agreed(place: Path, text: str) -> str:
    """Write a text into a file unless another worker was first; return what it holds then."""
    with NamedTemporaryFile("w", dir=place.parent, encoding="ascii") as file:
        file.write(text)
        file.flush()
        with suppress(FileExistsError):
            os.link(file.name, place)  # unlike a file that is opened, it is there with all its content
    return place.read_text("ascii")

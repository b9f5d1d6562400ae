"""Which version of a model a file is, by its content: the same in every worker, whenever that started."""

from pathlib import Path

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
        if self._folder is not None:
            # Each line is written at once and at the end: all workers see them in the same order.
            with (self._folder / f"{model}.versions").open("a+", encoding="ascii") as file:
                file.write(f"{sha256}\n")
                file.flush()
                file.seek(0)
                known[:] = dict.fromkeys(file.read().split())
        elif sha256 not in known:
            known.append(sha256)
        return known.index(sha256) + 1

"""Which files need no trial: those of the zoo, and those that passed one on this machine or were exported here.

A file is known by the SHA-256 of the bytes that run; what a file says of itself counts for nothing.
"""

import json
import os
import platform
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import onnxruntime as ort
import platformdirs

from cnnkit import zoo
from cnnkit.files import sha256
from cnnkit.runtime.classifier import ANY

_MOST = 2000
"""Files that are remembered."""
_CARD = "card"
"""Noted of a file whose card was written for it."""


def passed(content: bytes, sizes: Mapping[str, tuple[int, ...]] | None) -> int:
    """Return how many images these bytes are known to take at a time; 0 where they need a trial.

    Args:
        content: that runs.
        sizes: of the inputs; None to ask whether their card is right as well.
    """
    digest = sha256(content)
    if _in_zoo(digest):
        return ANY
    return _read().get(digest, {}).get(_CARD if sizes is None else json.dumps(sizes, sort_keys=True), 0)


def was_read(digest: str, wanted: object) -> bool:
    """Return whether a file of this SHA-256 was checked before, for the same use, so that it does no harm here."""
    noted = _read()
    return _in_zoo(digest) or ANY in noted.get(digest, {}).values() or str(wanted) in noted.get(digest, {})


def remember(content: bytes, sizes: Mapping[str, tuple[int, ...]], most: int = ANY, *, card: bool = False) -> None:
    """Note that these bytes passed; where that cannot be written, they are tried again next time.

    Args:
        content: that runs.
        sizes: of the inputs that it was tried with.
        most: images that ran at a time.
        card: it carries a card that was written for it.
    """
    if not passed(content, None if card else sizes):
        _note({sha256(content): {json.dumps(sizes, sort_keys=True): most} | ({_CARD: most} if card else {})})


def remember_read(digests: set[str], wanted: object) -> None:
    """Note that files of these SHA-256 were checked for a use."""
    _note({digest: {str(wanted): 0} for digest in digests if not was_read(digest, wanted)})


def _in_zoo(digest: str) -> bool:
    return any(entry.files.get("model.onnx") == digest for entry in zoo.entries().values())


def _note(found: dict[str, dict[str, int]]) -> None:
    known, path = _read(), _path()
    noted = {digest: dict(list((known.pop(digest, {}) | each).items())[-8:]) for digest, each in found.items()}
    kept = dict(list(known.items())[len(noted) - _MOST :]) | noted
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent)  # for this user alone
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump({**_here(), "files": kept}, file)
            Path(name).replace(path)
        finally:
            Path(name).unlink(missing_ok=True)


def _read() -> dict[str, dict[str, int]]:
    """Return what is noted by SHA-256; nothing of another version, or where others could have written."""
    with suppress(OSError, ValueError, LookupError, AttributeError, TypeError, RecursionError):  # noqa: SIM117
        with _path().open("rb") as file:
            found = os.fstat(file.fileno())
            if not hasattr(os, "getuid") or (found.st_uid == os.getuid() and not found.st_mode & 0o022):
                noted = json.load(file)
                if {**noted, **_here()} == noted:
                    files = noted["files"].items()
                    return {str(key): {str(of): int(most) for of, most in each.items()} for key, each in files}
    return {}


def _here() -> dict[str, str]:
    from importlib.metadata import version

    return {"cnnkit": version("cnnkit"), "onnxruntime": ort.__version__, "machine": platform.node()}


def _path() -> Path:
    return platformdirs.user_cache_path("cnnkit") / "tried.json"

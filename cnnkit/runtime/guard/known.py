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
from typing import Any

import onnxruntime as ort

from cnnkit import zoo
from cnnkit.files import sha256

_MOST = 1000
"""Files that are remembered."""


def of_zoo(content: bytes) -> bool:
    """Whether these are the bytes of a file of the zoo."""
    digest = sha256(content)
    return any(entry.files.get("model.onnx") == digest for entry in zoo.entries().values())


def passed(content: bytes, sizes: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether these bytes need no trial with inputs of these sizes."""
    return of_zoo(content) or _text(sizes) in _read().get(sha256(content), [])


def is_proven(content: bytes) -> bool:
    """Whether these bytes passed all checks with the card that they carry."""
    return of_zoo(content) or "card" in _read().get(sha256(content), [])


def remember(content: bytes, sizes: Mapping[str, tuple[int, ...]], *, card: bool = False) -> None:
    """Note that these bytes passed; where that cannot be written, they are tried again next time.

    Args:
        content: that runs.
        sizes: of the inputs that it was tried with.
        card: it carries a card that was written for it.
    """
    known, digest = _read(), sha256(content)
    old = known.pop(digest, [])
    known[digest] = list(dict.fromkeys([*old, _text(sizes), *(["card"] if card else [])]))[-8:]
    if known[digest] == old or of_zoo(content):
        return
    for least in list(known)[:-_MOST]:
        del known[least]
    path = _path()
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent)  # for this user alone
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump({**_here(), "files": known}, file)
            Path(name).replace(path)
        finally:
            Path(name).unlink(missing_ok=True)


def _read() -> dict[str, list[str]]:
    """Return what is noted by SHA-256; nothing of another version, or where others could have written."""
    path = _path()
    with suppress(OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError):
        found = path.stat()
        if hasattr(os, "getuid") and (found.st_uid != os.getuid() or found.st_mode & 0o022):
            return {}
        noted: dict[str, Any] = json.loads(path.read_text("utf-8"))
        if {**_here(), "files": noted["files"]} == noted:
            return {str(key): list(map(str, value)) for key, value in noted["files"].items()}
    return {}


def _here() -> dict[str, str]:
    from importlib.metadata import version

    return {"cnnkit": version("cnnkit"), "onnxruntime": ort.__version__, "machine": platform.node()}


def _path() -> Path:
    import platformdirs

    return platformdirs.user_cache_path("cnnkit") / "tried.json"


def _text(sizes: Mapping[str, tuple[int, ...]]) -> str:
    return json.dumps(sizes, sort_keys=True)

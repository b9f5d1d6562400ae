"""The JSON envelope that every command prints with `--json`, failures included.

    {"cnnkit": 1, "command": "evaluate", "status": "ok", "data": {...}, "warnings": [], "errors": []}

`status` is `ok`, `failed` (it ran, and the check failed: exit 3) or `error`; `warnings` are those that were shown.
"""

import dataclasses
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from cnnkit.render import notices

VERSION = 1


def write(
    command: str,
    data: object,
    *,
    errors: Sequence[tuple[str, str]] = (),
    status: Literal["ok", "failed", "error"] = "ok",
) -> None:
    """Print one envelope; `errors` are (code, message) pairs."""
    sys.stdout.write(text(command, data, errors=errors, status=status))


def text(
    command: str,
    data: object,
    *,
    errors: Sequence[tuple[str, str]] = (),
    status: Literal["ok", "failed", "error"] = "ok",
) -> str:
    """Return what `write` prints."""
    envelope = {
        "cnnkit": VERSION,
        "command": command,
        "status": status,
        "data": plain(data),
        "warnings": list(notices.shown()),
        "errors": [{"code": code, "message": message} for code, message in errors],
    }
    return json.dumps(envelope, allow_nan=False) + "\n"


def plain(value: object) -> Any:
    """Turn results into what JSON has; numbers that JSON lacks become null.

    Fields that are left out of a result's `repr`, such as the pixels of an image, are left out here too.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value) if field.repr}
    if hasattr(value, "model_dump"):  # a pydantic model, told without importing pydantic
        return plain(value.model_dump())
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value

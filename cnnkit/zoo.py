"""The trained networks that come with cnnkit, and the check that their files are whole."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cnnkit.errors import UnknownNameError, ZooError
from cnnkit.files import sha256

DEFAULT_CLASSIFIER = "digits"
"""The entry that is used where no model is named: it reads digits as people draw them."""


@dataclass(frozen=True)
class ZooEntry:
    """A trained network.

    Attributes:
        accuracy: of the test split of `dataset`.
        files: SHA-256 by file name.
        test_images: number of images of that split; 0 where it is not known.
    """

    name: str
    model: str
    dataset: str
    accuracy: float
    files: dict[str, str]
    test_images: int = 0


def folder() -> Path:
    """Return the folder of the zoo: inside an installed package, beside it in a source tree."""
    installed = Path(__file__).parent / "models_zoo"
    return installed if installed.is_dir() else Path(__file__).parent.parent / "models_zoo"


@cache
def entries() -> dict[str, ZooEntry]:
    """Return the entries by name, in the order of `index.json`; none where this installation has no zoo.

    Raises:
        ZooError: the index is damaged.
    """
    index = folder() / "index.json"
    if not index.is_file():
        return {}
    try:
        listed = [ZooEntry(**entry) for entry in json.loads(index.read_text("utf-8"))["entries"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ZooError(f"{index} is damaged ({error}). Reinstall cnnkit.") from error
    return {entry.name: entry for entry in listed}


def entry(name: str) -> ZooEntry:
    """Return the entry of that name, or the first one of that architecture in the index.

    Raises:
        UnknownNameError: there is none.
    """
    found = entries().get(name) or next((e for e in entries().values() if e.model == name), None)
    if found is None:
        raise UnknownNameError("zoo entry", name, entries())
    return found


def has(model: str) -> bool:
    """Whether there is an entry of that architecture."""
    return any(found.model == model for found in entries().values())


def read(name: str, file: str) -> bytes:
    """Return the content of an entry's file after checking it against the index.

    Args:
        name: an entry or an architecture.
        file: `model.onnx` or `model.safetensors`.

    Raises:
        UnknownNameError: no such entry.
        ZooError: the file is absent or damaged.
    """
    found = entry(name)
    if file not in found.files:
        raise ZooError(f"the index of the zoo lists no {file} of {found.name}. Reinstall cnnkit.")
    path = folder() / found.name / file
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ZooError(f"cannot read {path}: {error.strerror or error}. Reinstall cnnkit.") from error
    if sha256(data) != found.files[file]:
        raise ZooError(f"{path} is damaged: its SHA-256 is not that of the index. Reinstall cnnkit.")
    return data

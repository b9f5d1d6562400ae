"""What lies beside an ONNX file as Hugging Face's tools write it: `config.json` and `preprocessor_config.json`.

Both are in the file's own folder, or in the one above where that is called `onnx`: only these two places are looked at.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnnkit.runtime.foreign.described import ordered, sides_of
from cnnkit.runtime.foreign.preparation import Preparation, of_processor, of_timm
from cnnkit.words import counted

CONFIG, PROCESSOR = "config.json", "preprocessor_config.json"
_NAMES = ("id2label", "label2id", "label_names")
_LARGEST = 5_000_000
"""Bytes of a file: the names of 21,841 classes take one million."""


@dataclass(frozen=True)
class Beside:
    """What the files beside an ONNX file say.

    Attributes:
        names: of the classes, in the order of the scores.
        sides: height and width of an image.
        preparation: how an image becomes what the network takes.
        several: more than one class can be right for an image.
        notes: what was there and is not used, in words.
    """

    names: tuple[str, ...] | None = None
    sides: tuple[int, int] | None = None
    preparation: Preparation | None = None
    several: bool = False
    notes: tuple[str, ...] = ()

    def names_of(self, count: int) -> tuple[str, ...] | None:
        """Return the names where there are so many."""
        return self.names if self.names is not None and len(self.names) == count else None

    def unfitting(self, count: int) -> tuple[str, ...]:
        """Return why the names are not those of so many classes, in words; nothing where they are."""
        if self.names is None or len(self.names) == count:
            return ()
        named = counted(len(self.names), "class", "classes")
        return (f"{CONFIG} beside the file names {named}, not {count:,}: not used",)


NOTHING = Beside()


def read_beside(file: Path) -> Beside:
    """Read what lies beside a file; what is damaged is noted, and not used."""
    file = file.absolute()
    folders = [file.parent, *([file.parent.parent] if file.parent.name == "onnx" else [])]
    notes: list[str] = []
    config = _read(file, folders, CONFIG, notes)
    processor = _read(file, folders, PROCESSOR, notes)
    preparation = None
    try:
        if processor is not None:
            preparation = of_processor(processor, f"{PROCESSOR} beside the file")
        elif isinstance(config.get("pretrained_cfg") if config else None, Mapping):
            preparation = of_timm((config or {})["pretrained_cfg"], f"{CONFIG} beside the file")
    except ValueError as error:
        notes.append(f"{PROCESSOR if processor is not None else CONFIG} beside the file is not used: {error}")
    config = config or {}
    sides = (preparation.sides if preparation else None) or sides_of(config.get("image_size"))
    return Beside(
        names=_names(config, notes),
        sides=sides,
        preparation=preparation,
        several=config.get("problem_type") == "multi_label_classification",
        notes=tuple(notes),
    )


def _names(config: Mapping[str, Any], notes: list[str]) -> tuple[str, ...] | None:
    for key in _NAMES:
        if config.get(key):
            names = ordered(config[key])
            if names is not None:
                return names
            notes.append(f"{key} of {CONFIG} beside the file does not name each class once: not used")
    return None


def _read(file: Path, folders: list[Path], name: str, notes: list[str]) -> Mapping[str, Any] | None:
    """Return the JSON object in the first file of that name, or None."""
    for folder in folders:
        path = folder / name
        if not path.is_file():
            continue
        # Caches hold links, to where the ONNX file itself is: no others are followed.
        homes = (folder.resolve(), file.resolve().parent)
        if not any(path.resolve().is_relative_to(home) for home in homes):
            notes.append(f"{name} beside the file is a link to another folder: not used")
            return None
        try:
            with path.open("rb") as opened:
                content = opened.read(_LARGEST + 1)
            if len(content) > _LARGEST:
                raise ValueError(f"more than {_LARGEST / 1e6:.0f} MB")
            found = json.loads(content.decode("utf-8-sig"))
            if not isinstance(found, Mapping):
                raise ValueError("no JSON object")
        except (OSError, ValueError, RecursionError) as error:
            reason = str(error) if type(error) is ValueError else "it cannot be read as JSON"
            notes.append(f"{name} beside the file is not used: {reason}")
            return None
        return found
    return None

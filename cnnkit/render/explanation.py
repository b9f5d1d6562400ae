"""An explanation as a folder: a PNG file for each picture, one page that shows them all, and the numbers as JSON."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.text import Text

from cnnkit.errors import OutputError
from cnnkit.files import remove_temporaries, require_writable, write_atomic, writing
from cnnkit.inspection.explanations import Explanation, FeatureMaps, Filters
from cnnkit.pictures import encoded
from cnnkit.render import console, heat, pages, predictions
from cnnkit.render.envelope import plain
from cnnkit.runtime.prediction import Prediction
from cnnkit.words import probability

PAGE = "index.html"
NUMBERS = "explanation.json"
_MADE_BY = "cnnkit explain"


def require_own(folder: Path) -> None:
    """Make sure, before any long work, that an explanation can go into a folder and hides nobody else's files.

    Raises:
        OutputError: it cannot, or the folder holds what no explanation put there.
    """
    require_writable(folder)
    with writing(folder):
        if folder.exists():
            others = sorted({path.name for path in folder.iterdir()} - _known(folder))
            if others:
                raise OutputError(f"{folder} holds {_listed(others)}, which is no explanation. Choose another folder.")


def save(found: Explanation, folder: Path) -> list[str]:
    """Write an explanation into a folder that `require_own` has passed, each file atomically; return their names.

    An older explanation is replaced. Whenever the writing stops, the folder still knows which files are its own.

    Raises:
        OutputError: a file cannot be written.
    """
    pictures = _pictures(found)
    names = [*pictures, PAGE, NUMBERS]
    older = _known(folder)
    remove_temporaries(folder)
    _save_numbers(found, folder, sorted({*names, *older}))
    for name, content in pictures.items():
        write_atomic(folder / name, content)
    pages.write(folder / PAGE, page(found, pictures))
    with writing(folder):
        for name in older.difference(names):
            (folder / name).unlink(missing_ok=True)
    _save_numbers(found, folder, names)
    return names


def written(found: Explanation, folder: Path, files: list[str], *, briefly: bool) -> None:
    """Say on standard output what was found, unless it was drawn already, and where it is."""
    out = console.out()
    if not briefly:
        predictions.show(
            [shortened(found.prediction)], found.model, found.engine, found.assumptions, trained=found.trained
        )
        if found.target != found.prediction.scores[0]:
            console.say(out, Text(f"explained: {console.printable(found.target.label)}", "dim"))
        for note in found.notes:
            console.say(out, Text(note, "yellow"))
    pictures = sum(name.endswith(".png") for name in files)
    console.say(out, Text(console.printable(f"{folder / PAGE} and {pictures} PNG files beside it"), "bold"))


def shortened(prediction: Prediction) -> Prediction:
    """Return a prediction with as many classes as `cnnkit predict` shows."""
    return replace(prediction, scores=prediction.scores[:5])


def page(found: Explanation, pictures: Mapping[str, bytes]) -> str:
    """Return the page; `pictures` are those of the folder."""
    target, first = found.target, found.prediction.scores[0]
    says = f"{found.model} says {first.label} ({probability(first.probability)})"
    if target.label != first.label:
        says += f"; explained here: {target.label} ({probability(target.probability)})"
    return pages.render(
        "explanation.html.j2",
        title=Path(found.prediction.source).name,
        kind=_MADE_BY,
        subtitle=f"{says} · {found.engine}",
        versions=found.versions,
        found=found,
        pictures=pictures,
        scores=[(score.label, score.probability) for score in found.prediction.scores],
        weak=np.abs(found.occlusion.values).max() < heat.LEAST_LOSS,
        layers=list(zip(found.layers, _map_names(found.layers), strict=True)),
        filters=[(bank, _filter_name(bank)) for bank in found.filters],
        legend=heat.legend(),
    )


def _pictures(found: Explanation) -> dict[str, bytes]:
    """Return all pictures by the names of their files, in the order of the page."""
    hidden = found.occlusion
    pictures = {
        "input.png": encoded(found.pixels),
        "occlusion.png": heat.overlay(
            found.pixels, hidden.values, limit=heat.occlusion_limit(hidden.values), smooth=True
        ),
    }
    if found.grad_cam is not None:
        values = found.grad_cam.values
        pictures["grad-cam.png"] = heat.overlay(found.pixels, values, limit=float(values.max()), smooth=True)
    if found.integrated_gradients is not None:
        values = found.integrated_gradients.values
        pictures["integrated-gradients.png"] = heat.overlay(
            found.pixels, values, limit=heat.limit_of(values), smooth=False
        )
    for name, maps in zip(_map_names(found.layers), found.layers, strict=True):
        pictures[name] = heat.grid(maps.maps, limit=heat.limit_of(maps.maps))
    for bank in found.filters:
        pictures[_filter_name(bank)] = _filter_picture(bank)
    return pictures


def _filter_picture(bank: Filters) -> bytes:
    kernels = bank.kernels
    outputs, inputs = kernels.shape[:2]
    if inputs == 3:
        largest = np.abs(kernels).max((1, 2, 3), keepdims=True)
        shares = np.divide(kernels, largest, out=np.zeros_like(kernels), where=largest > 0)
        return heat.photos(np.round(128 + 127 * shares.transpose(0, 2, 3, 1)).astype(np.uint8))
    tiles = kernels.swapaxes(0, 1).reshape(outputs * inputs, *kernels.shape[2:])
    return heat.grid(tiles, limit=heat.limit_of(tiles), columns=outputs if inputs > 1 else None)


def _map_names(layers: tuple[FeatureMaps, ...]) -> list[str]:
    return [f"maps-{index:02}-{_plain_name(maps.layer)}.png" for index, maps in enumerate(layers, 1)]


def _filter_name(bank: Filters) -> str:
    return f"filters-{_plain_name(bank.layer)}.png"


def _plain_name(layer: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", layer)


def _save_numbers(found: Explanation, folder: Path, names: list[str]) -> None:
    content = {"made_by": _MADE_BY, **plain(found), "files": names}
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    write_atomic(folder / NUMBERS, f"{text}\n".encode(errors="replace"))


def _known(folder: Path) -> set[str]:
    """Return the files of a folder that an earlier explanation put there."""
    there = {path.name for path in folder.iterdir() if path.is_file()} if folder.is_dir() else set()
    try:
        content = json.loads((folder / NUMBERS).read_text("utf-8"))
        own = set(content["files"]) if content["made_by"] == _MADE_BY else set()
    except (OSError, ValueError, KeyError, TypeError):
        own = set()
    return {name for name in there if name in own or re.fullmatch(r"\.cnnkit\.\w+\.tmp", name)}


def _listed(names: list[str]) -> str:
    return f"{', '.join(names[:3])} and {len(names) - 3} more" if len(names) > 3 else ", ".join(names)

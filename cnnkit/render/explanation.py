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
from cnnkit.pictures import encoded
from cnnkit.render import console, heat, html, predictions
from cnnkit.render.envelope import plain
from cnnkit.render.tables import shape
from cnnkit.results import Explanation, FeatureMaps, Filters, Prediction
from cnnkit.words import counted, probability

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
    html.write(folder / PAGE, page(found, pictures))
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
    about = (
        f"; explained here: {target.label} ({probability(target.probability)})" if target.label != first.label else ""
    )
    height, width, channels = found.pixels.shape
    sees = html.figure(
        html.image(pictures["input.png"], f"the image as {found.model} sees it"),
        f"The network's input: {shape((channels, height, width))}",
    )
    done = "; ".join(found.prediction.steps) or "nothing, it had the form that the network takes"
    sections = [
        html.section(
            "The image and the answer",
            html.grid([sees, _scores(found)], wide=True),
            html.note(f"What was done to the image: {done}."),
        ),
        html.section(f"What speaks for {target.label}", *_evidence(found, pictures)),
    ]
    if found.layers:
        sections.append(html.section("What the layers see", *_layers(found, pictures)))
    if found.filters:
        sections.append(html.section("What they look for: the filters", *_filters(found, pictures)))
    remarks = [*map(html.note, found.notes), *html.assumptions(found.assumptions)]
    if remarks:
        sections.append(html.section("Notes", *remarks))
    if not found.trained:
        sections.insert(0, html.warning("The weights are random: this network was never trained."))
    return html.page(
        Path(found.prediction.source).name,
        *sections,
        kind=_MADE_BY,
        subtitle=f"{says}{about} · {found.engine}",
        versions=found.versions,
    )


def _occlusion_caption(found: Explanation) -> str:
    hidden, target = found.occlusion, found.target
    weak = "No part that is hidden costs much. " if np.abs(hidden.values).max() < heat.LEAST_LOSS else ""
    return (
        f"{weak}Orange: hiding it makes {target.label} less probable; blue: more. A patch of {shape(hidden.patch)} "
        f"pixels in the image's median colour was slid over it; at worst, {probability(target.probability)} became "
        f"{probability(hidden.lowest)}."
    )


def _evidence(found: Explanation, pictures: Mapping[str, bytes]) -> list[html.Content]:
    target = found.target.label
    cells = [("occlusion.png", "Occlusion sensitivity", _occlusion_caption(found))]
    if found.grad_cam is not None:
        size = shape(found.grad_cam.shape)
        where = f"where the maps of {found.grad_cam.layer} ({size}) speak for {target}"
        any_found = found.grad_cam.values.max() > 0
        said = f"Orange: {where}." if any_found else f"Nowhere do the maps of {found.grad_cam.layer} speak for it."
        cells.append(("grad-cam.png", "Grad-CAM", said))
    if found.integrated_gradients is not None:
        gradients = found.integrated_gradients
        said = (
            f"Orange: pixels that raise the logit of {target}; blue: those that lower it, compared with a plain image "
            f"of the median colour. They sum to {gradients.total:.2f}, the logits differ by {gradients.difference:.2f}."
        )
        cells.append(("integrated-gradients.png", "Integrated gradients", said))
    figures = [
        html.subsection(title, html.figure(html.image(pictures[name], f"{title} for {target}"), said))
        for name, title, said in cells
    ]
    return [html.grid(figures, wide=True)]


def _scores(found: Explanation) -> html.Content:
    scores = [(score.label, score.probability) for score in found.prediction.scores]
    return html.figure(html.bars(scores), "Probabilities, the highest first")


def _layers(found: Explanation, pictures: Mapping[str, bytes]) -> list[html.Content]:
    scale = html.figure(html.image(heat.legend(), "from blue over black to orange"), "below zero, zero, above zero")
    pieces: list[html.Content] = [
        html.paragraph(
            "One square a map, as it leaves its layer; those of a layer share one scale. A convolution's are shown as "
            "it computes them, before normalisation and activation: where a ReLU follows directly, it cuts off blue."
        ),
        scale,
    ]
    for name, maps in zip(_map_names(found.layers), found.layers, strict=True):
        if maps.same_as is None:
            said = f"values from {maps.maps.min():.3g} to {maps.maps.max():.3g}".replace("-", "−")
            silent = f"; {maps.silent} of {counted(len(maps.maps), 'map')} nowhere above zero" if maps.silent else ""
            picture = html.image(pictures[name], f"{counted(len(maps.maps), 'feature map')} of {maps.layer}")
            body = html.figure(picture, f"{maps.kind}, {shape(maps.shape)}, {said}{silent}")
        else:
            body = html.note(f"{maps.kind}: the maps of {maps.same_as}, as it does nothing outside training.")
        pieces.append(html.subsection(maps.layer, body))
    return pieces


def _filters(found: Explanation, pictures: Mapping[str, bytes]) -> list[html.Content]:
    figures = []
    for bank in found.filters:
        outputs, inputs, *size = bank.shape
        kernels = f"{counted(outputs, 'kernel')} of {shape(size)}"
        if inputs == 3:
            said = f"{kernels}, in the colours that they look for; grey is zero"
        elif inputs == 1:
            said = kernels
        else:
            said = (
                f"a column for each of {counted(outputs, 'output')}, a row for each of {counted(inputs, 'input')}, "
                f"kernels of {shape(size)}"
            )
        picture = html.image(pictures[_filter_name(bank)], f"the filters of {bank.layer}")
        figures.append(html.subsection(bank.layer, html.figure(picture, said)))
    return [html.grid(figures, wide=True)]


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

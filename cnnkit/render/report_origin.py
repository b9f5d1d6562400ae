"""The parts of a report that say where a network comes from, and how to use it."""

import json
import shlex
from collections.abc import Iterable
from typing import Any

from cnnkit.datasets import DATASETS
from cnnkit.recipe import Recipe
from cnnkit.render import charts, html
from cnnkit.render.html import Content
from cnnkit.render.report_words import duration, reference
from cnnkit.render.tables import shape
from cnnkit.results import EpochRecord, Report, SplitRecord
from cnnkit.words import counted, part_of, percent, share

_OFF = (0, 0.0, False, "", None, "none", "auto", "content")
_ONLY_WITH = {
    "decay_epochs": ("schedule", "step"),
    "decay_factor": ("schedule", "step"),
    "adversarial_steps": ("adversarial_training", None),
    "adversarial_step_size": ("adversarial_training", None),
}
"""Fields that say nothing unless another has this value, or any but off."""
_STALE = 1.02
"""Of a validation loss against the lowest one, from which on the network is said to learn by heart."""


def training(found: Report) -> Iterable[Content]:
    """Yield what the network is, the images, the recipe, and the software."""
    origin = found.origin
    facts: dict[str, Content] = {"Network": origin.network, "Input": shape(origin.input_shape)}
    facts["Data set"] = origin.dataset or "not known"
    facts |= {name.capitalize(): counted(size, "image") for name, size in origin.splits.items()}
    if origin.splits and not origin.splits.get("test"):
        facts["Test"] = "no test set"
    if origin.preparation:
        facts["Images"] = origin.preparation
    if found.records:
        facts["Trained for"] = duration(sum(record.seconds for record in found.records))
    if origin.hardware:
        facts["Trained on"] = origin.hardware
    yield html.facts(facts)
    yield html.paragraph("Classes: ", _listed(origin.labels), ".")
    if origin.recipe:
        yield _recipe(origin.recipe)
    else:
        yield html.note("The recipe that it was trained by is not known.")
    exact: dict[str, Content] = {
        "Software": ", ".join(f"{name} {version}" for name, version in origin.versions.items())
    }
    if origin.split is not None:
        exact["Split"] = _split(origin.split)
    if origin.fingerprint:
        exact["Fingerprint of the data set"] = html.code(origin.fingerprint)
    if origin.weights_sha256:
        exact["SHA-256 of the weights"] = html.code(origin.weights_sha256)
    yield html.facts(exact)
    if not origin.splits:
        yield html.note("The data set was not at hand, so its sizes are not known.")


def _split(found: SplitRecord) -> str:
    how = "by content" if found.by == "content" else "by path, as versions before 0.2 did"
    given = f"; {' and '.join(found.given)} as given" if found.given else ""
    return f"{how}, split seed {found.seed}{given}, digest {found.digest[:12]}"


def _listed(labels: tuple[str, ...]) -> str:
    return ", ".join(labels[:20]) + (f" … {len(labels):,} in all" if len(labels) > 20 else "")


def _recipe(values: dict[str, Any]) -> Content:
    off = [name for name, value in values.items() if value in _OFF or not _counts(name, values)]
    rows = [
        (name.replace("_", " "), _written(value), html.faint(_meaning(name)))
        for name, value in values.items()
        if name not in off and name in Recipe.model_fields
    ]
    caption = "The recipe. What is off, or has no bearing, is not listed"
    return html.glossary(caption, ("Setting", "Value", "What it is"), rows)


def _meaning(name: str) -> str:
    return (Recipe.model_fields[name].description or "").replace("`", "")


def _counts(name: str, values: dict[str, Any]) -> bool:
    if name == "test_fraction":
        return values["data"] not in DATASETS
    other, wanted = _ONLY_WITH.get(name, (name, values[name]))
    return values.get(other) == wanted if wanted is not None else values.get(other) not in _OFF


def _written(value: Any) -> str:
    if isinstance(value, list | tuple):
        return shape(value)
    return f"{value:g}" if isinstance(value, float) else "yes" if value is True else str(value)


def curves(found: Report) -> Iterable[Content]:
    """Yield loss and accuracy by epoch, the best epoch marked, and what they show."""
    records = found.records
    best = next((record for record in reversed(records) if record.is_best), None)
    if not records or best is None:
        yield html.note("No epoch was finished.")
        return
    train, validation = (_images(found, split) for split in ("train", "validation"))
    yield html.paragraph(
        f"The best of {counted(len(records), 'epoch')}, by accuracy on the validation images, is number {best.epoch}: "
        f"{share(best.validation_accuracy, of=validation)}, loss {best.validation_loss:.4f}. "
        "Its weights are the ones kept. ",
        *_reading(records, best),
    )
    if len(records) > 1:
        yield html.grid([_curve(records, best, "loss"), _curve(records, best, "accuracy")], wide=True)
    shown = records if len(records) <= 12 else (*records[:3], best, records[-1])
    rows = [
        (
            f"{record.epoch} (best)" if record is best else str(record.epoch),
            f"{record.train_loss:.4f}",
            percent(record.train_accuracy, of=record.train_images or train),
            f"{record.validation_loss:.4f}",
            percent(record.validation_accuracy, of=validation),
            f"{record.seconds:.1f}",
        )
        for record in dict.fromkeys(shown)
    ]
    caption = "By epoch" if shown is records else f"The first epochs, the best and the last of {len(records):,}"
    columns = ("Epoch", "Loss", "Accuracy", "Validation loss", "Validation accuracy", "Seconds")
    yield html.table(caption, columns, rows, align="lrrrrr")
    last = records[-1]
    if last.train_images and not last.dry_run and train - last.train_images > 1:  # one that is left over makes no batch
        some = part_of(last.train_images, train, "image")
        yield html.note(f"Training ended within epoch {last.epoch}: its loss and accuracy are of {some}.")


def _images(found: Report, split: str) -> int:
    """Return how many images of a split the accuracies of an epoch are of; 0 where that is not known."""
    images, recipe = found.origin.splits.get(split, 0), found.origin.recipe
    limit = recipe.get("limit_batches", 0) * recipe.get("batch_size", 0)
    return min(images, limit) if limit else images


def _reading(records: tuple[EpochRecord, ...], best: EpochRecord) -> Iterable[str]:
    last, lowest = records[-1], min(record.validation_loss for record in records)
    if len(records) > 1 and best is last:
        yield "It was the last one: more epochs may do better."
    elif last.validation_loss > _STALE * lowest and last.train_loss < best.train_loss:
        yield (
            "After it the loss goes on falling on the training images and rises on the validation images: the network "
            "had begun to learn its images by heart."
        )


def _curve(records: tuple[EpochRecord, ...], best: EpochRecord, what: str) -> Content:
    names = {"training": f"train_{what}", "validation": f"validation_{what}"}
    data = [charts.Line(name, [(r.epoch, getattr(r, field)) for r in records]) for name, field in names.items()]
    alt = f"{what} of training and validation by epoch, the best epoch {best.epoch} marked"
    chart = charts.lines(data, alt=alt, x="epoch", whole=True, mark=best.epoch)
    return html.figure(chart, f"{what.capitalize()} by epoch; the dotted line is the best one.")


def usage(found: Report) -> Iterable[Content]:
    """Yield the commands that use the network."""
    given = reference(found)
    is_file = given.endswith(".onnx")
    name, recipe = shlex.quote(given), shlex.quote(f"{given}/run.toml")
    file = name if is_file else shlex.quote(f"{given}/model.onnx") if found.is_run else "model.onnx"
    commands = {f"cnnkit predict image.png --model {name}": "classify an image"}
    if not is_file:
        place = "" if found.is_run else " -o model.onnx"
        commands[f"cnnkit export {name} --onnx{place}"] = "write the ONNX file, with its proof"
    commands |= {
        f"cnnkit serve {file}": "answer over HTTP, with a page to try it",
        f"cnnkit explain image.png --model {name}": "see what it looks at",
    }
    if found.is_run:
        commands |= {
            f"cnnkit train --config {recipe}": "train it again by the same recipe",
            f"cnnkit report {name}": "make this page again",
        }
    yield html.glossary(
        "In a terminal, in the folder where the run is" if found.is_run else "In a terminal",
        ("Command", "What it does"),
        [(html.code(command), text) for command, text in commands.items()],
    )
    call = f'cnnkit.load({json.dumps(given, ensure_ascii=False)}).predict(["image.png"])'
    yield html.paragraph("From Python: ", html.code(call), " gives the classes with their probabilities.")

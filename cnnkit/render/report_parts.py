"""What the sections of a report show, as plain data for the templates in `pages/report/`.

Each function returns the values of one section by their names in its template, beside the report itself; None where
there is nothing to show.
"""

import json
import shlex
from collections.abc import Iterable
from typing import Any

from cnnkit.data.sets import without_effect
from cnnkit.evaluation.results import Evaluation
from cnnkit.inspection.results import LayerRow, ModelSummary
from cnnkit.options import parameters
from cnnkit.recipe import Recipe
from cnnkit.render import charts
from cnnkit.render.report_words import confidence, recipe_sentences, reference
from cnnkit.render.tables import by_class, shape
from cnnkit.reporting.results import Report
from cnnkit.robustness.results import CorruptionCurve
from cnnkit.training.results import EpochRecord
from cnnkit.words import counted, duration, percent

_ALL_CLASSES, _ALL_LAYERS, _ALL_EPOCHS = 100, 60, 12
"""Rows up to which a table has all of them; of more, the weakest classes, the outermost layers, the first epochs."""
_NUMBERED = 20
"""Classes up to which a confusion matrix has its numbers in it."""
_STALE = 1.02
"""Of a validation loss against the lowest one, from which on the network is said to learn by heart."""
_OFF = (0, 0.0, False, "", None, "none", "auto", "content")
_ONLY_WITH = {
    "decay_epochs": ("schedule", "step"),
    "decay_factor": ("schedule", "step"),
    "adversarial_steps": ("adversarial_training", None),
    "adversarial_step_size": ("adversarial_training", None),
}
"""Fields that say nothing unless another has this value, or any but off."""


def training(found: Report) -> dict[str, object]:
    """Return what the network is, its images, and its recipe in words and in full."""
    origin = found.origin
    splits = {name.capitalize(): counted(size, "image") for name, size in origin.splits.items()}
    if origin.splits and not origin.splits.get("test"):
        splits["Test"] = "no test set"
    facts = {
        "Network": origin.network, "Input": shape(origin.input_shape), "Data set": origin.dataset or "not known",
        **splits, "Images": origin.preparation,
        "Trained for": duration(sum(record.seconds for record in found.records)) if found.records else "",
        "Trained on": origin.hardware,
    }  # fmt: skip
    more = f" … {len(origin.labels):,} in all" if len(origin.labels) > 20 else ""
    return {
        "facts": facts,
        "classes": ", ".join(origin.labels[:20]) + more,
        "in_words": " ".join(recipe_sentences(origin.recipe)),
        "recipe": list(_recipe(origin.recipe)),
    }


def _recipe(values: dict[str, Any]) -> Iterable[tuple[str, str, str]]:
    for field in parameters(Recipe):
        value = values.get(field.name)
        if value not in _OFF and _counts(field.name, values):
            yield field.name.replace("_", " "), _written(value), field.help


def _counts(name: str, values: dict[str, Any]) -> bool:
    if name == "test_fraction":
        return name not in without_effect(values["data"])
    other, wanted = _ONLY_WITH.get(name, (name, values[name]))
    return values.get(other) == wanted if wanted is not None else values.get(other) not in _OFF


def _written(value: Any) -> str:
    if isinstance(value, list | tuple):
        return shape(value)
    return f"{value:g}" if isinstance(value, float) else "yes" if value is True else str(value)


def curves(found: Report) -> dict[str, object]:
    """Return the epochs to list, the best one, what the curves show, and the curves."""
    records = found.records
    best = next((record for record in reversed(records) if record.is_best), None)
    if best is None:
        return {"best": None}
    shown = records if len(records) <= _ALL_EPOCHS else (*records[:3], best, records[-1])
    drawn = {}
    for what in ("loss", "accuracy") if len(records) > 1 else ():
        names = {"training": f"train_{what}", "validation": f"validation_{what}"}
        data = {name: [(r.epoch, getattr(r, field)) for r in records] for name, field in names.items()}
        drawn[what] = charts.lines(data, x="epoch", whole=True, mark=best.epoch)
    return {
        "best": best,
        "shown": list(dict.fromkeys(shown)),
        "train": _images(found, "train"),
        "validation": _images(found, "validation"),
        "reading": _reading(records, best),
        "charts": drawn,
    }


def _images(found: Report, split: str) -> int:
    """Return how many images of a split the accuracies of an epoch are of; 0 where that is not known."""
    images, recipe = found.origin.splits.get(split, 0), found.origin.recipe
    limit = recipe.get("limit_batches", 0) * recipe.get("batch_size", 0)
    return min(images, limit) if limit else images


def _reading(records: tuple[EpochRecord, ...], best: EpochRecord) -> str:
    last, lowest = records[-1], min(record.validation_loss for record in records)
    if len(records) > 1 and best is last:
        return "It was the last one: more epochs may do better."
    if last.validation_loss > _STALE * lowest and last.train_loss < best.train_loss:
        return (
            "After it the loss goes on falling on the training images and rises on the validation images: the network "
            "had begun to learn its images by heart."
        )
    return ""


def evaluation(found: Report) -> dict[str, object] | None:
    """Return the classes to list, the confusion matrix as counts or as a picture, and the calibration."""
    scores = found.evaluation
    if scores is None:
        return None
    listed = scores.classes
    if len(listed) > _ALL_CLASSES:
        known = (row for row in listed if row.f1 is not None)
        listed = tuple(sorted(known, key=lambda row: row.f1 or 0.0)[:_ALL_CLASSES])
    return {
        "classes": list(by_class(scores, listed)),
        "confusion": _confusion(scores) if len(scores.classes) <= _NUMBERED else None,
        "matrix": charts.matrix(scores.confusion) if len(scores.classes) > _NUMBERED else "",
        "confidence": confidence(scores) or 0.0,
        "reliability": charts.reliability(scores.calibration),
    }


def _confusion(scores: Evaluation) -> list[tuple[str, list[tuple[str, float, int]]]]:
    """Return each true class with its cells: their kind, how strong their shade is, from 0 to 1, and the count."""
    counts = scores.confusion
    worst = max((count for i, row in enumerate(counts) for j, count in enumerate(row) if i != j), default=0)

    def cell(count: int, of_class: int, *, right: bool) -> tuple[str, float, int]:
        if not count:
            return "none", 0.0, 0
        return ("hit", count / of_class, count) if right else ("miss", count / worst, count)

    return [
        (scores.classes[i].label, [cell(count, sum(row), right=i == j) for j, count in enumerate(row)])
        for i, row in enumerate(counts)
    ]


def mistakes(found: Report) -> dict[str, object] | None:
    """Return nothing more: the result says it all."""
    return None if found.mistakes is None else {}


def corruptions(found: Report) -> dict[str, object] | None:
    """Return a chart for each corruption, by its name."""
    result = found.corruptions
    if result is None or result.accuracy is None:
        return None
    clean = result.accuracy
    return {"result": result, "charts": {curve.name: _corruption(curve, clean) for curve in result.corruptions}}


def _corruption(curve: CorruptionCurve, clean: float) -> str:
    places = [(0.0, clean), *enumerate(curve.accuracies, 1)]
    return charts.lines({curve.name: places}, x="severity", fractions=True, whole=True, height=170)


def attacks(found: Report) -> dict[str, object] | None:
    """Return the chart and the table of what is left right, by radius."""
    result = found.attacks
    if result is None or result.accuracy is None or not result.attacks:
        return None
    clean = result.accuracy
    lines = {
        each.attack.upper(): [(0.0, clean), *zip(each.epsilons, each.accuracies, strict=True)]
        for each in result.attacks
    }
    masked = [attack for attack in result.attacks if any(attack.without_gradient)]
    rows = [["0", *[percent(clean, of=result.images)] * len(lines), *[""] * len(masked)]]
    for i, radius in enumerate(result.attacks[0].epsilons):
        left = (percent(attack.accuracies[i], of=result.images) for attack in result.attacks)
        rows.append([f"{radius:g}", *left, *(f"{attack.without_gradient[i]:,}" for attack in masked)])
    return {
        "result": result,
        "steps": max(attack.steps for attack in result.attacks),
        "chart": charts.lines(lines, x="radius in L∞", fractions=True),
        "columns": ["Radius", *lines, *(f"No gradient, {attack.attack.upper()}" for attack in masked)],
        "rows": rows,
    }


def parity(found: Report) -> dict[str, object] | None:
    """Return the certificate of the ONNX file."""
    return None if found.certificate is None else {"proof": found.certificate}


def benchmark(found: Report) -> dict[str, object] | None:
    """Return the measurements."""
    return None if found.benchmark is None else {"result": found.benchmark}


def layers(found: Report) -> dict[str, object] | None:
    """Return the layers to list, indented by their depth."""
    summary = found.layers
    if summary is None:
        return None
    listed = summary.layers
    caption = f"For one image; {'layers' if isinstance(summary, ModelSummary) else 'nodes of the file'} in their order"
    if len(listed) > _ALL_LAYERS:
        listed = tuple([row for row in listed if row.depth == 1][:_ALL_LAYERS])
        caption += f"; {len(listed):,} of {len(summary.layers):,} rows, the others are inside or after them"
    total = ("Total", "", "", f"{summary.parameters:,}", f"{summary.multiply_adds:,}")
    return {"caption": caption, "rows": [*map(_layer, listed), total]}


def _layer(row: LayerRow) -> tuple[str, ...]:
    return (
        "\u00a0" * 4 * (row.depth - 1) + (row.name.rpartition(".")[2] if row.depth > 1 else row.name),
        row.kind,
        shape(row.output_shape),
        f"{row.parameters:,}" if row.parameters else "",
        f"{row.multiply_adds:,}" if row.multiply_adds else "",
    )


def usage(found: Report) -> dict[str, object]:
    """Return the commands that use the network, each with what it does, and the same from Python."""
    if not found.named:
        call = 'cnnkit.load(module, labels=labels, preprocessing=preprocessing).predict(["image.png"])'
        return {"commands": {}, "call": call}
    given, is_file = reference(found), not found.has_layers
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
    call = f'cnnkit.load({json.dumps(given, ensure_ascii=False)}).predict(["image.png"])'
    return {"commands": commands, "call": call}

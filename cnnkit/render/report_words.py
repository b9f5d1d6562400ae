"""A report in words: what a reader should know who reads nothing else."""

from collections.abc import Iterable
from pathlib import Path

from cnnkit.evaluation.results import Evaluation
from cnnkit.files import JsonObject
from cnnkit.optimizers import optimizers, schedules
from cnnkit.reporting.results import Report
from cnnkit.robustness.results import Robustness
from cnnkit.words import counted, duration, listed, part_of, percent, sentence, share

_MIDDLE = 2
"""Place of severity 3 of 5."""
_CLOSE = 0.01
"""Difference of mean probability and accuracy up to which a network's probabilities are to be believed."""


def sentences(found: Report) -> Iterable[str]:
    """Yield the report in sentences, the most important first."""
    yield from lead(found)
    yield from findings(found)


def lead(found: Report) -> Iterable[str]:
    """Yield what the network is, how it was trained, and how much it gets right."""
    yield from _training(found)
    if found.evaluation is not None:
        yield _accuracy(found, found.evaluation)


def findings(found: Report) -> Iterable[str]:
    """Yield what else a reader should know, each on its own."""
    if found.evaluation is not None:
        yield from _mistakes(found.evaluation)
        yield from _confidence(found.evaluation)
    yield from _robustness(found)
    yield from _file(found)


def warnings(found: Report) -> Iterable[str]:
    """Yield what takes value from the numbers, each once."""
    origin = found.origin
    results = [result for result in (found.evaluation, found.mistakes) if result is not None]
    if not origin.trained:
        yield "The weights are random: this network was never trained."
    if origin.pretraining is not None and origin.pretraining.overlap and not results:
        parts = " and ".join(counted(number, f"{part} image") for part, number in origin.pretraining.overlap.items())
        yield f"Its starting weights, {origin.pretraining.weights}, had seen {parts} (--allow-overlap)."
    if not results:  # which say it themselves
        if origin.recipe.get("limit_batches"):
            batches = counted(origin.recipe["limit_batches"], "batch", "batches")
            yield f"The weights are those of a dry run, of {batches} an epoch, so no figure of them counts."
        if origin.pretraining is not None and not origin.pretraining.known:
            yield f"Pretraining data unknown: it began with the weights of {origin.pretraining.weights}."
    yield from map(sentence, dict.fromkeys(text for result in results for text in result.warnings))
    if found.attacks is not None:
        yield from map(sentence, found.attacks.notes)


def title(found: Report) -> str:
    """Name the network and what it was trained on."""
    return f"{found.origin.network} on {found.origin.dataset}" if found.origin.dataset else found.origin.network


def reference(found: Report) -> str:
    """Return how to name the network in a command: a page that travels does not tell where it was made."""
    path = Path(found.model)
    return path.name if path.is_absolute() else found.model


def _training(found: Report) -> Iterable[str]:
    origin = found.origin
    size = f" with {counted(found.parameters, 'parameter')}" if found.parameters else ""
    yield f"{origin.network} is a network{size} that tells {len(origin.labels):,} classes apart."
    if not (origin.trained and origin.dataset):
        return
    images = f"{counted(origin.splits['train'], 'image')} of " if origin.splits else ""
    spent = ""
    if found.records:
        device = f" on a {origin.hardware.partition(',')[0]}" if origin.hardware else ""
        time = duration(sum(record.seconds for record in found.records))
        spent = f" in {counted(len(found.records), 'epoch')}, {time}{device}"
    yield f"It was trained on {images}{origin.dataset}{spent}."


def _accuracy(found: Report, scores: Evaluation) -> str:
    which = f"{scores.split} image{'s' * (scores.images > 1)}" if scores.split != "all" else "images"
    if scores.data != found.origin.dataset:
        which += f" of {scores.data}"
    fresh = ", which it had not seen," if scores.exposure.unseen else ""
    wrong = _wrong(scores)
    if not wrong:
        return f"It gets all {scores.images:,} {which}{fresh} right."
    right = percent(scores.accuracy, of=scores.images)
    return f"Of {scores.images:,} {which}{fresh} it gets {right} right and {wrong:,} wrong."


def _wrong(scores: Evaluation) -> int:
    return scores.images - sum(row[i] for i, row in enumerate(scores.confusion))


def _mistakes(scores: Evaluation) -> Iterable[str]:
    if not _wrong(scores):
        return
    pairs = [(count, i, j) for i, row in enumerate(scores.confusion) for j, count in enumerate(row) if i != j and count]
    count, true, predicted = max(pairs, key=lambda pair: (pair[0], -pair[1], -pair[2]))
    labels = [row.label for row in scores.classes]
    yield (
        f"It most often takes {labels[true]} for {labels[predicted]}: {count:,} of "
        f"{counted(scores.classes[true].support, 'image')}."
    )
    recalls = {row: row.recall for row in scores.classes if row.recall is not None}
    weakest = min(recalls, key=lambda row: recalls[row])
    if recalls[weakest] < max(recalls.values()):
        found_of_it = share(weakest.recall, of=weakest.support)
        yield f"It does worst on {weakest.label}, of which it finds {found_of_it}."


def confidence(scores: Evaluation) -> float | None:
    """Return the mean probability of the answers; None in results without bins."""
    total = sum(found.images for found in scores.calibration)
    return sum(found.confidence * found.images for found in scores.calibration) / total if total else None


def _confidence(scores: Evaluation) -> Iterable[str]:
    mean = confidence(scores)
    if mean is None:
        return
    gap = mean - scores.accuracy
    sure, right = (percent(value, of=scores.images) for value in (mean, scores.accuracy))
    if abs(gap) <= _CLOSE and scores.calibration_error <= 2 * _CLOSE:
        yield (f"Its probabilities fit: {sure} on average for its answers, and {right} of them are right.")
    elif abs(gap) <= _CLOSE:
        yield (
            f"Its probabilities fit on average ({sure} for its answers, and {right} of them are right), but not one by "
            "one: among answers of about the same probability, the share that is right is off by "
            f"{scores.calibration_error:.0%} on average."
        )
    else:
        kind = "too sure of itself" if gap > 0 else "less sure of itself than it could be"
        yield (f"It is {kind}: its answers get a probability of {sure} on average, and {right} of them are right.")


def _robustness(found: Report) -> Iterable[str]:
    if found.corruptions is not None and found.corruptions.corruptions:
        curves, images = found.corruptions.corruptions, found.corruptions.images
        worst = min(curves, key=lambda curve: curve.accuracies[_MIDDLE])
        best = max(curves, key=lambda curve: curve.accuracies[_MIDDLE])
        some = _some(found.corruptions)
        least, most = (percent(curve.accuracies[_MIDDLE], of=images) for curve in (worst, best))
        if least == most:
            yield f"Of {counted(len(curves), 'corruption')} of medium severity, each leaves {least} right{some}."
        else:
            yield (
                f"Of {counted(len(curves), 'corruption')} of medium severity, {worst.name} hurts most, "
                f"leaving {least} right, and {best.name} least, leaving {most}{some}."
            )
    pgd = next((a for a in found.attacks.attacks if a.attack == "pgd"), None) if found.attacks else None
    if found.attacks is not None and pgd is not None:
        weak, strong = (percent(pgd.accuracies[at], of=found.attacks.images) for at in (0, -1))
        yield (
            f"An attacker who knows it and may change every pixel by {pgd.epsilons[0]:.0%} of the range from black to "
            f"white leaves at most {weak} right; by {pgd.epsilons[-1]:.0%}, at most {strong}{_some(found.attacks)}."
        )


def _some(result: Robustness) -> str:
    """Say how many images the figures are of, where these are not all."""
    images, total = result.images, result.split_images
    return f" (of {part_of(images, total, f'{result.split} image')})" if images < total else ""


def _file(found: Report) -> Iterable[str]:
    proof = found.certificate
    if proof is not None:
        verdict = "gives the same answers as in PyTorch" if proof.passed else "does NOT give the answers of PyTorch"
        yield f"As an ONNX file it {verdict} on the {counted(proof.images_count, 'image')} compared."
    if found.benchmark is not None and found.benchmark.measurements:
        first = found.benchmark.measurements[0]
        yield f"The ONNX file takes {first.latency_p50_ms:.2g} ms for one image on {found.benchmark.processor}."


def recipe_sentences(recipe: JsonObject) -> Iterable[str]:
    """Yield how a network was trained, by the fields of its recipe that are known; what is off is not said."""

    def number(name: str) -> str:
        return f"{recipe.get(name) or 0:g}"

    if recipe.get("weights"):
        head = "; only its head was trained" if recipe.get("freeze") else ""
        yield f"It started from the weights of {recipe['weights']}{head}."
    if "optimizer" in recipe and "learning_rate" in recipe:
        name, highest = recipe.get("schedule", "constant"), number("learning_rate")
        course = schedules().get(name)
        # A schedule of a package that is not installed here cannot be described.
        rate = course.title.format(highest, **recipe) if course else f"a learning rate up to {highest}, by {name}"
        extras = {
            "momentum": "momentum {}",
            "weight_decay": "weight decay {}",
            "warmup_epochs": "a warm-up of {} epochs",
        }
        more = [text.format(number(name)) for name, text in extras.items() if recipe.get(name)]
        kind = optimizers().get(recipe["optimizer"])
        chosen = recipe["optimizer"] if kind is None else kind.title
        said = listed([rate, *more], most=9)
        size = f", in batches of {recipe['batch_size']:,}" if recipe.get("batch_size") else ""
        yield f"{chosen} with {said}{size}, for at most {counted(recipe.get('epochs', 0), 'epoch')}."
    varied = {
        "augmentation": f"varied in each epoch ({recipe.get('augmentation')})",
        "drawn_digits": f"replaced by drawn digits, {recipe.get('drawn_digits') or 0:.0%} of them",
        "mixup": f"mixed in pairs (mixup, alpha {number('mixup')})",
        "adversarial_training": f"attacked by PGD within {number('adversarial_training')}",
    }
    done = [text for name, text in varied.items() if recipe.get(name) not in (None, 0, "none")]
    if done:
        yield f"The training images are {listed(done, most=9)}."
    elif "augmentation" in recipe:
        yield "The training images are shown as they are."
    if recipe.get("loss"):
        smooth = f", with labels smoothed by {number('label_smoothing')}" if recipe.get("label_smoothing") else ""
        weighted = ", with rare classes weighted up" if recipe.get("class_weights") == "balanced" else ""
        yield f"The loss is {recipe['loss']}{smooth}{weighted}."
    if recipe.get("ema"):
        yield "The weights that are kept are an average over the steps."

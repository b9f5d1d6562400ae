"""The parts of a report that were measured: accuracy, mistakes, robustness, parity, speed, layers."""

from collections.abc import Iterable

from markupsafe import Markup

from cnnkit.render import charts, html
from cnnkit.render import mistakes as mistake_pages
from cnnkit.render.benchmarks import milliseconds
from cnnkit.render.html import Content
from cnnkit.render.report_words import confidence
from cnnkit.render.tables import by_class, shape
from cnnkit.results import CorruptionCurve, Evaluation, GradientAttack, LayerRow, ModelSummary, Report, Robustness
from cnnkit.words import counted, megabytes, part_of, percent, share

_ALL_LAYERS = 60
"""Rows up to which every layer is listed; of more, the outermost ones."""
_ALL_CLASSES = 100


def evaluation(found: Report) -> Iterable[Content]:
    """Yield the scores, by class, the confusion matrix and the calibration."""
    scores = found.evaluation
    if scores is None:
        return
    yield html.facts(
        {
            "Accuracy": share(scores.accuracy, of=scores.images),
            **_within(scores),
            "Loss": f"{scores.loss:.4f}",
            "Calibration error": percent(scores.calibration_error, of=scores.images),
            "Images": f"{scores.images:,}, {scores.data}, {scores.split}",
            "Engine": scores.engine,
        }
    )
    yield from html.assumptions(scores.assumptions)
    yield html.columns(
        html.subsection("By class", _classes(scores)),
        html.subsection("What it takes for what", *_confusion(scores)),
    )
    calibration = [html.subsection("Can its probabilities be believed?", *_calibration(scores))]
    pairs = mistake_pages.confused_pairs(found.mistakes) if found.mistakes is not None else ()
    confused = [html.subsection("Most confused classes", *pairs)] if found.mistakes is not None else []
    yield html.columns(*calibration, *confused)


def _within(scores: Evaluation) -> dict[str, Content]:
    if scores.top_k is None or scores.top_k == 1:
        return {}
    return {f"Within the first {scores.top_k}": share(scores.top_k_accuracy, of=scores.images)}


def _classes(scores: Evaluation) -> Content:
    listed = scores.classes
    caption = "Precision: of what it calls so, how much is so. Recall: of what is so, how much it finds"
    if len(listed) > _ALL_CLASSES:
        known = (row for row in listed if row.f1 is not None)
        listed = tuple(sorted(known, key=lambda row: row.f1 or 0.0)[:_ALL_CLASSES])
        caption += f". The {len(listed)} classes with the lowest F1 of {len(scores.classes):,}"
    rows = list(by_class(scores, listed))
    return html.table(caption, ("Class", "Precision", "Recall", "F1", "Images"), rows, align="lrrrr")


def _confusion(scores: Evaluation) -> Iterable[Content]:
    yield html.note("Rows are true classes, columns predicted ones; the darker a mistake, the more often it is made.")
    yield charts.confusion([row.label for row in scores.classes], scores.confusion, caption="Confusion matrix")


def _calibration(scores: Evaluation) -> Iterable[Content]:
    mean = confidence(scores) or 0.0
    yield html.paragraph(
        f"The network gives its answers a probability of {percent(mean, of=scores.images)} on average, and "
        f"{percent(scores.accuracy, of=scores.images)} of them are right. Bin by bin, the two differ by "
        f"{percent(scores.calibration_error, of=scores.images)} on average (expected calibration error, "
        f"{len(scores.calibration)} bins)."
    )
    chart = charts.reliability(scores.calibration, alt="share of right answers by the probability of the answer")
    yield html.figure(
        chart,
        "Bars: the share of answers that is right, by their probability; where they reach the dashed line, "
        "probabilities are what they say, and below it the network is too sure. Short lines: the mean probability in "
        "the bin. Below: how many images, on a logarithmic scale.",
    )


def mistakes(found: Report) -> Iterable[Content]:
    """Yield the images that the network is surest and wrong about."""
    if found.mistakes is not None:
        yield from mistake_pages.worst_cards(found.mistakes)
        if found.mistakes.no_nearest_because:
            yield html.note(f"There are no nearest training images: {found.mistakes.no_nearest_because}.")


def corruptions(found: Report) -> Iterable[Content]:
    """Yield accuracy against the severity of each corruption."""
    result = found.corruptions
    if result is None or result.accuracy is None:
        return
    yield html.paragraph(
        f"{_subject(result, found)}, as the network sees them, were spoiled in {len(result.corruptions)} ways, in "
        f"five severities. As they are, it gets {share(result.accuracy, of=result.images)} right."
    )
    clean = result.accuracy
    yield html.grid((_corruption(curve, clean, found) for curve in result.corruptions), wide=True)
    rows = [
        (curve.name, *(percent(accuracy, of=result.images) for accuracy in curve.accuracies))
        for curve in result.corruptions
    ]
    columns = ("Corruption", *map(str, range(1, 6)))
    yield html.table("Accuracy by severity, from 1 to 5", columns, rows, align="lrrrrr")


def _subject(result: Robustness, found: Report) -> str:
    total = result.split_images or (found.evaluation.images if found.evaluation is not None else 0)
    chosen = "" if result.images == total else f", chosen by seed {result.seed}"
    return f"{part_of(result.images, total, 'image')} of {result.data}, {result.split}{chosen}"


def _corruption(curve: CorruptionCurve, clean: float, found: Report) -> Content:
    line = charts.Line(curve.name, [(0, clean), *enumerate(curve.accuracies, 1)])
    amounts = ", ".join(f"{amount:g}" for amount in curve.amounts)
    chart = charts.lines(
        [line], alt=f"accuracy by severity of {curve.name}", x="severity", fractions=True, whole=True, height=170
    )
    pictures = [
        html.image(content, f"an image under {curve.name} of severity {severity}")
        for severity, content in enumerate(found.samples.get(curve.name, ()), 1)
    ]
    strip = [html.strip(pictures)] if pictures else []
    return html.card(html.card_heading(curve.name), chart, *strip, html.note(f"{curve.unit}: {amounts}"))


def attacks(found: Report) -> Iterable[Content]:
    """Yield accuracy against how far an attacker may change the images."""
    result = found.attacks
    if result is None or result.accuracy is None or not result.attacks:
        return
    steps = max(attack.steps for attack in result.attacks)
    yield html.paragraph(
        f"{_subject(result, found)}, were changed against the network, by its own gradients, each pixel by no more "
        "than a radius, where the range from black to white is 1. FGSM takes one step (Goodfellow, 2015), PGD "
        f"{steps} (Madry, 2018); what counts is the image as a file holds it, in whole steps of 1/255. The accuracies "
        "are upper bounds of the robust accuracy: another attack may fool more."
    )
    data = [_attack_line(attack, result.accuracy) for attack in result.attacks]
    chart = charts.lines(
        data, alt="upper bound of the robust accuracy by radius of fgsm and pgd", x="radius in L∞", fractions=True
    )
    radii = result.attacks[0].epsilons
    rows = [
        (f"{radius:g}", *(percent(attack.accuracies[i], of=result.images) for attack in result.attacks))
        for i, radius in enumerate(radii)
    ]
    masked = [attack for attack in result.attacks if any(attack.without_gradient)]
    rows = [(*row, *(f"{attack.without_gradient[i]:,}" for attack in masked)) for i, row in enumerate(rows)]
    names = [attack.attack.upper() for attack in result.attacks]
    columns = ("Radius", *names, *(f"No gradient, {attack.attack.upper()}" for attack in masked))
    clean = percent(result.accuracy, of=result.images)
    unchanged = ("0", *[clean] * len(data), *[""] * len(masked))
    table = html.table(
        "Robust accuracy at most, by radius", columns, [unchanged, *rows], align="l" + "r" * (len(columns) - 1)
    )
    yield html.grid([chart, table], wide=True)
    if found.examples:
        yield html.paragraph(f"Images that PGD turned at radius {radii[-1]:g}: on the left as they are.")
        yield html.grid(
            html.figure(
                html.side_by_side(html.image(before, f"{label}, as it is"), html.image(after, f"taken for {taken}")),
                html.lines(label, Markup("taken for {}").format(html.bad(taken))),
            )
            for label, before, taken, after in found.examples
        )


def _attack_line(attack: GradientAttack, clean: float) -> charts.Line:
    return charts.Line(attack.attack.upper(), [(0, clean), *zip(attack.epsilons, attack.accuracies, strict=True)])


def parity(found: Report) -> Iterable[Content]:
    """Yield the certificate of the ONNX file."""
    proof = found.certificate
    if proof is None:
        return
    file = "An ONNX file that was made for this report" if found.onnx_made else "Its ONNX file"
    verdict = html.good("passed") if proof.passed else html.bad("failed")
    yield html.paragraph(
        file,
        f"{f', {megabytes(found.onnx_mb)},' if found.onnx_mb else ''} was compared with the PyTorch network, image by "
        "image: ",
        verdict,
        "." if proof.passed else ". cnnkit verify shows where the two part.",
    )
    facts: dict[str, Content] = {
        "Images": proof.images,
        "In batches of": ", ".join(map(str, proof.batch_sizes)),
        "Same first class": percent(proof.top1_agreement, of=proof.images_count),
        "Logits differ by at most": f"{proof.max_absolute_difference:.2g}",
        "Allowed": f"{proof.tolerance:g} for logits up to 10",
        "Largest share of it": f"{proof.max_tolerance_ratio:.1%}",
        "Precision": proof.precision,
        "Engines": ", ".join(f"{name} {version}" for name, version in proof.versions.items()),
    }
    if proof.weights_sha256:
        facts["Weights"] = html.code(proof.weights_sha256[:16])
    yield html.facts(facts)


def benchmark(found: Report) -> Iterable[Content]:
    """Yield latency and throughput."""
    result = found.benchmark
    if result is None:
        return
    yield html.paragraph(f"Measured on {result.processor}, the ONNX file on onnxruntime, from memory to memory.")
    rows = [
        (
            f"{row.batch}",
            row.device if row.threads is None else f"{row.device}, {counted(row.threads, 'thread')}",
            *(milliseconds(value) for value in (row.latency_p50_ms, row.latency_p95_ms, row.latency_mean_ms)),
            f"{row.images_per_second:,.0f}",
        )
        for row in result.measurements
    ]
    columns = ("Batch", "Device", "Median ms", "95% within ms", "Mean ms", "Images a second")
    yield html.table("Time of a whole batch", columns, rows, align="llrrrr")
    yield from (html.warning(failure.message) for failure in result.failures)


def layers(found: Report) -> Iterable[Content]:
    """Yield the layers with their totals."""
    summary = found.layers
    if summary is None:
        return
    listed = summary.layers
    caption = f"For one image; {'layers' if isinstance(summary, ModelSummary) else 'nodes of the file'} in their order"
    if len(listed) > _ALL_LAYERS:
        outer = [row for row in listed if row.depth == 1]
        listed = tuple(outer if len(outer) <= _ALL_LAYERS else outer[:_ALL_LAYERS])
        caption += f"; {len(listed):,} of {len(summary.layers):,} rows, the others are inside or after them"
    rows = [_layer(row) for row in listed]
    total = ("Total", "", "", f"{summary.parameters:,}", f"{summary.multiply_adds:,}")
    columns = ("Layer", "Type", "Output", "Parameters", "Multiply-adds")
    yield html.table(caption, columns, [*rows, total], align="llrrr")


def _layer(row: LayerRow) -> tuple[Content, ...]:
    return (
        "\u00a0" * 4 * (row.depth - 1) + (row.name.rpartition(".")[2] if row.depth > 1 else row.name),
        row.kind,
        shape(row.output_shape),
        f"{row.parameters:,}" if row.parameters else "",
        f"{row.multiply_adds:,}" if row.multiply_adds else "",
    )

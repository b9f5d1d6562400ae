"""Classifiers over ONNX files of others, which carry no card: what they show of themselves, and what is assumed."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cnnkit.card import ModelCard
from cnnkit.errors import OnnxError, UsageError
from cnnkit.runtime import graphs
from cnnkit.runtime.classifier import Classifier, Feed, OnnxNetwork
from cnnkit.runtime.foreign import scaling, scores, trial
from cnnkit.runtime.foreign.beside import CONFIG
from cnnkit.runtime.foreign.described import metadata_of, unused_names
from cnnkit.runtime.foreign.labels import class_names, is_named
from cnnkit.runtime.foreign.options import ForeignOptions
from cnnkit.runtime.foreign.preparation import of_metadata
from cnnkit.runtime.foreign.signature import Signature
from cnnkit.runtime.session import Session
from cnnkit.words import counted

if TYPE_CHECKING:
    from onnx import GraphProto

    from cnnkit.runtime.guard import Checked


def open_assumed(
    session: Session, checked: "Checked", signature: Signature, name: str, options: ForeignOptions
) -> Classifier:
    """Return a classifier over a file without a card, with what was assumed.

    Args:
        session: with the file.
        checked: the file.
        signature: of its input.
        name: what to call it in errors.
        options: what the user says of it.

    Raises:
        OnnxError: it gives no scores that can be read.
        DataError: labels that cannot be read, or not one for each class.
        UsageError: options that contradict it.
    """
    beside = checked.beside
    described = of_metadata(checked.metadata, (signature.height, signature.width)) or beside.preparation
    preset = scaling.preprocessing_of(signature, options, described, checked.metadata)
    feed = Feed(signature.dtype, signature.channels_last, preset.channel_order == "bgr")
    bare = ModelCard(name, ("0",), preset.preprocessing, raw_input=signature.dtype != "uint8")
    graph = checked.model.graph
    network = OnnxNetwork(session, bare, feed=feed, most=checked.most)
    tried, batch, alone = trial.tried(network, name, checked.metadata.get("task", ""))
    for best in [each for each in tried if scores.is_ranked(graph, each)]:
        count = tried.pop(best).shape[1]
        if not tried:
            raise OnnxError(
                f"{name} gives the {counted(count, 'best score')} in the order of their size (TopK), not one for each "
                "class. Export it without the TopK."
            )
    output, given, others = _chosen(tried, graph, checked, options)
    last = scores.last_operation(graph, output)
    certainty = 0 if last is not None and last.op_type == "LogSoftmax" else 1
    if given.shape[1] > 1 and (given == certainty).all():
        raise OnnxError(
            f"{name} gives each class of each image a score of {certainty}: its Softmax goes over another axis than "
            "that of the classes. Export it with a Softmax over the classes, or without it."
        )
    if options.scores is None and scores.are_costs(given):
        raise OnnxError(
            f"{name} gives the negative logarithms of probabilities, of which the least is the best. Export it without "
            "the Neg; if they are logits all the same, say so: --scores logits."
        )
    reading = _reading(checked, graph, output, given, options, name)
    count = 2 if given.shape[1] == 1 else given.shape[1]
    known = class_names(count, options.labels, metadata_of(checked.model), name, beside)
    card = replace(
        bare,
        labels=known.labels,
        synsets=known.synsets,
        numbered_from=known.first,
        independent=scores.is_independent(reading.kind, given.shape[1]),
    )
    network = OnnxNetwork(session, card, feed=feed, output=output, scores=reading.kind, batch=batch, most=checked.most)
    assumed = [
        f"input {signature.name}: {signature.dtype} {graphs.listed(signature.declared)}, layout {signature.layout}",
        *signature.guesses,
        *preset.said,
        known.source,
        *beside.notes,
        *((*unused_names(checked.metadata, count), *beside.unfitting(count)) if options.labels is None else ()),
        f"output {output}: {_in_words(reading, given.shape[1])}",
        *others,
        *alone,
    ]
    return Classifier(network, name, assumptions=assumed)


def _chosen(
    found: dict[str, NDArray[np.float64]], graph: "GraphProto", checked: "Checked", options: ForeignOptions
) -> tuple[str, NDArray[np.float64], tuple[str, ...]]:
    """Return the output that has the scores, these, and what it was chosen from, in words.

    Features often come beside scores: names for so many classes tell them apart, and the activation.
    """

    def unlike(output: str) -> tuple[bool, ...]:
        count = found[output].shape[1]
        named = is_named(max(2, count), options.labels, metadata_of(checked.model), checked.beside)
        last = scores.last_operation(graph, output)
        activated = last is not None and last.op_type in {"Softmax", "Sigmoid", "LogSoftmax"}
        return not named, output != "logits", not activated

    output = min(found, key=unlike) if len(found) > 1 else next(iter(found))
    others = [f"{each} [N, {values.shape[1]}]" for each, values in found.items() if each != output]
    return output, found[output], (f"not used: {', '.join(others)}, which the file gives too",) if others else ()


def _reading(
    checked: "Checked",
    graph: "GraphProto",
    output: str,
    given: NDArray[np.float64],
    options: ForeignOptions,
    name: str,
) -> scores.Reading:
    """Find out what the scores are: by the user, by the graph, or by their values."""
    last = scores.last_operation(graph, output)
    if last is not None and last.op_type in {"ArgMax", "ArgMin"}:
        raise OnnxError(
            f"{name} gives the number of a class ({last.op_type}), not a score for each. Export it without that."
        )
    if options.scores is not None:
        shown = scores.shown_by(scores.last_operation(graph, output))
        other = shown is not None and shown.kind != options.scores and shown.because
        reading = scores.Reading(options.scores, f"as --scores says, though {other}" if other else "")
    else:
        reading = scores.shown_by(scores.last_operation(graph, output)) or scores.guessed(given)
        if checked.beside.several and reading.kind == "logits":
            because = f"{CONFIG} beside the file says that several classes can be right"
            reading = scores.Reading("sigmoid-logits", because)
        if given.shape[1] == 1 and not (reading.kind == "sigmoid" and reading.certain):
            raise OnnxError(
                f"{name} gives one number for an image, which no Sigmoid made: it may be a score of two classes, or "
                "a quantity. If it is the probability of the second class, say so: --scores sigmoid; if it is the "
                "logit of that: --scores sigmoid-logits."
            )
    if given.shape[1] == 1 and reading.kind not in {"sigmoid", "sigmoid-logits"}:
        raise UsageError(f"--scores {reading.kind}: {name} gives one number for an image; expected sigmoid or "
                         "sigmoid-logits.")  # fmt: skip
    scores.require_read(given, reading.kind, name)
    return reading


def _in_words(reading: scores.Reading, count: int) -> str:
    classes = counted(count, "class", "classes")
    kind = {
        "logits": f"logits of {classes}",
        "softmax": f"probabilities of {classes}",
        "log-softmax": f"logarithms of the probabilities of {classes}",
        "sigmoid": f"independent probabilities (sigmoid) of {classes}, which need not sum to 1",
        "sigmoid-logits": f"logits of independent probabilities of {classes}, which need not sum to 1",
        "percent": f"probabilities of {classes} in percent",
    }[reading.kind]
    if count == 1:
        before = "" if reading.kind == "sigmoid" else "the logit of "
        kind = f"{before}one probability (sigmoid), that of the second of two classes"
    if not reading.because:
        return kind
    return f"{kind}: {reading.because}" if reading.certain else f"{kind}, a guess: {reading.because}"

"""Opening ONNX files as classifiers: ours by their cards, and those of others by what they show."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from cnnkit.card import ModelCard
from cnnkit.errors import OnnxError, UsageError
from cnnkit.runtime import graphs
from cnnkit.runtime.classifier import Classifier, Feed, OnnxNetwork
from cnnkit.runtime.foreign import scaling, scores, trial
from cnnkit.runtime.foreign.beside import CONFIG, Beside
from cnnkit.runtime.foreign.described import metadata_of, unused_names
from cnnkit.runtime.foreign.labels import class_names, is_named
from cnnkit.runtime.foreign.options import ForeignOptions
from cnnkit.runtime.foreign.preparation import of_metadata
from cnnkit.runtime.foreign.signature import Signature
from cnnkit.runtime.providers import ProviderOptions
from cnnkit.runtime.session import Session, open_session
from cnnkit.words import counted

if TYPE_CHECKING:
    from onnx import GraphProto

    from cnnkit.runtime.guard import Checked


def open_onnx(
    model: Path | bytes,
    name: str,
    *,
    device: str = "auto",
    options: ForeignOptions | None = None,
    provider: ProviderOptions | None = None,
    verified: bool = False,
    around: Beside | None = None,
) -> Classifier:
    """Open an ONNX file, ours or anybody's, as a classifier.

    Args:
        model: the file, or its content.
        name: what to call it in errors.
        device: as in `cnnkit.runtime.session.open_session`.
        options: how to use a file without a card.
        provider: how its session runs; None for what its card holds for this hardware, else the default.
        verified: its hash is that of the zoo.
        around: what further files in its folder say; None to read them where there is a path.

    Raises:
        OnnxError: not an image classifier that onnxruntime can run, or one that `cnnkit.runtime.guard` refuses.
        CheckpointError: a card that is damaged, or of another graph.
        DeviceError: the device cannot be used here.
        DataError: labels that cannot be read, or not one for each class.
        UsageError: options that contradict the file or its card.
    """
    options = options or ForeignOptions()
    if not verified:
        from cnnkit.runtime import guard  # a single prediction by a file of the zoo does without

        if (proven := guard.proven_content(model)) is not None:
            model, verified = proven, True
    if verified:
        session = open_session(model, name, device=device, options=provider)
        card = ModelCard.from_metadata(session.get_modelmeta().custom_metadata_map, name, verified=True)
        checked = None
    else:
        checked, card = guard.check_with_card(model, name, shape=options.input_shape, around=around)
        if card is None and checked.obstacle:
            raise OnnxError(f"{name}: {checked.obstacle}")
        session = open_session(checked.source, name, device=device, options=provider)
    if card is not None:
        if options:
            raise UsageError(
                f"{name} carries a model card that says its labels and preprocessing; leave out {options.listed}."
            )
        check_card(session, card, name)
        return Classifier(OnnxNetwork(session, card), name)
    if checked is None or checked.signature is None:
        raise OnnxError(f"{name} carries no model card.")
    return _foreign(session, checked, checked.signature, name, options)


def check_card(session: ort.InferenceSession, card: ModelCard, name: str) -> None:
    """Make sure that a file takes and gives what its card says.

    Raises:
        OnnxError: it does not.
    """
    inputs, outputs = session.get_inputs(), {o.name: o for o in session.get_outputs()}
    form = card.preprocessing
    expected = list(form.input_shape) if card.raw_input else list(form.shape)
    classes = outputs["logits"].shape[-1] if "logits" in outputs else None
    kind = "tensor(float)" if card.raw_input else "tensor(uint8)"
    fits = len(inputs) == 1 and inputs[0].type == kind and list(inputs[0].shape[1:]) == expected
    if not fits or classes != len(card.labels):
        raise OnnxError(f"{name} does not match its model card: the input or the number of classes differs.")


def _foreign(
    session: Session, checked: "Checked", signature: Signature, name: str, options: ForeignOptions
) -> Classifier:
    """Open a file without a card."""
    beside = checked.beside
    described = of_metadata(checked.metadata, (signature.height, signature.width)) or beside.preparation
    preset = scaling.preprocessing_of(signature, options, described, checked.metadata)
    feed = Feed(signature.dtype, signature.channels_last, preset.channel_order == "bgr")
    bare = ModelCard(name, ("0",), preset.preprocessing, raw_input=signature.dtype != "uint8")
    graph = checked.model.graph
    tried, batch, alone = trial.tried(OnnxNetwork(session, bare, feed=feed), name, checked.metadata.get("task", ""))
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
    network = OnnxNetwork(session, card, feed=feed, output=output, scores=reading.kind, batch=batch)
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

"""ONNX files: reading the card of ours, and working out how to use those of others."""

from collections import Counter
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Literal

import numpy as np
import onnxruntime as ort

from cnnkit.card import ModelCard
from cnnkit.errors import DataError, OnnxError, UsageError
from cnnkit.images import MAX_SIDE, Preprocessing
from cnnkit.runtime.classifier import Classifier, OnnxNetwork
from cnnkit.runtime.providers import ProviderOptions
from cnnkit.runtime.session import open_session
from cnnkit.words import counted

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class ForeignOptions:
    """What the user says about a file without a card; None where nothing was said."""

    labels: Path | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    preprocess: Literal["imagenet"] | None = None

    def __bool__(self) -> bool:
        return any(value is not None for value in (self.labels, self.mean, self.std, self.preprocess))


def open_onnx(
    model: Path | bytes,
    name: str,
    *,
    device: str = "auto",
    options: ForeignOptions | None = None,
    provider: ProviderOptions | None = None,
    verified: bool = False,
) -> Classifier:
    """Open an ONNX file, ours or anybody's, as a classifier.

    Args:
        model: the file, or its content.
        name: what to call it in errors.
        device: as in `cnnkit.runtime.session.open_session`.
        options: how to use a file without a card.
        provider: how its session runs; None for what its card holds for this hardware, else the default.
        verified: its hash is that of the zoo.

    Raises:
        OnnxError: not an image classifier that onnxruntime can run, or one that `cnnkit.runtime.guard` refuses.
        CheckpointError: a card that is damaged, or of another graph.
        DeviceError: the device cannot be used here.
        UsageError: options that contradict the file or its card.
    """
    options = options or ForeignOptions()
    if verified:
        session = open_session(model, name, device=device, options=provider)
        card = ModelCard.from_metadata(session.get_modelmeta().custom_metadata_map, name, verified=True)
    else:
        # Checking takes the onnx library, whose import a single prediction feels.
        from cnnkit.runtime import guard

        checked, card = guard.check_with_card(model, name)
        session = open_session(checked.source, name, device=device, options=provider)
    if card is not None:
        if options:
            raise UsageError(
                f"{name} carries a model card that says its labels and preprocessing; leave out --labels, --mean, "
                "--std and --preprocess."
            )
        check_card(session, card, name)
        return Classifier(OnnxNetwork(session, card), name)
    return _foreign(session, name, options)


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


def _foreign(session: ort.InferenceSession, name: str, options: ForeignOptions) -> Classifier:
    inputs = session.get_inputs()
    if len(inputs) != 1 or len(inputs[0].shape) != 4:
        found = "; ".join(f"{i.name} {i.shape}" for i in inputs)
        raise OnnxError(f"{name} is not an image classifier: expected one input of four dimensions, found {found}.")
    kind = {"tensor(float)": "float32", "tensor(uint8)": "uint8"}.get(inputs[0].type)
    if kind is None:
        raise OnnxError(f"{name} takes {inputs[0].type}; expected float32 or uint8 images.")
    shape, assumed = list(inputs[0].shape), [f"input {inputs[0].name}: {kind} {inputs[0].shape}"]
    channels_last = shape[3] in {1, 3} and shape[1] not in {1, 3}
    if kind == "uint8" and not channels_last:
        raise OnnxError(f"{name} takes uint8 {shape}; expected uint8 images as [N, H, W, C].")
    channels, height, width = (shape[3], shape[1], shape[2]) if channels_last else shape[1:]
    if channels not in {1, 3}:
        raise OnnxError(f"{name} takes {shape}; expected 1 or 3 channels in second or last place.")
    assumed.append(f"layout {'NHWC' if channels_last else 'NCHW'}")
    if not isinstance(height, int) or not isinstance(width, int):
        height, width = (side if isinstance(side, int) else 224 for side in (height, width))
        assumed.append(f"size {height}×{width}: the graph leaves it open")
    if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE):
        raise OnnxError(f"{name} takes images of {height}×{width}; expected sides from 1 to {MAX_SIDE}.")
    labels = _labels(session, name, options, assumed)
    preprocessing = _preprocessing(channels, height, width, options, assumed, kind)
    card = ModelCard(model=name, labels=labels, preprocessing=preprocessing, raw_input=kind == "float32")
    network = OnnxNetwork(session, card, channels_last=channels_last)
    output, probabilities = session.get_outputs()[0].name, _gives_probabilities(network, name)
    kind_of_scores = "probabilities" if probabilities else "logits"
    assumed.append(f"output {output}: {kind_of_scores} of {counted(len(labels), 'class', 'classes')}")
    if probabilities:
        network = OnnxNetwork(session, card, channels_last=channels_last, probabilities=True)
    return Classifier(network, name, assumptions=assumed)


def _gives_probabilities(network: OnnxNetwork, name: str) -> bool:
    """Try the network on noise: scores that are never negative and sum to one are probabilities already."""
    noise = np.random.default_rng(0).integers(0, 256, (2, *network.card.preprocessing.shape), np.uint8)
    try:
        scores = network.logits(noise)
    except Exception as error:  # onnxruntime raises its own types
        raise OnnxError(f"{name} does not run on {list(noise.shape)}: {' '.join(str(error).split())[:300]}") from error
    return bool((scores >= 0).all() and np.allclose(scores.sum(1), 1, atol=1e-3))


def _labels(session: ort.InferenceSession, name: str, options: ForeignOptions, assumed: list[str]) -> tuple[str, ...]:
    outputs = {o.name: o.shape for o in session.get_outputs()}
    output = "logits" if "logits" in outputs else next(iter(outputs))
    sizes = [size for size in outputs[output][1:] if size != 1]
    count = sizes[0] if len(sizes) == 1 else None
    if not isinstance(count, int) or count < 2:
        raise OnnxError(f"{name} gives {output} {outputs[output]}; expected one score for each class.")
    if options.labels is None:
        assumed.append("no labels given: classes are numbered")
        return tuple(map(str, range(count)))
    try:
        lines = [line.strip() for line in options.labels.read_text("utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read the labels in {options.labels}: {error}.") from error
    if len(lines) != count:
        raise DataError(
            f"{options.labels} has {counted(len(lines), 'label')}; {name} has {counted(count, 'class', 'classes')}."
        )
    # ImageNet's own list has two cranes.
    seen: Counter[str] = Counter()
    labels = []
    for line in lines:
        seen[line] += 1
        labels.append(line if seen[line] == 1 else f"{line} ({seen[line]})")
    if len(set(labels)) != count:
        raise DataError(f"{options.labels} has labels that cannot be told apart.")
    return tuple(labels)


def _preprocessing(
    channels: int, height: int, width: int, options: ForeignOptions, assumed: list[str], kind: str
) -> Preprocessing:
    form = Preprocessing(3 if channels == 3 else 1, height, width, (0.0,) * channels, (1.0,) * channels)
    if options.preprocess == "imagenet":
        if channels != 3:
            raise UsageError(f"--preprocess imagenet is for 3 channels; this network has {channels}.")
        form = replace(form, mean=IMAGENET_MEAN, std=IMAGENET_STD, fit="cover", crop=0.875)
        if height == width:  # then the pixels are those of torchvision: 256 for 224
            form = replace(form, crop=1.0, resize=round(height * 8 / 7))
        normalised = ", mean and deviation" if kind == "float32" else "; a uint8 network normalises by itself"
        assumed.append(f"ImageNet preprocessing: shorter side to 8/7 of the input, centre crop{normalised}")
    elif kind == "float32" and options.mean is None and options.std is None:
        assumed.append("pixels scaled to [0, 1], not normalised: see --mean, --std, --preprocess")
    elif kind == "float32" and (options.mean is None or options.std is None):
        assumed.append("std 1: no --std given" if options.std is None else "mean 0: no --mean given")
    for option, given in (("--mean", options.mean), ("--std", options.std)):
        if given is not None and (kind == "uint8" or len(given) != channels):
            raise UsageError(
                f"{option} needs {counted(channels, 'value')} and a float32 network; got {len(given)} for {kind}."
            )
        if given is not None and not all(map(isfinite, given)):
            raise UsageError(f"{option} needs finite numbers; got {given}.")
    if options.std is not None and min(options.std) <= 0:
        raise UsageError("--std must be positive.")
    return replace(form, mean=options.mean or form.mean, std=options.std or form.std)

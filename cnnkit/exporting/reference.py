"""The ONNX file that is to be verified, and the PyTorch network that it should be."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import cast

import numpy as np
import onnx
from numpy.typing import NDArray
from torch import nn

from cnnkit import zoo
from cnnkit.card import ModelCard
from cnnkit.errors import CheckpointError, CnnkitError, OnnxError
from cnnkit.exporting.carding import no_card
from cnnkit.exporting.onnx import build_untrained
from cnnkit.pictures import Pixels
from cnnkit.runtime import guard
from cnnkit.runtime.classifier import Feed, Network, OnnxNetwork
from cnnkit.runtime.foreign.beside import Beside
from cnnkit.runtime.foreign.opening import check_card, open_onnx
from cnnkit.runtime.session import device_of, open_session
from cnnkit.sources import Exported, Ref, find
from cnnkit.words import counted

_RUNS_LOOKED_AT = 100


@dataclass(frozen=True)
class OnnxFile:
    """An ONNX file, open to run.

    Attributes:
        path: None for a zoo entry.
        card: None for a file that is not ours.
        device: that it runs on, `CPU`, `CUDA` or `TensorRT`.
        gpu: index of the GPU; empty for the CPU.
        scales: it has no card, and normalises its input by itself.
    """

    name: str
    path: Path | None
    content: bytes
    card: ModelCard | None
    network: OnnxNetwork
    device: str
    gpu: str
    scales: bool = False


@dataclass(frozen=True)
class Reference:
    """The PyTorch network that the file is compared with."""

    name: str
    module: nn.Module
    card: ModelCard


def open_file(given: Exported, device: str, against: Reference | None = None) -> OnnxFile:
    """Open a file.

    Args:
        given: it.
        device: as in `cnnkit.runtime.session.open_session`.
        against: the network that it is compared with, where that is known; a file that leaves its size open takes its.

    Raises:
        OnnxError, DeviceError: see `cnnkit.runtime.session.open_session`.
    """
    checked: guard.Checked | None = None
    around = None if against is None else Beside(sides=against.card.preprocessing.input_shape[1:])
    path, name, scales = given.path, given.name, False
    if given.verified:
        content = given.content
    else:
        checked = guard.check(given.model, name, around=around)
        content = checked.content
        entry = checked.signature.entry if checked.signature is not None else None
        scales = entry is not None and (entry.scales or entry.normalises)
    try:
        session = open_session(checked.source if checked else content, name, device=device)
    except OnnxError as error:
        return _refused(name, path, content, error)
    card = ModelCard.from_metadata(session.get_modelmeta().custom_metadata_map, name)
    if card:
        check_card(session, card, name)
    if card:
        opened: Network = OnnxNetwork(session, card, most=checked.most if checked else None)
    else:
        opened = open_onnx(content, name, device=device, around=around).network
    place = device_of(session)
    gpu = "" if place == "CPU" else device.partition(":")[2] or "0"
    return OnnxFile(name, path, content, card, cast("OnnxNetwork", opened), place, gpu, scales)


class RefusedNetwork(OnnxNetwork):
    """A file that onnxruntime refuses to open: its parts can be looked at, but it does not run."""

    def __init__(self, model: onnx.ModelProto, card: ModelCard, error: OnnxError) -> None:
        self.card, self.engine, self.batch, self.scores = card, "onnxruntime CPU", None, "logits"
        self.output, self.input, self._feed = "logits", model.graph.input[0].name, Feed.of_card(card)
        self.error = error

    def logits(self, pixels: Pixels) -> NDArray[np.float32]:
        """Raise what onnxruntime said."""
        raise self.error


def _refused(name: str, path: Path | None, content: bytes, error: OnnxError) -> OnnxFile:
    """Return a file of ours all the same, because its weights and attributes may tell why it was refused."""
    try:
        model = onnx.load_model_from_string(content)
        card = ModelCard.from_metadata({entry.key: entry.value for entry in model.metadata_props}, name)
    except Exception:  # a parser fed with hostile bytes may raise anything
        raise error from None
    if card is None or len(model.graph.input) != 1:
        raise error
    return OnnxFile(name, path, content, card, RefusedNetwork(model, card, error), "CPU", "")


def named_reference(against: Ref, *, trust_code: bool) -> Reference:
    """Return the network that the user names."""
    source = find(against)
    return Reference(source.text, *source.weights(trust_code=trust_code))


def find_reference(file: OnnxFile, *, trust_code: bool) -> Reference:
    """Return the network whose weights have the hash that the file's card notes.

    Raises:
        CheckpointError: there is none.
    """
    if file.card is None:
        raise no_card(file.name)
    wanted = file.card.weights_sha256
    for name in _candidates(file, file.card):
        if _hash_noted_in(name) == wanted:
            return named_reference(name, trust_code=trust_code)
    if not file.card.trained and (trust_code or not find(file.card.model).runs_code):
        module, card = build_untrained(find(file.card.model), file.card.preprocessing.input_shape)
        if card.weights_sha256 == wanted:
            return Reference(f"{file.card.model} with random weights", module, file.card)
    raise CheckpointError(
        f"the PyTorch weights of {file.name} are neither beside it nor in the zoo: none have the SHA-256 "
        f"{wanted[:12]}… that its card names. Say where they are: cnnkit verify {file.name} --against RUN"
    )


def _candidates(file: OnnxFile, card: ModelCard) -> Iterator[str]:
    """Yield references that may have a file's weights: checkpoints beside it, runs in its folder, zoo entries."""
    if file.path is not None:
        names = (f"{file.path.stem}.safetensors", "best.safetensors", "model.safetensors")
        yield from (str(path) for path in map(file.path.with_name, names) if path.is_file())
        # As after `cnnkit export RUN -o runs/net.onnx`.
        yield from map(str, islice(sorted(file.path.parent.glob("*/best.safetensors")), _RUNS_LOOKED_AT))
    yield from (entry.name for entry in zoo.entries().values() if entry.model == card.model)


def _hash_noted_in(name: str) -> str | None:
    """Return the hash that a checkpoint's card notes; None where it has none or cannot be read."""
    with suppress(CnnkitError, OSError, ValueError, AttributeError):
        card = find(name).card()
        return card.weights_sha256 if card else None
    return None


def adapt(file: OnnxFile, reference: Reference) -> OnnxNetwork:
    """Return the file's network, set up for the pixels that the PyTorch network takes.

    Raises:
        OnnxError: the two cannot have the same images or classes.
    """
    own, other, network = file.network.card, reference.card, file.network
    if len(own.labels) != len(other.labels):
        raise OnnxError(
            f"{file.name} has {counted(len(own.labels), 'class', 'classes')}; {reference.name} has {len(other.labels)}."
        )
    if file.card and own.labels != other.labels:
        one, another = next(pair for pair in zip(own.labels, other.labels, strict=True) if pair[0] != pair[1])
        raise OnnxError(f"{file.name} calls a class {one!r}; {reference.name} calls it {another!r}.")
    if own.preprocessing.shape != other.preprocessing.shape:
        shapes = ["×".join(map(str, card.preprocessing.shape)) for card in (own, other)]
        raise OnnxError(f"{file.name} takes images of {shapes[0]}; {reference.name} takes {shapes[1]}.")
    differing = [
        name
        for name in ("fit", "polarity", "crop", "resize", "interpolation")
        if getattr(own.preprocessing, name) != getattr(other.preprocessing, name)
    ]
    if file.card and differing:
        one, another = (
            ", ".join(f"{name} {getattr(card.preprocessing, name)}" for name in differing) for card in (own, other)
        )
        raise OnnxError(
            f"{file.name} prepares images by {one}, {reference.name} by {another}: they are not the same network."
        )
    if file.card is None:
        # A file from elsewhere that does not normalise is used as its network asks for.
        form = other.preprocessing
        if file.scales:
            form = replace(form, mean=own.preprocessing.mean, std=own.preprocessing.std)
        network.card = replace(own, preprocessing=form)
    return network

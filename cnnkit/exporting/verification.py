"""Is an ONNX file the network that it is said to be? Both over a whole test set, and the certificate into the card."""

import time
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn

from cnnkit import registry, zoo
from cnnkit.card import CARD_KEY, ModelCard
from cnnkit.errors import CheckpointError, CnnkitError, DataError, OnnxError, OutputError, UsageError
from cnnkit.exporting.diagnosis import diagnose
from cnnkit.exporting.onnx import Deployed, build_untrained
from cnnkit.exporting.parity import BATCH_SIZES, Comparison, compare
from cnnkit.files import write_atomic
from cnnkit.models.normalisation import Normalise
from cnnkit.results import (
    BatchParity,
    ComparisonProgress,
    Divergence,
    LoadNote,
    LoadProgress,
    ParityCertificate,
    Verification,
)
from cnnkit.runtime.classifier import OnnxNetwork
from cnnkit.runtime.foreign import open_onnx
from cnnkit.runtime.guard import graph_sha256
from cnnkit.runtime.session import device_of, open_session
from cnnkit.training.data import Split, SplitName
from cnnkit.training.evaluation import load_for
from cnnkit.training.networks import TorchNetwork, load_network, metadata_of

LARGE_BATCH = 256
_EXAMINED = 4
"""Images on which intermediate values are compared: those whose logits differ most."""


@dataclass(frozen=True)
class _File:
    """An ONNX file, open to run.

    Attributes:
        path: None for a zoo entry.
        card: None for a file that is not ours.
        gpu: index of the GPU that it runs on; empty for the CPU.
    """

    name: str
    path: Path | None
    content: bytes
    card: ModelCard | None
    network: OnnxNetwork
    gpu: str


@dataclass(frozen=True)
class _Reference:
    """The PyTorch network that the file is compared with."""

    name: str
    module: nn.Module
    card: ModelCard


def verify(
    ref: str,
    *,
    against: str | None = None,
    data: str | None = None,
    split: SplitName | None = None,
    data_dir: Path | None = None,
    device: str = "auto",
    trust_code: bool = False,
) -> Generator[LoadProgress | LoadNote | ComparisonProgress, None, Verification]:
    """Compare an ONNX file with its PyTorch network on every image of a data set; yields progress.

    The first images go through in batches of 1, 2 and 7, the others in batches of 256. A certificate that is good is
    stored in the file's card.

    Args:
        ref: an ONNX file, or a zoo entry, which is verified and not rewritten.
        against: the run, checkpoint or zoo entry that it was exported from; None to find the one whose weights have the
            hash that the card names: beside the file, in the zoo, or a network with random weights.
        data: data set or image folder; None for the one that the network was trained on.
        split: as `cnnkit.training.evaluation.evaluate_network` has it.
        data_dir: where to look for data sets first.
        device: `auto`, `cpu`, `cuda` or `cuda:N`, for onnxruntime; PyTorch runs on the same, without TF32.
        trust_code: import the network that a checkpoint's card names as `module:factory`.

    Raises:
        OnnxError: not an ONNX file that can be compared with this network.
        CheckpointError: nothing says which PyTorch network to compare with.
        DataError: no data set named by anything, an empty split, or other classes than the network's.
    """
    started = time.monotonic()
    file = _open(ref, device)
    reference = _find_reference(file, against, trust_code=trust_code)
    network = _for_reference(file, reference)
    loaded, used = yield from load_for(reference.card, data=data, split=split, data_dir=data_dir)
    images = loaded.split(used)
    if not len(images):
        raise DataError(f"the {used} split of {loaded.name} is empty.")
    on_gpu = file.gpu and torch.cuda.is_available()
    torch_network = TorchNetwork(reference.module, reference.card, f"cuda:{file.gpu}" if on_gpu else "cpu")
    parts, rights, run_error = yield from _compare_all(network, torch_network, images)
    together, right = Comparison.join(parts), np.concatenate(rights, axis=1).mean(1)
    certificate = replace(
        together.certificate(
            images=f"{len(together.agrees):,} images of {loaded.name}, {used}",
            batch_sizes=list(dict.fromkeys(len(part.agrees) for part in parts)),
            device="CUDA" if file.gpu else "CPU",
        ),
        torch_accuracy=float(right[0]),
        onnx_accuracy=float(right[1]),
        weights_sha256=reference.card.weights_sha256,
    )
    model = onnx.load_model_from_string(file.content)
    exported_as = file.card.graph_sha256 if file.card else ""
    obstacle = _store(file, reference, model, certificate)
    return Verification(
        file=file.name,
        reference=reference.name,
        data=loaded.name,
        split=used,
        engines=(torch_network.engine, network.engine),
        batches=_by_size(parts),
        certificate=certificate,
        run_error=run_error,
        divergence=None if certificate.passed else _part(file, network, reference, model, images, together),
        graph_changed=exported_as != graph_sha256(model) if exported_as else None,
        stored=not obstacle,
        not_stored_because=obstacle,
        seconds=time.monotonic() - started,
    )


def _open(ref: str, device: str) -> _File:
    """Open a file or a zoo entry.

    Raises:
        UsageError: something else.
        OnnxError, DeviceError: see `cnnkit.runtime.session.open_session`.
    """
    reference = registry.resolve(ref)
    if reference.kind == "onnx" and reference.path is not None:
        path, name, content = reference.path, ref, reference.path.read_bytes()
    elif reference.kind in {"zoo", "architecture"} and (reference.kind == "zoo" or zoo.has(ref)):
        path, name = None, zoo.entry(ref).name
        content = zoo.read(name, "model.onnx")
    else:
        raise UsageError(f"verify takes an ONNX file or a zoo entry; {ref} is neither. Write one: cnnkit export {ref}")
    session = open_session(content, name, device=device)
    card = ModelCard.from_metadata(session.get_modelmeta().custom_metadata_map, name)
    opened = OnnxNetwork(session, card) if card else open_onnx(content, name, device=device).network
    gpu = (device.partition(":")[2] or "0") if device_of(session) == "CUDA" else ""
    return _File(name, path, content, card, cast("OnnxNetwork", opened), gpu)


def _find_reference(file: _File, against: str | None, *, trust_code: bool) -> _Reference:
    """Return the network that was named, or the one whose weights have the hash that the file's card notes.

    Raises:
        CheckpointError: there is none.
    """
    if against is not None:
        return _Reference(against, *load_network(against, trust_code=trust_code))
    if file.card is None:
        raise CheckpointError(
            f"{file.name} carries no model card that says which network it is. Name the PyTorch network to compare it "
            f"with: cnnkit verify {file.name} --against RUN"
        )
    wanted = file.card.weights_sha256
    for name in _candidates(file, file.card):
        if _hash_noted_in(name) == wanted:
            return _Reference(name, *load_network(name, trust_code=trust_code))
    if not file.card.trained and (trust_code or ":" not in file.card.model):
        form = file.card.preprocessing
        module, card = build_untrained(file.card.model, (form.channels, form.height, form.width))
        if card.weights_sha256 == wanted:
            return _Reference(f"{file.card.model} with random weights", module, card)
    raise CheckpointError(
        f"the PyTorch weights of {file.name} are neither beside it nor in the zoo: none have the SHA-256 "
        f"{wanted[:12]}… that its card names. Say where they are: cnnkit verify {file.name} --against RUN"
    )


def _candidates(file: _File, card: ModelCard) -> Iterator[str]:
    """Yield references that may have a file's weights: checkpoints beside it, and the zoo entries of its network."""
    if file.path is not None:
        names = (f"{file.path.stem}.safetensors", "best.safetensors", "model.safetensors")
        yield from (str(path) for path in map(file.path.with_name, names) if path.is_file())
    yield from (entry.name for entry in zoo.entries().values() if entry.model == card.model)


def _hash_noted_in(name: str) -> str | None:
    """Return the hash that a checkpoint's card notes; None where it has none or cannot be read."""
    with suppress(CnnkitError, OSError, ValueError, AttributeError):
        path = registry.resolve(name).path
        metadata = metadata_of(zoo.read(name, "model.safetensors") if path is None else path.read_bytes())
        card = ModelCard.from_metadata(metadata, name)
        return card.weights_sha256 if card else None
    return None


def _for_reference(file: _File, reference: _Reference) -> OnnxNetwork:
    """Return the file's network, set up for the pixels that the PyTorch network takes.

    Raises:
        OnnxError: the two cannot have the same images or classes.
    """
    own, other, network = file.network.card, reference.card, file.network
    if len(own.labels) != len(other.labels) or (file.card and own.labels != other.labels):
        raise OnnxError(f"{file.name} has {len(own.labels)} classes; {reference.name} has others, {len(other.labels)}.")
    if own.preprocessing.shape != other.preprocessing.shape:
        shapes = ["×".join(map(str, card.preprocessing.shape)) for card in (own, other)]
        raise OnnxError(f"{file.name} takes images of {shapes[0]}; {reference.name} takes {shapes[1]}.")
    if file.card is None:
        # A file of somebody else's that does not normalise is used as its network asks for.
        network.card = replace(own, preprocessing=other.preprocessing)
    return network


def _batches(count: int) -> Iterator[slice]:
    start = 0
    for size in (*BATCH_SIZES, *[LARGE_BATCH] * -(-count // LARGE_BATCH)):
        if start < count:
            yield slice(start, min(start + size, count))
        start += size


def _compare_all(
    network: OnnxNetwork, torch_network: TorchNetwork, images: Split
) -> Generator[ComparisonProgress, None, tuple[list[Comparison], list[NDArray[np.bool_]], str]]:
    """Return how the batches compare, for each [2, N] whether PyTorch and the file are right, and what went wrong.

    Where the file cannot run, the comparison ends, as with logits that are no numbers. Yields progress.
    """
    parts, rights, run_error = [], [], ""
    for batch in _batches(len(images)):
        rows = torch.arange(batch.start, batch.stop)
        pixels, targets = images.take(rows).numpy(), images.targets[rows].numpy()
        # With TF32 on both sides, neither would be the measure of the other.
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            expected = torch_network.logits(pixels)
        try:
            found = network.logits(pixels)
        except OnnxError as error:
            found, run_error = np.full_like(expected, np.nan), str(error)
        if network.probabilities:
            expected = torch.from_numpy(expected).log_softmax(1).numpy()
        parts.append(compare(expected, found))
        rights.append(
            np.stack([(logits.argmax(1) == targets) & np.isfinite(logits).all(1) for logits in (expected, found)])
        )
        yield ComparisonProgress(batch.stop, len(images))
        if run_error:
            break
    return parts, rights, run_error


def _by_size(parts: list[Comparison]) -> tuple[BatchParity, ...]:
    sizes = dict.fromkeys(len(part.agrees) for part in parts)
    found = {size: Comparison.join([part for part in parts if len(part.agrees) == size]) for size in sizes}
    return tuple(
        BatchParity(
            size, len(some.agrees), float(some.largest.max()), float(some.mean.mean()), float(some.agrees.mean())
        )
        for size, some in found.items()
    )


def _part(
    file: _File,
    network: OnnxNetwork,
    reference: _Reference,
    model: onnx.ModelProto,
    images: Split,
    compared: Comparison,
) -> Divergence | None:
    """Find where the two part, on the images that differ most."""
    count = network.batch or _EXAMINED
    worst = np.resize(np.argsort(-compared.ratio, kind="stable")[:count], count)
    form = reference.card.preprocessing
    deployed = Deployed(reference.module.cpu(), Normalise(form.mean, form.std)).eval()
    return diagnose(network, model, deployed, form, images.take(torch.from_numpy(worst)).numpy(), gpu=file.gpu)


def _store(file: _File, reference: _Reference, model: onnx.ModelProto, certificate: ParityCertificate) -> str:
    """Put a good certificate into the file's card; return why it was not done, or nothing."""
    if not certificate.passed:
        return "the check failed"
    if file.card is None:
        return "the file has no model card"
    if file.path is None or file.path.resolve().is_relative_to(zoo.folder().resolve()):
        return "the zoo's files are not rewritten"
    if certificate.weights_sha256 != file.card.weights_sha256:
        return f"the card names other weights than those of {reference.name}"
    card = replace(file.card, graph_sha256=graph_sha256(model), parity=certificate)
    for entry in model.metadata_props:
        if entry.key == CARD_KEY:
            entry.value = card.to_json()
    try:
        write_atomic(file.path, model.SerializeToString(deterministic=True))
    except OutputError as error:
        return str(error).rstrip(".")
    return ""

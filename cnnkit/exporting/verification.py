"""Is an ONNX file the network that it is said to be? Both over a whole test set, and the certificate into the card."""

import time
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from cnnkit import zoo
from cnnkit.errors import OnnxError, OutputError
from cnnkit.evaluation.images import load_for
from cnnkit.exporting.carding import replace_card
from cnnkit.exporting.diagnosis import diagnose
from cnnkit.exporting.parity import Comparison, compare, whole_set
from cnnkit.exporting.reference import (
    OnnxFile,
    Reference,
    RefusedNetwork,
    adapt,
    find_reference,
    named_reference,
    open_file,
)
from cnnkit.models.normalisation import Deployed, Normalise
from cnnkit.results import (
    BatchParity,
    Divergence,
    LoadNote,
    LoadProgress,
    ParityCertificate,
    Verification,
    WorkProgress,
)
from cnnkit.runtime.classifier import OnnxNetwork
from cnnkit.runtime.foreign.scores import ONE_AMONG_ALL
from cnnkit.runtime.guard import graph_sha256
from cnnkit.splits import SplitName
from cnnkit.training.data import Split
from cnnkit.training.networks import TorchNetwork
from cnnkit.words import part_of

_EXAMINED = 4
"""Images on which intermediate values are compared: those whose logits differ most."""

_CONCLUSIVE = {"attribute", "operator", "weight"}
"""Causes that explain why a file cannot be opened at all."""


def verify(
    ref: str,
    *,
    against: str | None = None,
    data: str | None = None,
    split: SplitName | None = None,
    data_dir: Path | None = None,
    skip_damaged: bool = False,
    device: str = "auto",
    trust_code: bool = False,
) -> Generator[LoadProgress | LoadNote | WorkProgress, None, Verification]:
    """Compare an ONNX file with its PyTorch network on every image of a data set; yields progress.

    The first images go through in batches of 1, 2 and 7, the others in batches of 256. A certificate that is good is
    stored in the file's card.

    Args:
        ref: an ONNX file, or a zoo entry, which is verified and not rewritten.
        against: the run, checkpoint or zoo entry that it was exported from; None to find the one whose weights have the
            hash that the card names: beside the file, in the zoo, or a network with random weights.
        data: data set or image folder; None for the one that the network was trained on.
        split: None for the validation split where the file is in fp16 or int8, as at its export, since its accuracy
            budget decides; otherwise as `cnnkit.evaluate` has it.
        data_dir: where to look for data sets first.
        skip_damaged: leave out files that cannot be decoded.
        device: `auto`, `cpu`, `cuda`, `cuda:N`, `tensorrt` or `tensorrt:N`, for onnxruntime; PyTorch runs on the same
            processor or GPU, without TF32.
        trust_code: import the network that a checkpoint's card names as `module:factory`.

    Raises:
        OnnxError: not an ONNX file that can be compared with this network.
        CheckpointError: nothing says which PyTorch network to compare with.
        DataError: no data set named by anything, an empty split, or other classes than the network's.
    """
    started = time.monotonic()
    named = None if against is None else named_reference(against, trust_code=trust_code)
    file = open_file(ref, device, named)
    reference = named or find_reference(file, trust_code=trust_code)
    network = adapt(file, reference)
    precision = file.card.precision if file.card else "fp32"
    if split is None and precision != "fp32":
        split = "validation"
    loaded, used = yield from load_for(
        reference.card, ref, data=data, split=split, data_dir=data_dir, skip_damaged=skip_damaged
    )
    images = loaded.filled(used)
    on_gpu = file.gpu and torch.cuda.is_available()
    torch_network = TorchNetwork(reference.module, reference.card, f"cuda:{file.gpu}" if on_gpu else "cpu")
    parts, rights, run_error = yield from _compare_all(network, torch_network, images)
    together, right = Comparison.join(parts), np.concatenate(rights, axis=1).mean(1)
    certificate = replace(
        together.certificate(
            images=f"{part_of(len(together.agrees), len(images), 'image')} of {loaded.name}, {used}",
            batch_sizes=list(dict.fromkeys(len(part.agrees) for part in parts)),
            device=file.device,
        ),
        torch_accuracy=float(right[0]),
        onnx_accuracy=float(right[1]),
        weights_sha256=reference.card.weights_sha256,
        precision=precision,
        accuracy_budget_points=file.card.parity.accuracy_budget_points if file.card and file.card.parity else 0.0,
    )
    model = onnx.load_model_from_string(file.content)
    divergence = None
    if not certificate.passed:
        divergence = _part(file, network, reference, model, images, together)
    if isinstance(network, RefusedNetwork) and (divergence is None or divergence.cause not in _CONCLUSIVE):
        raise network.error
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
        divergence=divergence,
        graph_changed=exported_as != graph_sha256(model) if exported_as else None,
        stored=not obstacle,
        not_stored_because=obstacle,
        seconds=time.monotonic() - started,
        warnings=loaded.warnings,
    )


def _compare_all(
    network: OnnxNetwork, torch_network: TorchNetwork, images: Split
) -> Generator[WorkProgress, None, tuple[list[Comparison], list[NDArray[np.bool_]], str]]:
    """Return how the batches compare, for each [2, N] whether PyTorch and the file are right, and what went wrong.

    Where the file cannot run, the comparison ends, as with logits that are no numbers. Yields progress.
    """
    parts, rights, run_error = [], [], ""
    for batch in whole_set(len(images)):
        rows = torch.tensor(batch)
        pixels, targets = images.take(rows).numpy(), images.targets[rows].numpy()
        # With TF32 on both sides, neither would be the measure of the other.
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            expected = torch_network.logits(pixels)
        try:
            found = network.logits(pixels)
        except OnnxError as error:
            found, run_error = np.full_like(expected, np.nan), str(error).rstrip(".")
        if found.shape != expected.shape:
            run_error = f"it gives {found.shape[1]} scores an image, not {expected.shape[1]}"
            found = np.full_like(expected, np.nan)
        if network.scores in ONE_AMONG_ALL:
            expected = torch.from_numpy(expected).log_softmax(1).numpy()
        parts.append(compare(expected, found))
        rights.append(
            np.stack([(logits.argmax(1) == targets) & np.isfinite(logits).all(1) for logits in (expected, found)])
        )
        yield WorkProgress("comparing images", batch.stop, len(images))
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
    file: OnnxFile,
    network: OnnxNetwork,
    reference: Reference,
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


def _store(file: OnnxFile, reference: Reference, model: onnx.ModelProto, certificate: ParityCertificate) -> str:
    """Put a good certificate into the file's card; return why it was not done, or nothing."""
    if not certificate.passed:
        return "the check failed"
    if file.card is None:
        return "the file has no model card"
    if file.path is None or file.path.resolve().is_relative_to(zoo.folder().resolve()):
        return "the zoo's files are not rewritten"
    if certificate.weights_sha256 != file.card.weights_sha256:
        return f"the card names other weights than those of {reference.name}"
    graph, earlier = graph_sha256(model), file.card.parity
    # Images show what they happen to show; only the hash tells that nothing was changed.
    if file.card.graph_sha256 not in {"", graph}:
        return "the graph is not the one that was exported, and other commands go on refusing it; export it anew"
    if earlier and earlier.passed and earlier.images_count > certificate.images_count:
        return f"the certificate in the card is of more images, {earlier.images_count:,}"
    if file.path.read_bytes() != file.content:
        return "the file has changed meanwhile"
    try:
        replace_card(file.path, replace(file.card, graph_sha256=graph, parity=certificate))
    except OutputError as error:
        return str(error).rstrip(".")
    return ""

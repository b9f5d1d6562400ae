"""Is an ONNX file the network that it is said to be? Both over a whole test set, and the certificate into the card."""

import time
from collections.abc import Generator
from dataclasses import dataclass, replace

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from cnnkit.certificate import ParityCertificate
from cnnkit.data.loaded import ImageData, Split
from cnnkit.data.splits import SplitName
from cnnkit.errors import OnnxError, OutputError
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
from cnnkit.exporting.results import BatchParity, Divergence, Precision, Verification
from cnnkit.models.networks import TorchNetwork
from cnnkit.models.normalisation import ExportWrapper, Normalise
from cnnkit.progress import WorkProgress
from cnnkit.runtime.classifier import OnnxNetwork
from cnnkit.runtime.foreign.scores import ONE_AMONG_ALL
from cnnkit.runtime.guard import graph_sha256
from cnnkit.sources import Exported, Ref
from cnnkit.words import part_of

_EXAMINED = 4
"""Images on which intermediate values are compared: those whose logits differ most."""

_CONCLUSIVE = {"attribute", "operator", "weight"}
"""Causes that explain why a file cannot be opened at all."""


@dataclass(frozen=True)
class Pair:
    """An ONNX file that is open, and the network that it is said to be."""

    file: OnnxFile
    reference: Reference
    network: OnnxNetwork

    @property
    def precision(self) -> Precision:
        """That the file says it is in."""
        return self.file.card.precision if self.file.card else "fp32"


def open_pair(given: Exported, against: "Ref | None", *, device: str, trust_code: bool) -> Pair:
    """Open a file and the network to compare it with; the options are those of `cnnkit.verify`."""
    named = None if against is None else named_reference(against, trust_code=trust_code)
    file = open_file(given, device, named)
    reference = named or find_reference(file, trust_code=trust_code)
    return Pair(file, reference, adapt(file, reference))


def verified(
    pair: Pair, loaded: ImageData, used: SplitName, *, started: float
) -> Generator[WorkProgress, None, Verification]:
    """Compare a file with its network on images that are loaded, and store a good certificate in its card."""
    file, reference, network = pair.file, pair.reference, pair.network
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
        precision=pair.precision,
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
    deployed = ExportWrapper(reference.module.cpu(), Normalise(form.mean, form.std)).eval()
    return diagnose(network, model, deployed, form, images.take(torch.from_numpy(worst)).numpy(), gpu=file.gpu)


def _store(file: OnnxFile, reference: Reference, model: onnx.ModelProto, certificate: ParityCertificate) -> str:
    """Put a good certificate into the file's card; return why it was not done, or nothing."""
    if not certificate.passed:
        return "the check failed"
    if file.card is None:
        return "the file has no model card"
    if file.path is None or Exported(file.path, file.name).is_of_zoo:
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

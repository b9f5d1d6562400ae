"""Export to ONNX: images in, logits and probabilities out, the card inside, written only once it is proven."""

import contextlib
import io
import logging
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from cnnkit.card import CARD_KEY, ModelCard
from cnnkit.certificate import ParityCertificate
from cnnkit.data import sets
from cnnkit.errors import OnnxError, ParityError, UsageError
from cnnkit.exporting.comparison import comparison_images
from cnnkit.exporting.diagnosis import diagnose
from cnnkit.exporting.parity import certify, draw_batches
from cnnkit.exporting.results import Divergence, ExportResult
from cnnkit.files import write_atomic
from cnnkit.models.networks import weights_hash
from cnnkit.models.normalisation import ExportWrapper, Normalise
from cnnkit.models.trial import require_classifier
from cnnkit.runtime import guard
from cnnkit.runtime.classifier import OnnxNetwork
from cnnkit.runtime.graphs import NAME_SCOPES
from cnnkit.runtime.guard import graph_sha256
from cnnkit.runtime.session import open_session
from cnnkit.sources import Source
from cnnkit.training.runs import versions
from cnnkit.words import percent

# A protobuf holds 2 GB at most; beyond this the weights would need a second file.
MAX_WEIGHT_BYTES = 1_500_000_000


@dataclass(frozen=True)
class Proven:
    """A graph that was compared with its network.

    Attributes:
        reference: what the graph computes from its input, in PyTorch.
        to_input: turns uint8 [N, H, W, C] into this input.
    """

    model: onnx.ModelProto
    certificate: ParityCertificate
    reference: nn.Module
    to_input: Callable[[Tensor], Tensor]


def prove(ref: str, network: nn.Module, card: ModelCard, *, raw_input: bool, data_dir: Path | None) -> Proven:
    """Make the graph of a network, and compare the two on batches of 1, 2 and 7 images.

    Raises:
        ParityError: they disagree.
        OnnxError: PyTorch cannot export this network.
    """
    size = sum(t.numel() * t.element_size() for t in network.state_dict().values())
    if size > MAX_WEIGHT_BYTES:
        raise OnnxError(f"{ref} has {size / 1e9:.1f} GB of weights; one ONNX file holds {MAX_WEIGHT_BYTES / 1e9} GB.")
    form = card.preprocessing
    normalise = Normalise(form.mean, form.std).eval()
    pixels, source = comparison_images(card, data_dir)
    batches = draw_batches(pixels)
    deployed = ExportWrapper(network, nn.Identity() if raw_input else normalise).eval()
    if raw_input:
        batches = [normalise(batch).contiguous() for batch in batches]
    model = _convert(deployed, batches[1], ref)
    reference = nn.Sequential(deployed.normalise, network)
    session = open_session(model.SerializeToString(deterministic=True), ref, device="cpu")
    certificate = certify(reference, session, batches, images=source)
    if not certificate.passed:
        file, divergence = OnnxNetwork(session, replace(card, raw_input=raw_input)), None
        with contextlib.suppress(OnnxError):
            divergence = diagnose(file, model, ExportWrapper(network, normalise).eval(), form, pixels, gpu="")
        raise ParityError(_failure(ref, certificate, divergence), result=certificate)
    to_input = (lambda pixels: normalise(pixels).contiguous()) if raw_input else nn.Identity()
    return Proven(model, certificate, reference, to_input)


def write(model: onnx.ModelProto, card: ModelCard, path: Path) -> ExportResult:
    """Write a graph with its card, which holds its certificate, to one file.

    Raises:
        OutputError: the file cannot be written.
    """
    certificate, form = card.parity, card.preprocessing
    assert certificate is not None  # noqa: S101 - nothing else is written
    tools = {**card.versions, "onnx": onnx.__version__, **certificate.versions}
    card = replace(card, graph_sha256=graph_sha256(model), versions=tools)
    model.metadata_props.add(key=CARD_KEY, value=card.to_json())
    content = model.SerializeToString(deterministic=True)
    write_atomic(path, content)
    shape = form.input_shape if card.raw_input else form.shape
    guard.remember(content, {model.graph.input[0].name: (1, *shape)}, card=True)
    return ExportResult(
        path=path,
        size_mb=len(content) / 1e6,
        opset=next(o.version for o in model.opset_import if o.domain == ""),
        trained=card.trained,
        weights=_weights(card),
        input_type="float32 [N, C, H, W]" if card.raw_input else "uint8 [N, H, W, C]",
        certificate=certificate,
    )


def _failure(ref: str, found: ParityCertificate, divergence: Divergence | None) -> str:
    where = f"{divergence} " if divergence else ""
    return (
        f"{ref}: PyTorch and onnxruntime disagree on {found.images}: logits differ by up to "
        f"{found.max_absolute_difference:.3g}, {found.max_tolerance_ratio:.1f} times what is allowed, "
        f"the top-1 class agrees on {percent(found.top1_agreement, of=found.images_count)}. {where}No file was written."
    )


def _weights(card: ModelCard) -> str:
    if not card.trained:
        return "random"
    return f"{card.model} trained on {card.dataset}" if card.dataset else f"those of {card.model}"


def load_to_export(
    source: Source, shape: tuple[int, int, int] | None, *, trust_code: bool
) -> tuple[nn.Module, ModelCard]:
    """Return the network, in evaluation mode, and its card; with random weights where there are no others."""
    ref = source.text
    if source.trained:
        if shape is not None and source.input_shape() is not None:
            raise UsageError(f"{ref} has trained weights, whose input is fixed; leave out --input.")
        network, card = source.weights(shape, trust_code=trust_code)
        # What trained it may be of a version that took probabilities for logits.
        require_classifier(network, ref, card.preprocessing.input_shape, len(card.labels))
        return network, card
    shape = shape or source.input_shape()
    if shape is None:
        raise UsageError(f"{ref} does not say its input; give channels × height × width, as in --input 3x32x32.")
    return build_untrained(source, shape)


def build_untrained(source: Source, shape: tuple[int, int, int]) -> tuple[nn.Module, ModelCard]:
    """Return a network in evaluation mode with random weights, the same ones every time, and its card.

    Args:
        source: an architecture.
        shape: channels, height and width of its input.

    Raises:
        UsageError: it does not take such images.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = source.create(input_shape=shape).eval()
    classes = require_classifier(network, source.text, shape).classes
    card = ModelCard(
        model=source.text,
        labels=_labels(source, classes),
        preprocessing=source.preprocessing(shape),
        trained=False,
        versions=versions(),
        weights_sha256=weights_hash(network.state_dict()),
    )
    return network, card


def _labels(source: Source, classes: int) -> tuple[str, ...]:
    data = source.recipe.get("data")
    known = sets.labels_of(data) if data else ()
    return known if len(known) == classes else tuple(map(str, range(classes)))


def _convert(deployed: nn.Module, sample: Tensor, ref: str) -> onnx.ModelProto:
    """Run PyTorch's exporter with a dynamic batch, quietly, and check what it made.

    Raises:
        OnnxError: the network cannot be exported.
    """
    level = logging.getLogger("torch.onnx").level
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                deployed,
                (sample,),
                dynamo=True,
                dynamic_shapes=({0: "batch"},),
                input_names=["image"],
                output_names=["logits", "probabilities"],
                external_data=False,
                verbose=False,
            )
        model: onnx.ModelProto = program.model_proto  # type: ignore[union-attr]
        # The exporter notes the source line of each operation, with the paths of this machine. The names of the layers
        # stay: `verify` finds by them what belongs together.
        for node in model.graph.node:
            scopes = [entry for entry in node.metadata_props if entry.key == NAME_SCOPES]
            node.ClearField("metadata_props")
            node.metadata_props.extend(scopes)
            node.ClearField("doc_string")
        for value in [*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer]:
            value.ClearField("metadata_props")
        model.graph.ClearField("metadata_props")
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # the exporter raises whatever tracing the user's code raises
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        # What the exporter wraps around it is advice to PyTorch's developers, in colour.
        reason = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", str(cause)).split())[:400]
        raise OnnxError(f"{ref} cannot be exported to ONNX: {reason}") from error
    finally:
        logging.getLogger("torch.onnx").setLevel(level)
    return model

"""Putting another card into an exported file, and finding out whether it has one; without PyTorch."""

from pathlib import Path

import onnx

from cnnkit import registry
from cnnkit.card import CARD_KEY, ModelCard
from cnnkit.errors import CheckpointError, OnnxError
from cnnkit.files import write_atomic
from cnnkit.runtime import guard
from cnnkit.runtime.foreign.signature import OpenSizeError


def require_card(ref: str) -> None:
    """Make sure that a file says which network it is, before PyTorch is imported to look for that.

    Args:
        ref: a model reference; those that are no ONNX files pass.

    Raises:
        OnnxError: a file that cannot be opened.
        CheckpointError: a file without a card.
    """
    reference = registry.resolve(ref)
    if reference.kind != "onnx" or reference.path is None:
        return
    try:
        checked = guard.check(reference.path, ref, run=False)
    except OpenSizeError:  # the network to compare with would tell the size
        raise no_card(ref) from None
    if CARD_KEY not in checked.metadata:
        if checked.obstacle:
            raise OnnxError(f"{ref}: {checked.obstacle}")
        raise no_card(ref)


def no_card(name: str) -> CheckpointError:
    """Return the error of a file that does not say which network it is."""
    return CheckpointError(
        f"{name} carries no model card that says which network it is. Name the PyTorch network to compare it with: "
        f"cnnkit verify {name} --against RUN"
    )


def replace_card(path: Path, card: ModelCard) -> None:
    """Replace the model card of an ONNX file; its graph and weights stay as they are.

    Raises:
        OnnxError: not an ONNX file with a model card.
        OutputError: it cannot be written; the file is untouched.
    """
    try:
        model = onnx.ModelProto.FromString(path.read_bytes())
    except Exception as error:  # protobuf raises its own types
        raise OnnxError(f"{path} is not an ONNX file that can be read: {error}.") from error
    entry = next((entry for entry in model.metadata_props if entry.key == CARD_KEY), None)
    if entry is None:
        raise OnnxError(f"{path} has no model card.")
    entry.value = card.to_json()
    write_atomic(path, model.SerializeToString(deterministic=True))

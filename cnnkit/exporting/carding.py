"""Putting another card into an exported file, and finding out whether it has one; without PyTorch."""

from pathlib import Path

import onnx

from cnnkit.card import CARD_KEY, ModelCard
from cnnkit.errors import CheckpointError, OnnxError
from cnnkit.files import write_atomic
from cnnkit.runtime import guard
from cnnkit.runtime.foreign.signature import OpenSizeError
from cnnkit.sources import Exported


def require_card(file: Exported) -> None:
    """Make sure that a file says which network it is, before PyTorch is imported to look for that.

    Raises:
        OnnxError: a file that cannot be opened.
        CheckpointError: a file without a card.
    """
    if file.verified:
        return
    try:
        checked = guard.check(file.model, file.name, run=False)
    except OpenSizeError:  # the network to compare with would tell the size
        raise no_card(file.name) from None
    if CARD_KEY not in checked.metadata:
        if checked.obstacle:
            raise OnnxError(f"{file.name}: {checked.obstacle}")
        raise no_card(file.name)


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

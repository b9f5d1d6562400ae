"""Putting another card into an exported file."""

from pathlib import Path

import onnx

from cnnkit.card import CARD_KEY, ModelCard
from cnnkit.errors import OnnxError
from cnnkit.files import write_atomic


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

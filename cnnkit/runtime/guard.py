"""What can be said of an ONNX file before it runs."""

import hashlib
from typing import Any


def graph_sha256(model: Any) -> str:
    """Return the SHA-256 of an `onnx.ModelProto` without its `metadata_props`, where the card lies that notes it."""
    bare = type(model)()
    bare.CopyFrom(model)
    bare.ClearField("metadata_props")
    return hashlib.sha256(bare.SerializeToString(deterministic=True)).hexdigest()

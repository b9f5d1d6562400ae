"""What the server says of itself and its models, in the documents of the Open Inference Protocol.

Source: the protocol's metadata objects, and the model configuration and model repository extensions of
NVIDIA's Triton Inference Server; the configuration has the fields of its `ModelConfig` message.
"""

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from cnnkit.files import JsonObject
from cnnkit.serving.v2.tensors import TensorSpec

_EXTENSIONS = ("binary_tensor_data", "classification", "model_configuration")
"""Those that are there in full: of the model repository extension, loading and unloading by request are not."""

PLATFORM = "onnxruntime_onnx"


def server_metadata(*, statistics: bool) -> JsonObject:
    """Return the answer to `GET /v2`; with statistics where these are of the whole server."""
    extensions = [*_EXTENSIONS, *(["statistics"] if statistics else [])]
    return {"name": "cnnkit", "version": version("cnnkit"), "extensions": extensions}


def model_metadata(
    name: str, versions: Sequence[str], inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
) -> JsonObject:
    """Return the answer to `GET /v2/models/NAME`."""
    return {
        "name": name,
        "versions": list(versions),
        "platform": PLATFORM,
        "inputs": [_tensor(spec) for spec in inputs],
        "outputs": [_tensor(spec) for spec in outputs],
    }


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape)}


def model_config(
    name: str, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], max_batch: int, max_delay_ms: float = 0
) -> JsonObject:
    """Return the answer to `GET /v2/models/NAME/config`: what perf_analyzer reads of it, and Triton's clients."""
    batched = all(spec.shape[:1] == (-1,) for spec in inputs)
    document = {
        "name": name,
        "platform": PLATFORM,
        "backend": "onnxruntime",
        "max_batch_size": max_batch if batched else 0,
        "input": [_configured(spec, batched) for spec in inputs],
        "output": [_configured(spec, batched) for spec in outputs],
    }
    if batched:
        document["dynamic_batching"] = {"max_queue_delay_microseconds": round(max_delay_ms * 1000)}
    return document


def _configured(spec: TensorSpec, batched: bool) -> dict[str, Any]:
    # `max_batch_size` says that there is a batch; the dimensions then are those of one image.
    kind = "STRING" if spec.datatype == "BYTES" else spec.datatype
    return {"name": spec.name, "data_type": f"TYPE_{kind}", "dims": list(spec.shape[1:] if batched else spec.shape)}

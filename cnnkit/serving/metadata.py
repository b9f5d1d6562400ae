"""What the server says of itself and its models, in the documents of the Open Inference Protocol.

Source: the protocol's metadata objects, and the model configuration, statistics and model repository extensions of
NVIDIA's Triton Inference Server; the configuration has the fields of its `ModelConfig` message.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

from cnnkit.serving.tensors import TensorSpec

SERVER_EXTENSIONS = ("binary_tensor_data", "classification", "model_configuration", "statistics")
"""Those that are there in full: of the model repository extension, loading and unloading by request are not."""

PLATFORM = "onnxruntime_onnx"


@dataclass(frozen=True, slots=True)
class Total:
    """How often something happened, and how long it took in all."""

    count: int = 0
    nanoseconds: int = 0


@dataclass(frozen=True)
class BatchTotals:
    """The executions of one batch size: preparing the input, running the network, taking the output apart."""

    compute_input: Total = Total()
    compute_infer: Total = Total()
    compute_output: Total = Total()


@dataclass(frozen=True)
class ModelStatistics:
    """What a version of a model has done since it was loaded.

    Attributes:
        name: of the model.
        version: of the model.
        last_inference_ms: when the last request came, in milliseconds since 1970; 0 for never.
        inference_count: images that went through.
        execution_count: batches that went through.
        success: requests answered, from their arrival on.
        fail: requests that failed.
        queue: time that requests waited.
        batches: the executions by batch size; their sums are those of the model.
    """

    name: str
    version: str
    last_inference_ms: int = 0
    inference_count: int = 0
    execution_count: int = 0
    success: Total = Total()
    fail: Total = Total()
    queue: Total = Total()
    batches: Mapping[int, BatchTotals] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """A model that the server knows; `reason` says why it is not ready."""

    name: str
    version: str
    ready: bool
    reason: str = ""


def server_metadata() -> dict[str, Any]:
    """Return the answer to `GET /v2`."""
    return {"name": "cnnkit", "version": version("cnnkit"), "extensions": list(SERVER_EXTENSIONS)}


def model_metadata(
    name: str, versions: Sequence[str], inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
) -> dict[str, Any]:
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
    name: str,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    *,
    max_batch: int,
    max_delay_ms: float = 0,
    device: str = "CPU",
    labels: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the answer to `GET /v2/models/NAME/config`.

    Args:
        name: of the model.
        inputs: that it takes.
        outputs: that it gives.
        max_batch: images that go through together; of a file that fixes its batch it says nothing.
        max_delay_ms: that a request waits for others to join it.
        device: that the session runs on: CPU, CUDA or TensorRT.
        labels: of the classes; Triton names a file of them, here they are the parameter `labels`, one a line.
    """
    batched = all(spec.shape[:1] == (-1,) for spec in inputs)
    document = {
        "name": name,
        "platform": PLATFORM,
        "backend": "onnxruntime",
        "version_policy": {"latest": {"num_versions": 1}},
        "max_batch_size": max_batch if batched else 0,
        "input": [_configured(spec, batched) for spec in inputs],
        "output": [_configured(spec, batched) for spec in outputs],
        "instance_group": [{"name": name, "kind": "KIND_CPU" if device == "CPU" else "KIND_GPU", "count": 1}],
        "default_model_filename": "model.onnx",
        "parameters": {"labels": {"string_value": "\n".join(labels)}} if labels else {},
    }
    if batched:
        document["dynamic_batching"] = {"max_queue_delay_microseconds": round(max_delay_ms * 1000)}
    return document


def _configured(spec: TensorSpec, batched: bool) -> dict[str, Any]:
    # `max_batch_size` says that there is a batch; the dimensions then are those of one image.
    kind = "STRING" if spec.datatype == "BYTES" else spec.datatype
    return {"name": spec.name, "data_type": f"TYPE_{kind}", "dims": list(spec.shape[1:] if batched else spec.shape)}


def statistics(models: Iterable[ModelStatistics]) -> dict[str, Any]:
    """Return the answer to `GET /v2/models/NAME/stats`, or to `/v2/models/stats` for all of them."""
    return {"model_stats": [_model_statistics(model) for model in models]}


def _model_statistics(model: ModelStatistics) -> dict[str, Any]:
    batches = [
        {"batch_size": size} | {stage: _total(getattr(totals, stage)) for stage in _STAGES}
        for size, totals in sorted(model.batches.items())
    ]
    sums = {stage: _sum(getattr(totals, stage) for totals in model.batches.values()) for stage in _STAGES}
    outcomes = {"success": model.success, "fail": model.fail, "queue": model.queue, **sums}
    return {
        "name": model.name,
        "version": model.version,
        "last_inference": model.last_inference_ms,
        "inference_count": model.inference_count,
        "execution_count": model.execution_count,
        # There is no cache of responses, so nothing is ever found or missed in it.
        "inference_stats": {
            key: _total(total) for key, total in {**outcomes, "cache_hit": Total(), "cache_miss": Total()}.items()
        },
        "batch_stats": batches,
    }


_STAGES = ("compute_input", "compute_infer", "compute_output")


def _sum(totals: Iterable[Total]) -> Total:
    listed = list(totals)
    return Total(sum(total.count for total in listed), sum(total.nanoseconds for total in listed))


def _total(total: Total) -> dict[str, int]:
    return {"count": total.count, "ns": total.nanoseconds}


def repository_index(models: Iterable[IndexEntry], *, ready_only: bool = False) -> list[dict[str, Any]]:
    """Return the answer to `POST /v2/repository/index`."""
    return [
        {
            "name": model.name,
            "version": model.version,
            "state": "READY" if model.ready else "UNAVAILABLE",
            "reason": model.reason,
        }
        for model in models
        if model.ready or not ready_only
    ]

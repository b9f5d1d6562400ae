"""The documents: what is said, in the words of the protocol and of Triton's own schema."""

import pytest
from google.protobuf import json_format
from tritonclient.grpc import model_config_pb2, service_pb2

from cnnkit import __version__
from cnnkit.serving.metadata import (
    BatchTotals,
    IndexEntry,
    ModelStatistics,
    Total,
    model_config,
    model_metadata,
    repository_index,
    server_metadata,
    statistics,
)
from cnnkit.serving.tensors import TensorSpec

INPUTS = (TensorSpec("image", "UINT8", (-1, 28, 28, 1)),)
OUTPUTS = (TensorSpec("logits", "FP32", (-1, 10)), TensorSpec("label", "BYTES", (-1,)))


def test_the_server_says_what_it_is() -> None:
    document = server_metadata()
    assert json_format.ParseDict(document, service_pb2.ServerMetadataResponse()).version == __version__
    assert "binary_tensor_data" in document["extensions"]


def test_a_model_says_what_it_takes_and_gives() -> None:
    document = model_metadata("lenet", ["3"], INPUTS, OUTPUTS)
    parsed = json_format.ParseDict(document, service_pb2.ModelMetadataResponse())
    assert document["inputs"] == [{"name": "image", "datatype": "UINT8", "shape": [-1, 28, 28, 1]}]
    assert [(output.name, output.datatype, list(output.shape)) for output in parsed.outputs] == [
        ("logits", "FP32", [-1, 10]),
        ("label", "BYTES", [-1]),
    ]
    assert (parsed.platform, list(parsed.versions)) == ("onnxruntime_onnx", ["3"])


def test_the_configuration_is_one_of_tritons() -> None:
    document = model_config("lenet", INPUTS, OUTPUTS, max_batch=32, max_delay_ms=1.5, device="CUDA", labels=("0", "1"))
    config = json_format.ParseDict(document, model_config_pb2.ModelConfig())
    assert (config.name, config.backend, config.max_batch_size) == ("lenet", "onnxruntime", 32)
    assert list(config.input[0].dims) == [28, 28, 1]
    assert [output.data_type for output in config.output] == [model_config_pb2.TYPE_FP32, model_config_pb2.TYPE_STRING]
    assert config.dynamic_batching.max_queue_delay_microseconds == 1500
    assert config.instance_group[0].kind == model_config_pb2.ModelInstanceGroup.KIND_GPU
    assert config.parameters["labels"].string_value == "0\n1"


def test_a_file_that_fixes_its_batch_is_not_batched() -> None:
    fixed = (TensorSpec("image", "FP32", (4, 3, 32, 32)),)
    config = json_format.ParseDict(model_config("net", fixed, OUTPUTS, max_batch=32), model_config_pb2.ModelConfig())
    assert (config.max_batch_size, list(config.input[0].dims)) == (0, [4, 3, 32, 32])
    assert not config.HasField("dynamic_batching")
    assert config.instance_group[0].kind == model_config_pb2.ModelInstanceGroup.KIND_CPU


def test_statistics_add_up_over_batch_sizes() -> None:
    one = BatchTotals(compute_input=Total(3, 30), compute_infer=Total(3, 300), compute_output=Total(3, 3))
    eight = BatchTotals(compute_input=Total(1, 20), compute_infer=Total(1, 500), compute_output=Total(1, 2))
    model = ModelStatistics(
        name="lenet", version="1", last_inference_ms=1_790_000_000_000, inference_count=11, execution_count=4,
        success=Total(11, 2000), fail=Total(2, 7), queue=Total(11, 900), batches={8: eight, 1: one},
    )  # fmt: skip
    document = statistics([model, ModelStatistics("idle", "2")])
    parsed = json_format.ParseDict(document, service_pb2.ModelStatisticsResponse())
    busy, idle = parsed.model_stats
    assert (busy.inference_count, busy.execution_count, busy.last_inference) == (11, 4, 1_790_000_000_000)
    assert (busy.inference_stats.compute_infer.count, busy.inference_stats.compute_infer.ns) == (4, 800)
    assert (busy.inference_stats.queue.ns, busy.inference_stats.fail.count) == (900, 2)
    assert [(batch.batch_size, batch.compute_input.ns) for batch in busy.batch_stats] == [(1, 30), (8, 20)]
    assert (idle.name, idle.inference_stats.success.count, len(idle.batch_stats)) == ("idle", 0, 0)


@pytest.mark.parametrize("ready_only", [False, True])
def test_the_index_names_every_model_or_those_that_are_ready(ready_only: bool) -> None:
    entries = [IndexEntry("lenet", "2", ready=True), IndexEntry("alexnet", "1", ready=False, reason="loading")]
    document = repository_index(entries, ready_only=ready_only)
    assert document[0] == {"name": "lenet", "version": "2", "state": "READY", "reason": ""}
    assert (
        document[1:]
        == [
            {"name": "alexnet", "version": "1", "state": "UNAVAILABLE", "reason": "loading"},
        ][: 0 if ready_only else 1]
    )

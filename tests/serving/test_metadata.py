"""The documents: what is said, in the words of the protocol and of Triton's own schema."""

from google.protobuf import json_format
from tritonclient.grpc import model_config_pb2, service_pb2

from cnnkit import __version__
from cnnkit.serving.batching.job import Timings
from cnnkit.serving.batching.statistics import Statistics
from cnnkit.serving.v2.documents import (
    model_config,
    model_metadata,
    server_metadata,
)
from cnnkit.serving.v2.tensors import TensorSpec

INPUTS = (TensorSpec("image", "UINT8", (-1, 28, 28, 1)),)
OUTPUTS = (TensorSpec("logits", "FP32", (-1, 10)), TensorSpec("label", "BYTES", (-1,)))


def test_the_server_says_what_it_is() -> None:
    document = server_metadata(statistics=True)
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
    document = model_config("lenet", INPUTS, OUTPUTS, max_batch=32, max_delay_ms=1.5)
    config = json_format.ParseDict(document, model_config_pb2.ModelConfig())
    assert (config.name, config.backend, config.max_batch_size) == ("lenet", "onnxruntime", 32)
    assert list(config.input[0].dims) == [28, 28, 1]
    assert [output.data_type for output in config.output] == [model_config_pb2.TYPE_FP32, model_config_pb2.TYPE_STRING]
    assert config.dynamic_batching.max_queue_delay_microseconds == 1500


def test_a_file_that_fixes_its_batch_is_not_batched() -> None:
    fixed = (TensorSpec("image", "FP32", (4, 3, 32, 32)),)
    config = json_format.ParseDict(model_config("net", fixed, OUTPUTS, max_batch=32), model_config_pb2.ModelConfig())
    assert (config.max_batch_size, list(config.input[0].dims)) == (0, [4, 3, 32, 32])
    assert not config.HasField("dynamic_batching")


def test_statistics_agree_with_each_other() -> None:
    busy, timings = Statistics(), Timings(queue=0.1, decode=0.02, inference=0.003)
    busy.batch(8, timings)
    busy.batch(1, timings)
    for _ in range(9):
        busy.request(0.2, timings)
    busy.request(0.4, None)
    document = {"model_stats": [busy.document("lenet", "1"), Statistics().document("idle", "2")]}
    found, idle = json_format.ParseDict(document, service_pb2.ModelStatisticsResponse()).model_stats
    assert (found.inference_count, found.execution_count) == (9, 2)
    stats = found.inference_stats
    stages = (stats.success, stats.queue, stats.compute_input, stats.compute_infer, stats.compute_output)
    assert [stage.count for stage in stages] == [9] * 5
    assert (stats.compute_infer.ns, stats.fail.count, stats.fail.ns) == (27_000_000, 1, 400_000_000)
    assert [(batch.batch_size, batch.compute_infer.count) for batch in found.batch_stats] == [(1, 1), (8, 1)]
    assert [batch.compute_output.count for batch in found.batch_stats] == [1, 1]
    assert (idle.name, idle.inference_stats.success.count, len(idle.batch_stats)) == ("idle", 0, 0)

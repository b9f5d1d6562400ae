import pytest

from cnnkit.errors import UsageError
from cnnkit.runtime.hardware import Driver
from cnnkit.runtime.providers import (
    ProviderOptions,
    as_stored,
    hardware_key,
    merged,
    parse_device,
    stored_options,
)
from tests.expecting import expect_error


@pytest.mark.parametrize(
    ("device", "parsed"),
    [
        ("auto", ("auto", 0)),
        ("cpu", ("cpu", 0)),
        ("cuda", ("cuda", 0)),
        ("cuda:12", ("cuda", 12)),
        ("tensorrt:1", ("tensorrt", 1)),
    ],
)
def test_a_device_is_a_kind_and_a_number(device, parsed):
    assert parse_device(device) == parsed


@pytest.mark.parametrize(
    "device", ["", "gpu", "CUDA", "cuda:", "cuda:x", "cuda:-1", "cuda:99999", "cpu:0", "trt", "a\n"]
)
def test_any_other_device_is_wrong_usage(device):
    with expect_error(UsageError, "cuda:N", "tensorrt"):
        parse_device(device)


def test_tf32_is_off_and_the_search_is_quick_unless_asked_for():
    name, options = ProviderOptions().for_provider("cuda", 2, b"")[0]
    assert name == "CUDAExecutionProvider"
    assert options == {
        "device_id": "2",
        "cudnn_conv_algo_search": "HEURISTIC",
        "cudnn_conv_use_max_workspace": "1",
        "prefer_nhwc": "0",
        "use_tf32": "0",
        "enable_cuda_graph": "0",
    }


def test_options_reach_onnxruntime():
    options = ProviderOptions(threads=3, spinning=False, arena=False, optimisation="basic")
    made = options.for_session("cpu")
    assert (made.intra_op_num_threads, made.enable_cpu_mem_arena) == (3, False)
    assert made.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert made.graph_optimization_level.name == "ORT_ENABLE_BASIC"
    asked = ProviderOptions(search="EXHAUSTIVE", workspace=False, nhwc=True, tf32=True, graph=True)
    cuda = asked.for_provider("cuda", 0, b"")[0][1]
    assert cuda["cudnn_conv_algo_search"] == "EXHAUSTIVE"
    assert [cuda[n] for n in ("cudnn_conv_use_max_workspace", "prefer_nhwc", "use_tf32", "enable_cuda_graph")] == list(
        "0111"
    )


def test_every_provider_has_the_cpu_behind_it():
    for kind, first in (("cpu", "CPU"), ("cuda", "CUDA"), ("tensorrt", "Tensorrt")):
        listed = [p if isinstance(p, str) else p[0] for p in ProviderOptions().for_provider(kind, 0, b"net")]
        assert (listed[0], listed[-1]) == (f"{first}ExecutionProvider", "CPUExecutionProvider")


def test_engines_of_tensorrt_are_kept_by_the_content_of_the_file(tmp_path, user_cache):
    (tmp_path / "net.onnx").write_bytes(b"one")
    options = ProviderOptions()
    folders = {
        options.for_provider("tensorrt", 0, model)[0][1]["trt_engine_cache_path"]
        for model in (tmp_path / "net.onnx", b"one", b"other")
    }
    assert len(folders) == 2
    assert all(folder.startswith(str(user_cache)) for folder in folders)


def test_options_say_what_differs_from_the_default():
    assert str(ProviderOptions()) == "default"
    assert (
        str(ProviderOptions(threads=2, spinning=False, optimisation="basic"))
        == "threads 2, no spinning, optimisation basic"
    )
    assert str(ProviderOptions(search="EXHAUSTIVE", nhwc=True, graph=True)) == "search EXHAUSTIVE, nhwc, graph"


@pytest.mark.parametrize("threads", [0, -1, 1025])
def test_a_number_of_threads_that_makes_no_sense_is_wrong_usage(threads):
    with expect_error(UsageError, "threads", threads, 1024):
        merged(ProviderOptions(), threads)


def test_options_come_back_as_they_were_stored():
    options = ProviderOptions(threads=2, spinning=False)
    tuning = {"cpu: here": as_stored(options, batch=8, speed_up=1.5)}
    assert stored_options(tuning, "cpu: here") == options
    assert stored_options(tuning, "cpu: elsewhere") is None
    assert stored_options(None, "cpu: here") is None


@pytest.mark.parametrize(
    "entry",
    [
        "threads 2",
        {},
        {"options": {"threads": 0}},
        {"options": {"threads": 10**9}},
        {"options": {"threads": "2"}},
        {"options": {"path": "/etc"}},
        {"options": {"search": "SLOW"}},
        {"options": None},
    ],
)
def test_stored_options_that_are_not_valid_are_refused(entry):
    with pytest.raises(ValueError):  # noqa: PT011 - pydantic's own is one
        stored_options({"here": entry}, "here")


def test_options_are_kept_for_this_hardware_alone():
    driver = Driver("580", (13, 0), ("A", "B"))
    assert hardware_key("cuda", 1, driver) == "cuda: B"
    assert hardware_key("tensorrt", 0, driver) == "tensorrt: A"
    assert hardware_key("cuda", 2, driver) == "cuda: unknown GPU"
    assert hardware_key("cpu", 0, None).startswith("cpu: ")

import subprocess
import sys

import numpy as np
import pytest

from cnnkit import zoo
from cnnkit.errors import DeviceError, OnnxError, UsageError
from cnnkit.runtime import libraries
from cnnkit.runtime.providers import ProviderOptions
from cnnkit.runtime.session import Placement, Session, _assigned, device_of, open_session
from tests.expecting import expect_error


@pytest.fixture(scope="module")
def cuda(make_onnx):
    # In a process of its own: onnxruntime prints what it does not find.
    code = (
        "import sys, onnxruntime as o; o.preload_dlls(); "
        "s = o.InferenceSession(sys.stdin.buffer.read(), providers=['CUDAExecutionProvider']); "
        "sys.exit('CUDAExecutionProvider' not in s.get_providers())"
    )
    done = subprocess.run([sys.executable, "-c", code], input=make_onnx(), capture_output=True, check=False)
    return done.returncode == 0


@pytest.mark.parametrize("device", ["cpu", "auto"])
def test_a_session_says_what_it_runs_on(make_onnx, device, cuda):
    session = open_session(make_onnx(), "net.onnx", device=device)
    assert device_of(session) == ("CUDA" if cuda and device == "auto" else "CPU")


def test_a_session_opens_from_a_path_as_from_bytes(make_onnx, tmp_path):
    (tmp_path / "net.onnx").write_bytes(make_onnx())
    assert device_of(open_session(tmp_path / "net.onnx", "net.onnx", device="cpu")) == "CPU"


@pytest.mark.parametrize("device", ["cuda", "cuda:0", "cuda:3"])
def test_cuda_without_a_gpu_is_an_error_with_the_pip_line_and_never_the_cpu(make_onnx, device, cuda):
    if cuda:
        pytest.skip("this machine has a GPU")
    with pytest.raises(DeviceError) as caught:
        open_session(make_onnx(), "net.onnx", device=device)
    assert f"--device {device}: " in str(caught.value)
    assert 'pip install "onnxruntime-gpu[cuda,cudnn]"' in str(caught.value)


def test_asking_for_cuda_prints_nothing_on_standard_output(make_onnx):
    code = (
        "import sys; from cnnkit.errors import DeviceError; from cnnkit.runtime.session import open_session\n"
        "try: open_session(sys.stdin.buffer.read(), 'net.onnx', device='cuda')\nexcept DeviceError: pass"
    )
    done = subprocess.run([sys.executable, "-c", code], input=make_onnx(), capture_output=True, check=True)
    assert done.stdout == b""


def test_auto_without_a_gpu_is_silent(make_onnx, capfd, cuda):
    if cuda:
        pytest.skip("this machine has a GPU")
    open_session(make_onnx(), "net.onnx")
    assert capfd.readouterr() == ("", "")


def test_a_session_says_why_it_runs_there(make_onnx, cuda):
    asked = open_session(make_onnx(), "net.onnx", device="cpu").placement
    assert (asked.device, asked.reason, asked.warning) == ("CPU", "asked for", "")
    if not cuda:
        assert "no NVIDIA driver" in open_session(make_onnx(), "net.onnx").placement.reason


def test_nodes_are_counted_by_the_provider_that_runs_them(make_onnx):
    # As a session on a GPU is made, with no GPU to take anything.
    session = Session(make_onnx(), ProviderOptions().for_session("cuda"), providers=["CPUExecutionProvider"])
    assert _assigned(session) == {"CPUExecutionProvider": {"Flatten": 1, "MatMul": 1}}


def test_nodes_that_a_gpu_leaves_to_the_cpu_are_a_warning():
    placement = Placement("CUDA", "asked for", {"Reshape": 2, "NonZero": 1}, 40)
    assert placement.warning == "CUDA leaves 3 of 40 nodes to the CPU, with copies to wait for: 2 Reshape, 1 NonZero."
    assert Placement("CUDA", "asked for", {}, 40).warning == ""


def test_a_session_takes_its_number_of_threads(make_onnx):
    session = open_session(make_onnx(), "net.onnx", device="cpu", threads=1)
    assert session.get_session_options().intra_op_num_threads == 1
    assert session.placement.options == ProviderOptions(threads=1)


@pytest.fixture
def on_gpu(make_onnx, cuda):
    """Open a file on the GPU with options."""
    if not cuda:
        pytest.skip("no NVIDIA GPU that onnxruntime can use")
    return lambda device="cuda", **options: open_session(
        zoo.read("lenet-mnist", "model.onnx"), "lenet", device=device, options=ProviderOptions(**options)
    )


@pytest.mark.gpu
def test_cuda_really_runs_on_cuda(on_gpu):
    session = on_gpu()
    assert device_of(session) == "CUDA"
    assert session.get_providers()[0] == "CUDAExecutionProvider"
    assert (session.placement.device, session.placement.on_cpu, session.placement.warning) == ("CUDA", {}, "")
    assert session.placement.nodes > 10


@pytest.mark.gpu
@pytest.mark.parametrize(
    "options", [{}, {"search": "EXHAUSTIVE"}, {"nhwc": True}, {"workspace": False}, {"graph": True}], ids=str
)
def test_options_of_cuda_keep_the_logits(on_gpu, options):
    gpu = on_gpu(**options)
    cpu = open_session(zoo.read("lenet-mnist", "model.onnx"), "lenet", device="cpu")
    for seed, count in enumerate([1, 7, 1, 32, 7, *range(1, 12)]):
        images = np.random.default_rng(seed).integers(0, 256, (count, 28, 28, 1), np.uint8)
        found, wanted = (session.run(["logits"], {"image": images})[0] for session in (gpu, cpu))
        np.testing.assert_allclose(found, wanted, atol=1e-4)


@pytest.mark.gpu
def test_a_gpu_that_is_not_there_is_an_error(on_gpu):
    with expect_error(DeviceError, 99, 0):
        on_gpu("cuda:99")


@pytest.mark.gpu
def test_tensorrt_runs_or_names_its_library(on_gpu):
    if any(library.error for library in libraries.scan("tensorrt")):
        with expect_error(DeviceError, "libnvinfer", 'pip install "tensorrt-cu'):
            on_gpu("tensorrt")
    else:
        assert on_gpu("tensorrt").placement.device == "TensorRT"


@pytest.mark.parametrize("device", ["", "gpu", "CUDA", "cuda:", "cuda:x", "cuda:-1", "cpu:0", "auto:0", "cpu ", "tpu"])
def test_a_device_that_does_not_exist_is_a_usage_error(make_onnx, device):
    with expect_error(UsageError, repr(device), "cuda:N"):
        open_session(make_onnx(), "net.onnx", device=device)


@pytest.mark.parametrize("content", ["empty", "text", "zeros", "half", "all but one byte"])
@pytest.mark.parametrize("as_file", [True, False])
def test_what_is_no_whole_onnx_file_is_an_onnx_error_by_name(make_onnx, tmp_path, content, as_file):
    whole = make_onnx()
    data = {
        "empty": b"",
        "text": b"this is a text, not a network\n",
        "zeros": bytes(100),
        "half": whole[: len(whole) // 2],
        "all but one byte": whole[:-1],
    }[content]
    (tmp_path / "net.onnx").write_bytes(data)
    with expect_error(OnnxError, "my net.onnx", "onnxruntime"):
        open_session(tmp_path / "net.onnx" if as_file else data, "my net.onnx", device="cpu")


@pytest.mark.parametrize("path", ["missing.onnx", "."])
def test_a_path_without_a_file_is_an_onnx_error_by_name(tmp_path, path):
    with expect_error(OnnxError):
        open_session(tmp_path / path, "this one", device="cpu")

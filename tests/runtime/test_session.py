import re
import subprocess
import sys

import pytest

from cnnkit.errors import DeviceError, OnnxError, UsageError
from cnnkit.runtime.session import device_of, open_session


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


@pytest.mark.gpu
def test_cuda_really_runs_on_cuda(make_onnx, cuda):
    if not cuda:
        pytest.skip("no NVIDIA GPU that onnxruntime can use")
    session = open_session(make_onnx(), "net.onnx", device="cuda")
    assert device_of(session) == "CUDA"
    assert session.get_providers()[0] == "CUDAExecutionProvider"


@pytest.mark.parametrize("device", ["", "gpu", "CUDA", "cuda:", "cuda:x", "cuda:-1", "cpu:0", "auto:0", "cpu ", "tpu"])
def test_a_device_that_does_not_exist_is_a_usage_error(make_onnx, device):
    with pytest.raises(UsageError, match=f"no device {re.escape(repr(device))}; expected auto, cpu, cuda or cuda:N"):
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
    with pytest.raises(OnnxError, match=r"my net\.onnx is not an ONNX file that onnxruntime"):
        open_session(tmp_path / "net.onnx" if as_file else data, "my net.onnx", device="cpu")


@pytest.mark.parametrize("path", ["missing.onnx", "."])
def test_a_path_without_a_file_is_an_onnx_error_by_name(tmp_path, path):
    with pytest.raises(OnnxError, match="this one"):
        open_session(tmp_path / path, "this one", device="cpu")

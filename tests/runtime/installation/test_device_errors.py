"""Sessions on machines where the GPU cannot be used: what is said, and that it is never the CPU instead."""

import json
from pathlib import Path

import pytest

from cnnkit.runtime import libraries

pytestmark = pytest.mark.skipif(libraries.provider_file("cuda") is None, reason="needs onnxruntime-gpu")

IMAGE = Path(__file__).parents[3] / "docs" / "images" / "seven.png"
OPEN = """
import json, sys, warnings
from cnnkit.errors import CnnkitError
from cnnkit.runtime.session import open_session
try:
    with warnings.catch_warnings(record=True) as warned:
        session = open_session(sys.stdin.buffer.read(), "net.onnx", device=sys.argv[1])
    said = " ".join(str(one.message) for one in warned)
    print(json.dumps([session.get_providers()[0], session.placement.reason, said]))
except CnnkitError as error:
    print(json.dumps([error.code, str(error), ""]))
"""


@pytest.fixture
def opened(elsewhere, make_onnx):
    def run(device, **machine):
        done = elsewhere("-c", OPEN, device, stdin=make_onnx(), **machine)
        assert done.stderr == b"", done.stderr.decode()
        return json.loads(done.stdout)

    return run


@pytest.mark.parametrize("device", ["cuda", "cuda:0", "tensorrt"])
def test_a_missing_library_is_named_with_the_pip_line(opened, driver, without_nvidia, device):
    code, message, _ = opened(device, driver=driver, packages=without_nvidia)
    assert code == "device"
    assert message.startswith(f"--device {device}: CUDA libraries: not found: ")
    assert "libcurand.so.10" in message
    assert message.endswith('They come with: pip install "onnxruntime-gpu[cuda,cudnn]"')


def test_auto_takes_the_cpu_and_warns_of_the_gpu_that_lies_idle(opened, driver, without_nvidia):
    provider, reason, warning = opened("auto", driver=driver, packages=without_nvidia)
    assert provider == "CPUExecutionProvider"
    assert reason.startswith("CUDA libraries: not found: ")
    assert warning.startswith("This runs on the CPU, and there is a GPU: CUDA libraries: not found: ")
    assert warning.endswith("See: cnnkit doctor")


@pytest.mark.parametrize("command", [["predict"], ["benchmark", "--seconds", "0.05", "--batch", "1"]])
def test_commands_say_once_that_a_gpu_lies_idle(command, elsewhere, driver, without_nvidia):
    first = str(IMAGE) if command == ["predict"] else "lenet"
    done = elsewhere("-m", "cnnkit", *command, first, driver=driver, packages=without_nvidia)
    assert done.returncode == 0
    assert done.stderr.decode().count("there is a GPU: CUDA libraries: not found") == 1, done.stderr.decode()


def test_auto_takes_the_cpu_without_a_word_where_the_driver_shows_no_gpu(opened, driver, without_nvidia):
    provider, reason, warning = opened("auto", driver=driver, packages=without_nvidia, DRIVER_INIT=100)
    assert provider == "CPUExecutionProvider"
    assert reason.startswith("GPUs: none that can be used: no CUDA-capable device is detected.")
    assert warning == ""


def test_a_gpu_that_is_not_there_is_an_error_that_lists_those_that_are(opened, driver, without_nvidia):
    code, message, _ = opened("cuda:7", driver=driver, packages=without_nvidia)
    assert code == "device"
    assert message == "--device cuda:7: GPUs: there is no GPU 7, only 0: Test GPU. Choose one of these."


def test_a_driver_that_is_too_old_is_named(opened, driver, without_nvidia):
    code, message, _ = opened("cuda", driver=driver, packages=without_nvidia, DRIVER_CUDA=12020)
    assert code == "device"
    assert "580.65.06, runs CUDA up to 12.2; onnxruntime needs CUDA" in message


def test_a_provider_that_does_not_load_says_why(opened, driver):
    if any(library.error for library in libraries.scan("cuda") if not library.is_driver):
        pytest.skip("needs the libraries of CUDA and cuDNN")
    code, message, _ = opened("cuda", driver=driver)
    assert code == "device"
    # The driver that is made for the test has a few of the functions only.
    assert "could not use its CUDA provider: undefined symbol: cu" in message


def test_a_file_that_is_no_network_is_not_blamed_on_the_gpu(elsewhere, driver, without_nvidia):
    done = elsewhere("-c", OPEN, "cuda", stdin=b"no network", driver=driver, packages=without_nvidia)
    code, message, _ = json.loads(done.stdout)
    assert code == "onnx"
    assert message.startswith("net.onnx is not an ONNX file")


def test_predict_shows_the_warning(elsewhere, driver, without_nvidia, tmp_path, pictures):
    from PIL import Image

    Image.fromarray(pictures[0]).save(tmp_path / "image.png")
    arguments = ("-m", "cnnkit", "predict", tmp_path / "image.png")
    done = elsewhere(*arguments, driver=driver, packages=without_nvidia)
    assert done.returncode == 0
    assert b"This runs on the CPU, and there is a GPU: CUDA libraries" in done.stderr
    refused = elsewhere(*arguments, "--device", "cuda", driver=driver, packages=without_nvidia)
    assert refused.returncode == 1
    assert b'pip install "onnxruntime-gpu[cuda,cudnn]"' in refused.stderr

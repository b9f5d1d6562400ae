"""onnxruntime sessions on the device that was asked for, or an error: a GPU request never becomes a CPU run."""

import re
from pathlib import Path

import onnxruntime as ort

from cnnkit.errors import DeviceError, OnnxError, UsageError

GPU_PACKAGE = 'pip install "onnxruntime-gpu[cuda,cudnn]"'


def open_session(
    model: Path | bytes, name: str, *, device: str = "auto", threads: int | None = None
) -> ort.InferenceSession:
    """Open an ONNX file on `auto`, `cpu`, `cuda` or `cuda:N`; with `threads` inside an operator, or all cores.

    Raises:
        OnnxError: not a whole ONNX file, or one that this onnxruntime cannot run.
        DeviceError: CUDA was asked for and the session does not run on it.
        UsageError: not one of these devices.
    """
    match = re.fullmatch(r"(auto|cpu|cuda)(?::(\d+))?", device)
    if match is None or (match[2] and match[1] != "cuda"):
        raise UsageError(f"there is no device {device!r}; expected auto, cpu, cuda or cuda:N.")
    if match[1] == "cuda" and not _gpu_present():
        raise DeviceError(
            f"--device {device}: no NVIDIA driver was found on this machine. Use --device cpu; or install the driver, "
            f"and the libraries of onnxruntime's CUDA provider: {GPU_PACKAGE}"
        )
    available = "CUDAExecutionProvider" in ort.get_available_providers()
    if match[1] == "cuda" and not available:
        raise DeviceError(
            f"--device {device}: this onnxruntime {ort.__version__} has no CUDA provider. "
            f"Run: pip uninstall -y onnxruntime && {GPU_PACKAGE}"
        )
    if match[1] == "cuda" or (match[1] == "auto" and available and _gpu_present()):
        ort.preload_dlls()
        session = _open(
            model, name, [("CUDAExecutionProvider", {"device_id": match[2] or "0"}), "CPUExecutionProvider"], threads
        )
        if "CUDAExecutionProvider" in session.get_providers() or match[1] == "auto":
            return session
        raise DeviceError(
            f"--device {device}: onnxruntime {ort.__version__} could not load its CUDA provider and would run on the "
            f"CPU. A CUDA, cuDNN or cuRAND library is missing or of another major version. Run: {GPU_PACKAGE}"
        )
    return _open(model, name, ["CPUExecutionProvider"], threads)


def device_of(session: ort.InferenceSession) -> str:
    """Return `CUDA` or `CPU`: what the session really runs on."""
    return "CUDA" if "CUDAExecutionProvider" in session.get_providers() else "CPU"


def _gpu_present() -> bool:
    # Asking for CUDA without a GPU makes onnxruntime print an error; the driver's file tells without it.
    # Under WSL the driver is Windows' own, and shows as a device.
    places = ("/proc/driver/nvidia/version", "/dev/dxg", "C:/Windows/System32/nvcuda.dll")
    return any(Path(place).exists() for place in places)


def _open(
    model: Path | bytes, name: str, providers: list[str | tuple[str, dict[str, str]]], threads: int | None
) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.log_severity_level = 4
    content = str(model) if isinstance(model, Path) else model
    try:
        return ort.InferenceSession(content, options, providers=providers, enable_fallback=0)
    except Exception as error:  # onnxruntime raises its own types and RuntimeError alike
        reason = " ".join(str(error).split())[:300]
        raise OnnxError(f"{name} is not an ONNX file that onnxruntime {ort.__version__} can run: {reason}") from error

"""The shared libraries that onnxruntime's GPU providers need, and which of them this machine cannot load."""

import ctypes
import re
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

Gpu = Literal["cuda", "tensorrt"]
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}
PROVIDER_NAMES = {"cpu": "CPU", "cuda": "CUDA", "tensorrt": "TensorRT"}

# What each provider loads beyond the system's own libraries, at once or when a network first needs it; {} is the major
# version of CUDA. Source: the dynamic sections of onnxruntime-gpu 1.31's providers for CUDA 13.
_NEEDED: dict[Gpu, tuple[str, ...]] = {
    "cuda": (
        "libcublasLt.so.{}", "libcublas.so.{}", "libcurand.so.10", "libcudart.so.{}", "libcuda.so.1", "libcudnn.so.9",
    ),
    "tensorrt": (
        "libcublas.so.{}", "libnvinfer.so.10", "libnvonnxparser.so.10", "libcudart.so.{}", "libcudnn.so.9",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Library:
    """A shared library by its name; `error` is the loader's, empty where it was found."""

    name: str
    error: str

    @property
    def is_driver(self) -> bool:
        """Whether the driver brings it, and no package."""
        return self.name == "libcuda.so.1"


def provider_file(kind: Gpu) -> Path | None:
    """Return the file of onnxruntime's provider; None where this onnxruntime has none."""
    spec = find_spec("onnxruntime")
    ending = "dll" if sys.platform == "win32" else "so"
    prefix = "" if sys.platform == "win32" else "lib"
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / "capi" / f"{prefix}onnxruntime_providers_{kind}.{ending}"
        if path.is_file():
            return path
    return None


def cuda_major() -> int | None:
    """Return the major version of CUDA that onnxruntime-gpu asks for; None where there is none, or it does not say."""
    from importlib.metadata import PackageNotFoundError, requires  # which takes 10 ms, and the CPU needs none of it

    try:
        needed = requires("onnxruntime-gpu") or []
    except PackageNotFoundError:
        return None
    found = (re.match(r"nvidia-cuda-runtime(?:-cu\d+)?\s*[~>=]=\s*(\d+)", each) for each in needed)
    return next((int(match[1]) for match in found if match), None)


def scan(kind: Gpu) -> tuple[Library, ...]:
    """Try to load everything that a provider needs beyond the system's own libraries.

    Only on Linux: empty on other systems, and where there is no such provider.
    """
    major = cuda_major()
    if sys.platform != "linux" or major is None or provider_file(kind) is None:
        return ()
    return tuple(Library(name, load(name)) for name in (each.format(major) for each in _NEEDED[kind]))


def load(name: str) -> str:
    """Load a library, from the packages of NVIDIA or the system; return what went wrong, or nothing."""
    for path in (folder / name for folder in _package_folders()):
        if path.is_file():
            name = str(path)
            break
    try:
        ctypes.CDLL(name)
    except OSError as error:
        return str(error)
    return ""


def load_provider(kind: Gpu) -> str:
    """Load a provider as onnxruntime does, and return what went wrong; only where onnxruntime tried it before."""
    path = provider_file(kind)
    if path is None:
        return ""
    try:
        # What all providers share must be there for everyone, as onnxruntime puts it.
        ctypes.CDLL(str(path).replace(f"_{kind}.", "_shared."), mode=ctypes.RTLD_GLOBAL)
        ctypes.CDLL(str(path))
    except OSError as error:
        return str(error).removeprefix(f"{path}: ")
    return ""


def _package_folders() -> list[Path]:
    """Where pip puts the libraries of CUDA, cuDNN and TensorRT."""
    nvidia, tensorrt = find_spec("nvidia"), find_spec("tensorrt_libs")
    found = [lib for base in _places(nvidia) for lib in sorted(base.glob("*/lib"))]
    return found + _places(tensorrt)


def _places(spec: object) -> list[Path]:
    return [Path(place) for place in getattr(spec, "submodule_search_locations", None) or ()]

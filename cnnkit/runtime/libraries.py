"""The shared libraries that onnxruntime's GPU providers need, and which of them this machine cannot load."""

import ctypes
import re
import struct
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO, Literal

Gpu = Literal["cuda", "tensorrt"]
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}
PROVIDER_NAMES = {"cpu": "CPU", "cuda": "CUDA", "tensorrt": "TensorRT"}

# Opened only when a network first needs it, so that no list inside the provider names it: convolutions do.
_OPENED_LATER: dict[Gpu, tuple[str, ...]] = {"cuda": ("libcudnn.so.9",), "tensorrt": ()}
# What every Linux has.
_SYSTEM = re.compile(r"(lib(c|dl|m|rt|pthread|stdc\+\+|gcc_s)|ld-linux[\w-]*)\.so\.\d+")


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


def cuda_major(kind: Gpu = "cuda") -> int | None:
    """Return the major version of CUDA that the provider is built for; None where its file does not say."""
    path = provider_file(kind)
    for name in needed_by(path) if path else ():
        if match := re.fullmatch(r"libcudart\.so\.(\d+).*", name):
            return int(match[1])
    return None


def scan(kind: Gpu) -> tuple[Library, ...]:
    """Try to load everything that a provider needs beyond the system's own libraries.

    Only Linux lists it: empty on other systems, and where there is no such provider.
    """
    path = provider_file(kind)
    if path is None:
        return ()
    names = [name for name in needed_by(path) if not _SYSTEM.fullmatch(name)]
    return tuple(Library(name, load(name)) for name in (*names, *_OPENED_LATER[kind]) if names)


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


def needed_by(path: Path) -> tuple[str, ...]:
    """Return the names of the libraries that a 64-bit ELF file lists as needed; empty for any other file.

    Source: the System V ABI, chapters 4 and 5: DT_NEEDED entries index the string table of the dynamic section.
    """
    try:
        with path.open("rb") as file:
            return _needed(file)
    except (OSError, struct.error, ValueError, OverflowError, StopIteration):  # damaged, or no such file
        return ()


_PT_LOAD, _PT_DYNAMIC = 1, 2
_DT_NEEDED, _DT_STRTAB, _DT_STRSZ = 1, 5, 10


def _needed(file: BinaryIO) -> tuple[str, ...]:
    header = file.read(64)
    if header[:6] != b"\x7fELF\x02\x01":  # 64-bit, least significant byte first
        return ()
    table, entry_size, count = *struct.unpack_from("<Q", header, 32), *struct.unpack_from("<HH", header, 54)
    segments = []
    for index in range(count):
        file.seek(table + index * entry_size)
        kind, _, offset, address, _, size = struct.unpack("<IIQQQQ", file.read(40))
        segments.append((kind, offset, address, size))
    dynamic = next(((offset, size) for kind, offset, _, size in segments if kind == _PT_DYNAMIC), None)
    if dynamic is None:
        return ()
    file.seek(dynamic[0])
    entries = list(struct.iter_unpack("<qQ", file.read(dynamic[1])))
    address = next(value for tag, value in entries if tag == _DT_STRTAB)
    size = next(value for tag, value in entries if tag == _DT_STRSZ)
    # The table is given by its address in memory; the segment that holds it says where in the file that is.
    start = next(address - a + o for kind, o, a, s in segments if kind == _PT_LOAD and a <= address < a + s)
    file.seek(start)
    names = file.read(size)
    return tuple(names[at : names.index(b"\0", at)].decode() for tag, at in entries if tag == _DT_NEEDED)

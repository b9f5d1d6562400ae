"""What has to be in place for a provider to run; `cnnkit doctor` shows it all, an error the first that is not.

Nothing here imports onnxruntime or PyTorch: what is broken must not keep the report from being made.
"""

import os
import platform
import re
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distributions, requires, version

from cnnkit.runtime import libraries
from cnnkit.runtime.hardware import Driver
from cnnkit.runtime.libraries import PROVIDER_NAMES, Gpu, Library
from cnnkit.runtime.results import Check

GPU_PACKAGE = 'pip install "onnxruntime-gpu[cuda,cudnn]"'
# The only platforms that the package index has onnxruntime-gpu for.
HAS_GPU_PACKAGE = (sys.platform, platform.machine()) in {("linux", "x86_64"), ("win32", "AMD64")}
PACKAGE = GPU_PACKAGE if HAS_GPU_PACKAGE else "pip install onnxruntime"


def onnxruntime_packages() -> dict[str, str]:
    """Return the versions of all installed packages that bring `onnxruntime`, by name."""
    names = (dist.metadata["Name"] or "" for dist in distributions())
    found = {name.lower().replace("_", "-") for name in names}
    # Extensions and tools have names that begin alike, but do not write into its folder.
    kinds = {"onnxruntime", *(f"onnxruntime-{kind}" for kind in ("gpu", "directml", "openvino", "qnn", "rocm", "cann"))}
    return {name: version(name) for name in sorted(found & kinds)}


def cnnkit_check() -> Check:
    """Which version of cnnkit is installed."""
    try:
        return Check("cnnkit", version("cnnkit"))
    except PackageNotFoundError:
        return Check("cnnkit", "a source tree that is not installed")


def package_check() -> Check:
    """Whether there is exactly one package of onnxruntime."""
    found = onnxruntime_packages()
    text = ", ".join(f"{name} {number}" for name, number in found.items())
    if not found:
        return Check("onnxruntime", "not installed", "problem", "Every exported network runs on it:", PACKAGE)
    if len(found) > 1:
        command = f"pip uninstall -y {' '.join(found)} && {PACKAGE}"
        advice = "They overwrite each other's files; keep one:"
        return Check("onnxruntime", f"{text}: more than one", "problem", advice, command)
    return Check("onnxruntime", text)


def provider_check(kind: Gpu, driver: Driver | None) -> Check:
    """Whether the installed onnxruntime was built with a provider."""
    what = f"{PROVIDER_NAMES[kind]} provider"
    if libraries.provider_file(kind) is not None:
        major = libraries.cuda_major()
        return Check(what, f"built for CUDA {major}" if major else "built in")
    installed = " ".join(onnxruntime_packages())
    if not installed or driver is None or not driver.gpus:
        return Check(what, f"not built into {installed or 'onnxruntime'}", "note")
    command = f"pip uninstall -y {installed} && {GPU_PACKAGE}"
    return Check(what, f"not built into {installed}", "note", "For the GPU:", command)


def driver_check(driver: Driver | None) -> Check:
    """Whether there is a driver, and one that is new enough for the provider."""
    if driver is None and not HAS_GPU_PACKAGE:
        return Check("NVIDIA driver", "not looked for: no onnxruntime-gpu for this platform", "note")
    if driver is None:
        advice = (
            "Without an NVIDIA GPU, use --device cpu or auto. With one, install its driver. CUDA's libraries come with:"
        )
        return Check("NVIDIA driver", "not found on this machine", "note", advice, GPU_PACKAGE)
    needed = libraries.cuda_major()
    runs = f", runs CUDA up to {driver.cuda[0]}.{driver.cuda[1]}" if driver.cuda else ""
    text = f"{driver.version or 'of unknown version'}{runs}"
    if driver.cuda and needed and driver.cuda[0] < needed:
        advice = f"Update the driver, or install an onnxruntime-gpu that is built for CUDA {driver.cuda[0]}."
        return Check("NVIDIA driver", f"{text}; onnxruntime needs CUDA {needed}", "problem", advice)
    return Check("NVIDIA driver", text)


def gpu_check(driver: Driver, index: int = 0) -> Check:
    """Whether the GPU of that number may be used."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if not driver.gpus:
        why = f"CUDA_VISIBLE_DEVICES is {hidden!r}. Unset it" if hidden is not None else "Look at: nvidia-smi"
        return Check("GPUs", f"none that can be used: {driver.error}", "note", f"{why}.")
    listed = ", ".join(f"{number}: {name}" for number, name in enumerate(driver.gpus))
    if index >= len(driver.gpus):
        return Check("GPUs", f"there is no GPU {index}, only {listed}", "problem", "Choose one of these.")
    return Check("GPUs", listed)


def library_check(kind: Gpu, driver: Driver | None) -> Check | None:
    """Whether every library that a provider needs can be loaded; None where that cannot be told."""
    what, found = f"{PROVIDER_NAMES[kind]} libraries", libraries.scan(kind)
    if not found:
        return None
    missing = [library for library in found if library.error and not library.is_driver]
    if not missing:
        loaded = ", ".join(library.name for library in found if not library.error)
        return Check(what, f"all found: {loaded}")
    said = f"not found: {', '.join(map(_named, missing))}"
    if driver is None or not driver.gpus:
        return Check(what, said, "note")
    # TensorRT nobody has to have.
    return Check(what, said, "problem" if kind == "cuda" else "note", "They come with:", _packages(kind, missing))


def _named(library: Library) -> str:
    absent = "no such file" in library.error.lower()
    return library.name if absent else f"{library.name} ({library.error})"


def _packages(kind: Gpu, missing: list[Library]) -> str:
    lines = []
    # Those of TensorRT are libnvinfer and libnvonnxparser; all else is CUDA's or cuDNN's.
    if any(not library.name.startswith(("libnvinfer", "libnvonnx")) for library in missing):
        lines.append(GPU_PACKAGE)
    for library in missing:
        if match := re.fullmatch(r"libnvinfer\.so\.(\d+)", library.name):
            major = libraries.cuda_major()
            package = f"tensorrt-cu{major}" if major else "tensorrt"
            lines.append(f'pip install "{package}<{int(match[1]) + 1}"')
    return " && ".join(lines)


def why_not(kind: Gpu, driver: Driver | None, index: int = 0) -> Check | None:
    """Return the first thing that keeps a provider from running; None where all is in place."""
    return next((check for check in _in_the_way(kind, driver, index) if check.verdict != "ok"), None)


def _in_the_way(kind: Gpu, driver: Driver | None, index: int) -> Iterator[Check]:
    yield driver_check(driver)
    yield package_check()
    yield provider_check(kind, driver)
    if driver is not None:
        yield gpu_check(driver, index)
    for needed in ("cuda", kind) if kind == "tensorrt" else (kind,):
        if check := library_check(needed, driver):
            yield check


def torch_cuda() -> tuple[str, int | None] | None:
    """Return PyTorch's version and the major version of its CUDA, None for a build without; None where absent.

    It is not imported: what its package asks for says it.
    """
    try:
        number, asked = version("torch"), requires("torch") or []
    except PackageNotFoundError:
        return None
    if match := re.search(r"\+(?:cu(\d+)\d|\w+)$", number):
        return number, int(match[1]) if match[1] else None
    majors = (re.match(r"nvidia-cudnn-cu(\d+)\b", requirement) for requirement in asked)
    return number, next((int(match[1]) for match in majors if match), None)


def torch_checks(driver: Driver | None) -> list[Check]:
    """What there is of PyTorch, and whether it goes with onnxruntime's CUDA."""
    found = torch_cuda()
    if found is None:
        command = "pip install torch torchvision torchmetrics onnx onnxscript matplotlib"
        return [Check("PyTorch", "not installed", "note", "Training and exporting need it:", command)]
    number, major = found
    checks = [Check("PyTorch", f"{number}, built for {f'CUDA {major}' if major else 'the CPU alone'}")]
    ours = libraries.cuda_major()
    if major and ours and major != ours:
        advice = "Some of their libraries have the same names: install a PyTorch and an onnxruntime for one CUDA."
        used = driver is not None and driver.gpus
        said = f"PyTorch's is {major}, onnxruntime's is {ours}"
        checks.append(Check("CUDA versions", said, "problem" if used else "note", advice if used else ""))
    names = sorted({(dist.metadata["Name"] or "").lower() for dist in distributions()})
    cudnn = [name for name in names if re.fullmatch(r"nvidia-cudnn-cu\d+", name)]
    if len(cudnn) > 1:
        command = f"pip uninstall -y {' '.join(cudnn)} && {GPU_PACKAGE}"
        said, advice = f"{' and '.join(cudnn)} are installed", "They overwrite each other's files; keep one:"
        checks.append(Check("cuDNN", said, "problem", advice, command))
    return checks

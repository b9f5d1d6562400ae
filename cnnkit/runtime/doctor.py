"""`cnnkit doctor`: what this installation consists of, and what is wrong with it. It explains and never installs."""

import json
import platform
import subprocess
import sys
from collections.abc import Iterator

from cnnkit.runtime import checks, libraries
from cnnkit.runtime.hardware import Driver, find_driver, processor
from cnnkit.runtime.libraries import PROVIDER_NAMES, Gpu
from cnnkit.runtime.results import Check, Installation

GPUS: tuple[Gpu, ...] = ("cuda", "tensorrt")
PROBE_SECONDS = 300


def doctor() -> Installation:
    """Look at Python, PyTorch, onnxruntime, the driver and its libraries, and run one session on each provider.

    Neither PyTorch nor onnxruntime is imported into this process: a broken one is reported like the rest.

    >>> doctor().checks[0].what
    'Python'
    """
    return Installation(tuple(_checks(find_driver())))


def _checks(driver: Driver | None) -> Iterator[Check]:
    yield Check("Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    yield checks.cnnkit_check()
    yield Check("processor", processor())
    yield from checks.torch_checks(driver)
    package = checks.package_check()
    yield package
    yield checks.driver_check(driver)
    if driver is not None:
        yield checks.gpu_check(driver)
    for kind in GPUS:
        yield checks.provider_check(kind, driver)
        if check := checks.library_check(kind, driver):
            yield check
    if not checks.onnxruntime_packages():
        return
    yield session_check("cpu", driver)
    sessions = {kind: session_check(kind, driver) for kind in GPUS if libraries.provider_file(kind) is not None}
    yield from sessions.values()
    cuda = sessions.get("cuda")
    if cuda is not None and cuda.verdict == "ok":
        yield Check("--device auto", "takes CUDA")
    else:
        reason = checks.why_not("cuda", driver) or cuda
        yield Check("--device auto", f"takes the CPU: {reason.what}: {reason.found}" if reason else "takes the CPU")


def session_check(device: str, driver: Driver | None) -> Check:
    """Run a session on a device in a process of its own."""
    what = f"session on {PROVIDER_NAMES[device]}"
    if device != "cpu":
        if driver is None or not driver.gpus:
            return Check(what, "not run: no NVIDIA GPU", "note")
        # What TensorRT lacks is said above, and nobody has to have it.
        if device == "tensorrt" and any(library.error for library in libraries.scan("tensorrt")):
            return Check(what, "not run: libraries are missing", "note")
    ran, said = _probe(device)
    if ran:
        return Check(what, said)
    if device != "cpu":
        return Check(what, said, "problem", "Use --device cpu until it runs.")
    package = next(iter(checks.onnxruntime_packages()))
    command = f"pip install --force-reinstall --no-deps {package}"
    # A damaged zoo says itself what to do.
    return Check(what, said, "problem") if "einstall" in said else Check(what, said, "problem", "Try:", command)


def _probe(device: str) -> tuple[bool, str]:
    """Return whether a session ran, and what it said."""
    command = [sys.executable, "-m", "cnnkit.runtime.smoke_test", device]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PROBE_SECONDS, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        return False, f"did not finish within {PROBE_SECONDS} seconds"
    try:
        found = json.loads(done.stdout.splitlines()[-1])
        return bool(found["ok"]), str(found["said"])
    except (IndexError, ValueError, KeyError, TypeError):
        last = (done.stderr.strip().splitlines() or ["without a word"])[-1]
        return False, f"crashed with exit code {done.returncode}: {last[:300]}"

"""onnxruntime sessions on the device that was asked for, or an error: a GPU request never becomes a CPU run."""

import json
import os
import re
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from cnnkit.card import CARD_KEY
from cnnkit.errors import CheckpointError, DeviceError, DeviceWarning, OnnxError
from cnnkit.runtime import libraries
from cnnkit.runtime.hardware import find_driver, has_driver
from cnnkit.runtime.libraries import PROVIDER_NAMES, PROVIDERS, Gpu
from cnnkit.runtime.providers import ProviderOptions, hardware_key, merged, parse_device, stored_options
from cnnkit.words import counted

if TYPE_CHECKING:
    from cnnkit.runtime.cuda_graphs import FixedBuffers


@dataclass(frozen=True)
class Placement:
    """Where a session really runs, as onnxruntime says once it is made.

    Attributes:
        device: CPU, CUDA or TensorRT.
        reason: why this one, in words.
        on_cpu: operator types that a GPU session left to the CPU, with their number of nodes.
        nodes: of the whole graph, in a GPU session.
        options: that it runs with.
        tuned: whether those come from the model card.
        trouble: why a machine with a GPU runs it on the CPU all the same; empty where all is as it should be.
    """

    device: str
    reason: str
    on_cpu: Mapping[str, int] = field(default_factory=dict)
    nodes: int = 0
    options: ProviderOptions = field(default_factory=ProviderOptions)
    tuned: bool = False
    trouble: str = ""

    @property
    def warning(self) -> str:
        """What the user should know, empty where there is nothing: a GPU left unused, or nodes that run beside it."""
        if self.trouble:
            return f"This runs on the CPU, and there is a GPU: {self.trouble} See: cnnkit doctor"
        if self.on_cpu:
            listed = ", ".join(f"{count} {kind}" for kind, count in self.on_cpu.items())
            left = f"{sum(self.on_cpu.values())} of {counted(self.nodes, 'node')}"
            return f"{self.device} leaves {left} to the CPU, with copies to wait for: {listed}."
        return ""


class Session(ort.InferenceSession):  # type: ignore[misc]
    """An onnxruntime session that knows where it runs, and runs through fixed buffers where it records a CUDA graph."""

    placement: Placement
    sha256: str = ""
    """Of what runs, where `open_onnx` opened it."""
    buffers: "FixedBuffers | None" = None

    def run(self, output_names: list[str] | None, input_feed: dict[str, Any], run_options: Any = None) -> list[Any]:
        """Run as any session does."""
        if self.buffers is not None and run_options is None:
            return self.buffers.run(output_names, input_feed)
        outputs: list[Any] = super().run(output_names, input_feed, run_options)
        return outputs

    def run_with_iobinding(self, iobinding: Any, run_options: Any = None) -> None:
        """Run on the caller's buffers; without a graph, which would go on using those of its first run."""
        if self.buffers is not None and run_options is None:
            from cnnkit.runtime.cuda_graphs import DISABLED, graph_run_options

            run_options = graph_run_options(DISABLED)
        super().run_with_iobinding(iobinding, run_options)


def open_session(
    model: Path | bytes,
    name: str,
    *,
    device: str = "auto",
    threads: int | None = None,
    options: ProviderOptions | None = None,
) -> Session:
    """Open an ONNX file on `auto`, `cpu`, `cuda`, `cuda:N`, `tensorrt` or `tensorrt:N`.

    `auto` is CUDA where a session really runs on it, and the CPU otherwise; the session's `placement` says which, and
    why.

    Args:
        model: the file, or its content.
        name: what to call it in errors.
        device: as above.
        threads: inside one operator on the CPU; None for one on each physical core.
        options: None for those that the file's card holds for this hardware, and where there are none, the default.

    Raises:
        OnnxError: not a whole ONNX file, or one that this onnxruntime cannot run.
        CheckpointError: the options in its card are not valid.
        DeviceError: the device was asked for and the session does not run on it.
        UsageError: not one of these devices, or a number of threads out of range.

    Warns:
        DeviceWarning: `auto` leaves a GPU unused, or a GPU leaves nodes to the CPU.
    """
    given = merged(options or ProviderOptions(), threads)
    session = _place(model, name, device, given)
    if options is None and (tuned := _tuned(session, name, device)) is not None:
        # Another onnxruntime or driver than that of the tuning may refuse them: they cost speed then, not the GPU.
        with suppress(DeviceError):
            faster = _place(model, name, device, merged(tuned, threads), tuned=True)
            if faster.placement.device == session.placement.device:
                session = faster
    if session.placement.warning:
        warnings.warn(session.placement.warning, DeviceWarning, stacklevel=2)
    return session


def device_of(session: ort.InferenceSession) -> str:
    """Return `TensorRT`, `CUDA` or `CPU`: what the session really runs on."""
    running = session.get_providers()
    return next(PROVIDER_NAMES[kind] for kind in ("tensorrt", "cuda", "cpu") if PROVIDERS[kind] in running)


def logits_of(session: ort.InferenceSession, inputs: NDArray[np.generic]) -> NDArray[np.float32]:
    """Run a file that cnnkit exported on a batch of its input, and return its logits [N, classes]."""
    return np.asarray(session.run(["logits"], {session.get_inputs()[0].name: inputs})[0], np.float32)


def _place(model: Path | bytes, name: str, device: str, options: ProviderOptions, *, tuned: bool = False) -> Session:
    kind, index = parse_device(device)

    def on_cpu(reason: str, trouble: str = "") -> Session:
        session = _open(model, name, "cpu", 0, options)
        session.placement = Placement("CPU", reason, options=options, tuned=tuned, trouble=trouble)
        return session

    if kind == "cpu":
        return on_cpu("asked for")
    if kind == "auto" and not has_driver():
        return on_cpu("there is no NVIDIA driver on this machine")
    gpu: Gpu = "tensorrt" if kind == "tensorrt" else "cuda"
    failure = ""
    if has_driver() and PROVIDERS[gpu] in ort.get_available_providers():
        made = _attempt(model, name, gpu, index, options)
        if isinstance(made, Session):
            reason = "asked for" if kind == gpu else "a session really runs on the GPU"
            assigned = _assigned(made)
            left = dict(assigned.get(PROVIDERS["cpu"], Counter()).most_common())
            nodes = sum(kinds.total() for kinds in assigned.values())
            made.placement = Placement(PROVIDER_NAMES[gpu], reason, left, nodes, options, tuned)
            if options.graph:
                from cnnkit.runtime.cuda_graphs import FixedBuffers

                made.buffers = FixedBuffers(made, "cuda", index)
            return made
        failure = made
    from cnnkit.runtime.checks import why_not  # reads what is installed, which nobody needs who has a session

    driver = find_driver()
    check = why_not(gpu, driver, index)
    if check is not None:
        said = str(check)
    else:
        said = f"onnxruntime {ort.__version__} could not use its {PROVIDER_NAMES[gpu]} provider: {failure}."
    if kind == "auto":
        # A driver alone, as in many containers, is no GPU that lies idle.
        return on_cpu(said, said if driver is not None and driver.gpus else "")
    raise DeviceError(f"--device {device}: {said}")


def _attempt(model: Path | bytes, name: str, gpu: Gpu, index: int, options: ProviderOptions) -> Session | str:
    """Return a session that runs on the GPU, or why there is none.

    Raises:
        OnnxError: the fault is the file's.
    """
    with _silent():
        if gpu == "tensorrt":
            libraries.scan(gpu)  # onnxruntime itself looks for these nowhere but in the system
        ort.preload_dlls()
        try:
            session = _open(model, name, gpu, index, options)
        except OnnxError as error:
            # onnxruntime blames what it likes; on the CPU, only the file can be at fault.
            _open(model, name, "cpu", 0, ProviderOptions())
            return str(error.__cause__).strip()[:300] or "it does not say why"
    if PROVIDERS[gpu] in session.get_providers():
        return session if PROVIDERS[gpu] in _assigned(session) else "it takes none of this network's nodes"
    return libraries.load_provider(gpu) or "it made a session on the CPU without saying why"


@contextmanager
def _silent() -> Iterator[None]:
    """Keep onnxruntime from printing what an error or a report will say."""
    ort.set_default_logger_severity(4)
    try:
        with redirect_stdout(StringIO()):
            yield
    finally:
        ort.set_default_logger_severity(2)


def _assigned(session: Session) -> dict[str, Counter[str]]:
    """Return the operator types by the provider that runs them, with their number of nodes."""
    found: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for part in session.get_provider_graph_assignment_info():
        found[part.ep_name].update(node.op_type for node in part.get_nodes())
    return dict(found)


def _tuned(session: Session, name: str, device: str) -> ProviderOptions | None:
    """Return the options that the card holds for where this session runs."""
    try:
        tuning = json.loads(session.get_modelmeta().custom_metadata_map.get(CARD_KEY, "{}"))["tuning"]
    except (ValueError, KeyError, TypeError):  # a damaged card is refused by those who need it
        return None
    if not tuning:
        return None
    kind = next(kind for kind, shown in PROVIDER_NAMES.items() if shown == session.placement.device)
    driver = None if kind == "cpu" else find_driver()
    try:
        return stored_options(tuning, hardware_key(kind, parse_device(device)[1], driver))
    except ValueError as error:
        raise CheckpointError(
            f"the model card in {name} is not valid (tuning: {' '.join(str(error).split())[:200]}). "
            "Was the file changed by hand?"
        ) from error


def _open(model: Path | bytes, name: str, kind: str, index: int, options: ProviderOptions) -> Session:
    try:
        providers = options.for_provider(kind, index, model)
        with _file_of(model) as content:
            return Session(content, options.for_session(kind), providers=providers, enable_fallback=0)
    except Exception as error:  # onnxruntime raises its own types and RuntimeError alike
        raise not_runnable(name, re.sub(r"/proc/self/fd/\d+", "the file", str(error))) from error


@contextmanager
def _file_of(model: Path | bytes) -> Iterator[str | bytes]:
    """Yield what to open: on Linux, content as a file in memory.

    onnxruntime keeps bytes that it is given for as long as the session lives, and a file it does not.
    """
    if isinstance(model, Path) or not hasattr(os, "memfd_create") or not Path("/proc/self/fd").is_dir():
        yield str(model) if isinstance(model, Path) else model
        return
    descriptor = os.memfd_create("model.onnx")
    try:
        content: str | bytes = f"/proc/self/fd/{descriptor}"
        try:
            with open(descriptor, "wb", closefd=False) as file:
                file.write(model)
        except OSError:  # files may have no such size here
            content = model
        yield content
    finally:
        os.close(descriptor)


def not_runnable(name: str, reason: str) -> OnnxError:
    """Return the error of a file that onnxruntime cannot run, with what it says."""
    reason = " ".join(reason.split())[:300]
    return OnnxError(f"{name} is not an ONNX file that onnxruntime {ort.__version__} can run: {reason}")

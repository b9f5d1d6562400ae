"""The devices that can be asked for, and the options of onnxruntime's providers that matter to convolution networks."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import ClassVar, Literal

import onnxruntime as ort

from cnnkit.errors import UsageError
from cnnkit.runtime import hardware
from cnnkit.runtime.libraries import PROVIDERS

Kind = Literal["auto", "cpu", "cuda", "tensorrt"]
MAX_THREADS = 1024

_LEVELS = {
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}


@dataclass(frozen=True)
class ProviderOptions:
    """How a session runs; a device ignores what is for another one.

    Attributes:
        threads: CPU: threads inside one operator; None for one on each physical core.
        spinning: CPU: let threads that wait for work spin, not sleep: quicker to start, and a core is never idle.
        arena: CPU: keep freed memory for the next run.
        optimisation: CPU: how far the graph is rewritten; `all` includes layouts that suit the processor.
        search: CUDA: how cuDNN chooses the algorithm of a convolution. HEURISTIC asks its tables; EXHAUSTIVE, which is
            onnxruntime's default, times all of them again for every new batch size.
        workspace: CUDA: let the choice be free of a memory limit.
        nhwc: CUDA: run convolutions with channels last.
        tf32: CUDA: round the factors of products to ten bits of mantissa, an error of up to 5e-4 in each. Parity
            tolerates 1e-5 of the largest logit, so it is off unless asked for.
        graph: CUDA, TensorRT: record the kernels of a batch size once and replay them, through buffers that stay where
            they are.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid", "strict": True}

    threads: int | None = None
    spinning: bool = True
    arena: bool = True
    optimisation: Literal["basic", "extended", "all"] = "all"
    search: Literal["HEURISTIC", "EXHAUSTIVE"] = "HEURISTIC"
    workspace: bool = True
    nhwc: bool = False
    tf32: bool = False
    graph: bool = False

    def __post_init__(self) -> None:
        if self.threads is not None and not 1 <= self.threads <= MAX_THREADS:
            raise ValueError(f"threads must be from 1 to {MAX_THREADS}, got {self.threads}")

    @classmethod
    def from_stored(cls, stored: object) -> "ProviderOptions":
        """Return the options that a model card holds.

        Raises:
            ValueError: they are not valid.
        """
        from pydantic import TypeAdapter

        # As JSON a table may stand for the class, and yet no text for a number.
        return TypeAdapter(cls).validate_json(json.dumps(stored))

    def changes(self) -> dict[str, object]:
        """Return what differs from the default, as it is stored.

        >>> ProviderOptions(threads=2, spinning=False).changes()
        {'threads': 2, 'spinning': False}
        """
        return {field.name: value for field in fields(self) if (value := getattr(self, field.name)) != field.default}

    def __str__(self) -> str:
        said = {True: "", False: "no "}
        return (
            ", ".join(
                f"{said[value]}{name}" if isinstance(value, bool) else f"{name} {value}"
                for name, value in self.changes().items()
            )
            or "default"
        )

    def for_session(self, kind: str) -> ort.SessionOptions:
        """Return onnxruntime's session options."""
        made = ort.SessionOptions()
        made.log_severity_level = 4
        made.add_session_config_entry("session.load_model_format", "ONNX")  # whatever its first bytes are
        made.graph_optimization_level = _LEVELS[self.optimisation]
        made.enable_cpu_mem_arena = self.arena
        made.intra_op_num_threads = self.threads or 0
        made.add_session_config_entry("session.intra_op.allow_spinning", str(int(self.spinning)))
        if kind != "cpu":
            made.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        return made

    def for_provider(self, kind: str, index: int, model: Path | bytes) -> list[str | tuple[str, dict[str, str]]]:
        """Return onnxruntime's providers for a device, the wanted one first, with their options."""
        cuda: tuple[str, dict[str, str]] = (
            PROVIDERS["cuda"],
            {
                "device_id": str(index),
                "cudnn_conv_algo_search": self.search,
                "cudnn_conv_use_max_workspace": str(int(self.workspace)),
                "prefer_nhwc": str(int(self.nhwc)),
                "use_tf32": str(int(self.tf32)),
                "enable_cuda_graph": str(int(self.graph and kind == "cuda")),
            },
        )
        if kind == "cuda":
            return [cuda, PROVIDERS["cpu"]]
        if kind == "tensorrt":
            return [(PROVIDERS["tensorrt"], self._tensorrt(index, model)), cuda, PROVIDERS["cpu"]]
        return [PROVIDERS["cpu"]]

    def _tensorrt(self, index: int, model: Path | bytes) -> dict[str, str]:
        import platformdirs

        from cnnkit.files import sha256

        # Engines take minutes to build. They are kept by the file's content: onnxruntime itself names them by the
        # graph alone, and would run a network that was trained anew with its old weights.
        content = model.read_bytes() if isinstance(model, Path) else model
        folder = platformdirs.user_cache_path("cnnkit") / "tensorrt" / sha256(content)[:32]
        folder.mkdir(parents=True, exist_ok=True)
        return {
            "device_id": str(index),
            "trt_engine_cache_enable": "1",
            "trt_engine_cache_path": str(folder),
            "trt_timing_cache_enable": "1",
            "trt_timing_cache_path": str(folder.parent),
            "trt_cuda_graph_enable": str(int(self.graph)),
        }


def parse_device(device: str) -> tuple[Kind, int]:
    """Return the kind of a device and its number, 0 where none is given.

    Raises:
        UsageError: not one of these devices.

    >>> parse_device("cuda:1")
    ('cuda', 1)
    """
    match = re.fullmatch(r"(auto|cpu|cuda|tensorrt)(?::(\d{1,4}))?", device)
    if match is None or (match[2] and match[1] not in {"cuda", "tensorrt"}):
        raise UsageError(
            f"there is no device {device!r}; expected auto, cpu, cuda or cuda:N; "
            "for ONNX files also tensorrt, tensorrt:N."
        )
    kind: Kind = match[1]  # type: ignore[assignment]
    return kind, int(match[2] or 0)


def hardware_key(kind: str, index: int, driver: hardware.Driver | None) -> str:
    """Return what tuned options are stored under: they are good for this kind of device on this hardware alone."""
    if kind == "cpu":
        return f"cpu: {hardware.processor()}"
    name = driver.gpus[index] if driver is not None and index < len(driver.gpus) else "unknown GPU"
    return f"{kind}: {name}"


def stored_options(tuning: object, key: str) -> ProviderOptions | None:
    """Return the options that a card's `tuning` holds for this hardware; None where it holds none.

    Raises:
        ValueError: they are not valid.
    """
    entry = tuning.get(key) if isinstance(tuning, Mapping) else None
    if entry is None:
        return None
    if not isinstance(entry, Mapping):
        raise ValueError("expected a table")
    return ProviderOptions.from_stored(entry.get("options"))


def as_stored(options: ProviderOptions, *, batch: int, speed_up: float) -> dict[str, object]:
    """Return what a card stores of a winner."""
    return {
        "options": options.changes(),
        "batch": batch,
        "speed_up": round(speed_up, 3),
        "onnxruntime": ort.__version__,
    }


def merged(options: ProviderOptions, threads: int | None) -> ProviderOptions:
    """Return the options with another number of threads, where one is given.

    Raises:
        UsageError: it is out of range.
    """
    if threads is None:
        return options
    try:
        return ProviderOptions(**{**asdict(options), "threads": threads})
    except ValueError as error:
        raise UsageError(f"{error}.") from error

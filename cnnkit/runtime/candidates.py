"""What a benchmark calls: an ONNX file on a device, ready for a batch."""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime as ort
import psutil  # type: ignore[import-untyped]
from numpy.typing import NDArray

from cnnkit.card import ModelCard
from cnnkit.errors import OnnxError, OutOfMemoryError, UsageError
from cnnkit.runtime.hardware import usable_cores
from cnnkit.runtime.results import BenchmarkedModel
from cnnkit.runtime.session import device_of, open_session

if TYPE_CHECKING:
    from cnnkit.runtime.guard import Checked

_TYPES = {
    "tensor(float)": np.float32,
    "tensor(uint8)": np.uint8,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(int8)": np.int8,
}

Inputs = NDArray[np.generic]


@dataclass(frozen=True)
class Calls:
    """A network that is ready for a batch, as functions to call; each has finished when it returns.

    Attributes:
        whole: from a batch in memory of the host to outputs in memory of the host.
        parts: on a GPU `copy_in`, `compute` and `copy_out`, which make the whole.
        first: what to call first, where it is not `whole`.
    """

    whole: Callable[[], object]
    parts: Mapping[str, Callable[[], object]] = field(default_factory=dict)
    first: Callable[[], object] | None = None


@dataclass(frozen=True)
class Candidate:
    """One network on one engine and device.

    Attributes:
        model, engine, device, threads: as in `Measurement`.
        gpu: its index, None on the CPU.
        open: makes it ready for a batch of that size; raises `CnnkitError` where it cannot.
        optional: where it cannot be measured, it is left out with a note.
    """

    model: str
    engine: str
    device: str
    threads: int | None
    gpu: int | None
    open: Callable[[int], Calls]
    optional: bool = False


@dataclass(frozen=True)
class Target:
    """An ONNX file to measure, and what it takes.

    Attributes:
        name: the reference that it was named by.
        model: the file or its content.
        card: of the file; None of a foreign one.
        input_name, dtype: of its one input.
        shape: of the input without the batch.
        batch: where the file fixes it.
        devices: on which it will be measured, as asked for, with what each turned out to be.
        assumptions: what it leaves open, and what the user should know of a device.
    """

    name: str
    model: Path | bytes
    card: ModelCard | None
    input_name: str
    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]
    batch: int | None
    devices: Mapping[str, str]
    assumptions: tuple[str, ...] = ()

    @property
    def described(self) -> BenchmarkedModel:
        """What the result says of it."""
        shape = ", ".join(map(str, (self.batch or "N", *self.shape)))
        return BenchmarkedModel(self.name, f"{self.dtype} [{shape}]", self.assumptions)

    def inputs(self, batch: int) -> Inputs:
        """Return a random batch: integers over their whole range, other numbers in [0, 1).

        Raises:
            OutOfMemoryError: it would take more than half of the memory that is free.
        """
        needed, free = batch * math.prod(self.shape) * self.dtype.itemsize, psutil.virtual_memory().available
        if needed > free / 2:
            raise OutOfMemoryError(
                f"a batch of {batch} for {self.name} takes {needed / 1e9:.1f} GB, the network not counted; "
                f"{free / 1e9:.1f} GB are free."
            )
        rng = np.random.default_rng(0)
        if self.dtype.kind in "ui":
            limits = np.iinfo(self.dtype.name)
            return rng.integers(limits.min, limits.max, (batch, *self.shape), self.dtype, endpoint=True)
        return rng.random((batch, *self.shape), np.float32).astype(self.dtype)


def cores() -> int:
    """Return the number of physical cores that this process may use."""
    usable = usable_cores()
    return min(usable, psutil.cpu_count(logical=False) or usable)


def examine(name: str, model: Path | bytes, devices: Sequence[str], checked: "Checked | None" = None) -> Target:
    """Open an ONNX file on each device, before anything is measured, and find out what it takes.

    Args:
        name: the reference that it was named by.
        model: the file or its content.
        devices: as `open_session` takes them; two that turn out to be the same are one.
        checked: what is known of it; None of a file of the zoo.

    Raises:
        OnnxError: not a file that onnxruntime can run, or not with one input of a batch.
        DeviceError: a device cannot be used here.
        UsageError: there is no such device.
    """
    obstacle = checked.obstacle if checked else ""
    found: dict[str, str] = {}
    seen = set()
    for device in devices:
        session = open_session(model, name, device=device)
        real = device_of(session)
        if (real, _index(device)) not in seen:
            seen.add((real, _index(device)))
            found[device] = real
    inputs = session.get_inputs()
    if len(inputs) != 1 or len(inputs[0].shape) < 2 or inputs[0].type not in _TYPES:
        taken = "; ".join(f"{i.name} {i.type} {i.shape}" for i in inputs) or "nothing"
        reason = obstacle or f"it takes {taken}."
        raise OnnxError(f"{name}: {reason} Expected one input of numbers, with the batch as its first dimension.")
    batch, *rest = inputs[0].shape
    if checked is not None and checked.signature is not None:
        rest = list(checked.signature.shape)
    if not all(isinstance(side, int) and side > 0 for side in rest):
        reason = obstacle or f"it takes {inputs[0].shape}."
        raise OnnxError(f"{name}: {reason} Only the batch, or height and width of images, may be open.")
    return Target(
        name,
        model,
        ModelCard.from_metadata(session.get_modelmeta().custom_metadata_map, name),
        inputs[0].name,
        np.dtype(_TYPES[inputs[0].type]),
        tuple(rest),
        batch if isinstance(batch, int) else None,
        found,
        tuple(f"{name}: {note}" for note in checked.notes) if checked else (),
    )


def onnx_candidates(target: Target, threads: Sequence[int]) -> list[Candidate]:
    """Return the file on each of its devices, on the CPU once for each number of threads."""
    found = []
    for device, real in target.devices.items():
        if real == "CPU":
            found += [_candidate(target, device, real, count) for count in threads]
        else:
            found.append(_candidate(target, device, real, None))
    return found


def check_threads(threads: Sequence[int]) -> None:
    """Refuse numbers of threads that this machine has no cores for.

    Raises:
        UsageError: less than one, or more than there are.
    """
    most = os.cpu_count() or 1
    for count in threads:
        if not 1 <= count <= most:
            raise UsageError(f"--threads {count}: this machine can run from 1 to {most} at once.")


def _candidate(target: Target, device: str, real: str, threads: int | None) -> Candidate:
    def start(batch: int) -> Calls:
        session = open_session(target.model, target.name, device=device, threads=threads)
        inputs = target.inputs(batch)
        # A session that replays a graph does so through buffers of its own, and not through those of others.
        if real == "CPU" or session.buffers is not None:
            feed = {target.input_name: inputs}
            return Calls(lambda: session.run(None, feed))
        return bound(session, inputs, "cuda", _index(device))

    return Candidate(target.name, "onnxruntime", real, threads, None if real == "CPU" else _index(device), start)


def bound(session: ort.InferenceSession, inputs: Inputs, place: str, index: int) -> Calls:
    """Bind input and outputs to memory of the device, so that copies and computation can be told apart."""
    binding = session.io_binding()
    held = ort.OrtValue.ortvalue_from_shape_and_type(inputs.shape, inputs.dtype.type, place, index)
    binding.bind_ortvalue_input(session.get_inputs()[0].name, held)
    for output in session.get_outputs():
        binding.bind_output(output.name, place, index)

    def copy_in() -> None:
        held.update_inplace(inputs)
        binding.synchronize_inputs()

    def compute() -> None:
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()

    def whole() -> object:
        copy_in()
        compute()
        return binding.copy_outputs_to_cpu()

    return Calls(whole, {"copy_in": copy_in, "compute": compute, "copy_out": binding.copy_outputs_to_cpu})


def _index(device: str) -> int:
    return int(device.partition(":")[2] or 0)

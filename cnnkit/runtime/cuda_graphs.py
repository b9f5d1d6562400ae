"""Running a session through buffers that stay where they are, as a recorded CUDA graph needs."""

from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
import onnxruntime as ort

DISABLED = -1
"""The graph number that makes onnxruntime neither record nor replay."""
MAX_SHAPES = 8
"""Recorded graphs are never given back, so that only the first shapes get one."""

_TYPES = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8, "tensor(float16)": np.float16}


def graph_run_options(number: int) -> ort.RunOptions:
    """Return the options of a run that records or replays the graph of that number."""
    options = ort.RunOptions()
    options.add_run_config_entry("gpu_graph_id", str(number))
    return options


@dataclass(frozen=True)
class _Recorded:
    inputs: dict[str, Any]
    outputs: dict[str, Any]
    binding: Any
    options: Any


class FixedBuffers:
    """For each shape of the input, buffers on the device and a graph of their own.

    The input is copied into its buffer, the graph runs, and the outputs are copied out: calls take turns.
    """

    def __init__(self, session: Any, device: str, index: int) -> None:
        self._session = session
        self._device = (device, index)
        self._lock = Lock()
        self._recorded: dict[tuple[object, ...], _Recorded] = {}

    @property
    def shapes(self) -> int:
        """How many shapes have buffers of their own."""
        return len(self._recorded)

    def run(self, output_names: list[str] | None, feed: dict[str, Any]) -> list[Any]:
        """Return the outputs of these names, all of them for None, as `InferenceSession.run` does."""
        names = output_names or [output.name for output in self._session.get_outputs()]
        arrays = {name: np.ascontiguousarray(value) for name, value in feed.items()}
        key = tuple((name, array.shape, str(array.dtype)) for name, array in sorted(arrays.items()))
        with self._lock:
            recorded = self._recorded.get(key)
            if recorded is None and len(self._recorded) < MAX_SHAPES:
                recorded = self._record(arrays)
                if recorded is not None:
                    self._recorded[key] = recorded
            if recorded is None:
                outputs: list[Any] = self._session.run(names, feed, graph_run_options(DISABLED))
                return outputs
            for name, array in arrays.items():
                recorded.inputs[name].update_inplace(array)
            self._session.run_with_iobinding(recorded.binding, recorded.options)
            return [np.array(recorded.outputs[name].numpy()) for name in names]

    def _record(self, arrays: dict[str, Any]) -> _Recorded | None:
        """Make the buffers of a shape; None where the graph does not say the shapes of its outputs."""
        sizes: dict[str, int] = {}
        for given in self._session.get_inputs():
            if given.name not in arrays:
                return None
            named = zip(given.shape, arrays[given.name].shape, strict=False)
            sizes.update({dimension: size for dimension, size in named if isinstance(dimension, str)})
        shapes = {output.name: [sizes.get(d, d) for d in output.shape] for output in self._session.get_outputs()}
        types = {output.name: _TYPES.get(output.type) for output in self._session.get_outputs()}
        known = all(isinstance(size, int) for shape in shapes.values() for size in shape)
        if not known or None in types.values():
            return None
        binding = self._session.io_binding()
        inputs = {name: ort.OrtValue.ortvalue_from_numpy(array, *self._device) for name, array in arrays.items()}
        outputs = {
            name: ort.OrtValue.ortvalue_from_shape_and_type(shape, types[name], *self._device)
            for name, shape in shapes.items()
        }
        for name, value in inputs.items():
            binding.bind_ortvalue_input(name, value)
        for name, value in outputs.items():
            binding.bind_ortvalue_output(name, value)
        # Onnxruntime keeps the number 0 to itself.
        return _Recorded(inputs, outputs, binding, graph_run_options(len(self._recorded) + 1))

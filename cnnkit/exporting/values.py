"""Intermediate values: of PyTorch's layers by hooks, of an ONNX graph's nodes by a copy that gives them all out."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, nn

from cnnkit.runtime.graphs import scopes

Array = NDArray[Any]
Providers = Sequence[str | tuple[str, dict[str, str]]]
CPU: Providers = ("CPUExecutionProvider",)


@dataclass(frozen=True)
class Call:
    """One call of a layer without layers of its own: float64 values, with the batch first."""

    name: str
    module: nn.Module
    given: Array
    output: Array


def trace(network: nn.Module, batch: Tensor) -> list[Call]:
    """Run a network once and return the calls of its layers in their order, and as the last one its own, `logits`.

    Args:
        network: in evaluation mode; gives a tuple with the logits first.
        batch: what it takes.
    """
    calls: list[Call] = []

    def note(name: str) -> object:
        def hook(module: nn.Module, given: tuple[object, ...], output: object) -> None:
            if given and isinstance(given[0], Tensor) and isinstance(output, Tensor):
                # Copies: a layer that works in place changes what the one before gave.
                calls.append(Call(name, module, inputs.pop(name), _array(output)))

        return hook

    inputs: dict[str, Array] = {}

    def note_input(name: str) -> object:
        def hook(module: nn.Module, given: tuple[object, ...]) -> None:
            if given and isinstance(given[0], Tensor):
                inputs[name] = _array(given[0])

        return hook

    leaves = [(name, module) for name, module in network.named_modules() if not any(True for _ in module.children())]
    handles = [
        handle
        for name, module in leaves
        for handle in (module.register_forward_pre_hook(note_input(name)), module.register_forward_hook(note(name)))
    ]
    try:
        with torch.inference_mode():
            logits = network(batch)[0]
    finally:
        for handle in handles:
            handle.remove()
    return [*calls, Call("logits", network, _array(batch), _array(logits))]


def _array(tensor: Tensor) -> Array:
    return tensor.detach().double().cpu().numpy().copy()


class Graph:
    """An ONNX graph whose intermediate values can be read."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.nodes = list(model.graph.node)
        self.constants = {tensor.name: tensor for tensor in model.graph.initializer}
        for node in self.nodes:
            if node.op_type == "Constant" and node.attribute and node.attribute[0].HasField("t"):
                self.constants[node.output[0]] = node.attribute[0].t
        self.maker = {name: index for index, node in enumerate(self.nodes) for name in node.output if name}
        self._model = model

    @cached_property
    def scopes(self) -> list[tuple[str, ...]]:
        """For each node, the names of the modules that it comes from, outermost first; empty where none are noted."""
        return [scopes(node) for node in self.nodes]

    def constant(self, name: str) -> Array | None:
        """Return the value of a weight."""
        return numpy_helper.to_array(self.constants[name]) if name in self.constants else None

    def values(
        self, feed: dict[str, Array], *, providers: Providers = CPU, optimised: bool = False
    ) -> tuple[dict[str, Array], onnx.NodeProto | None]:
        """Return the floating-point values of all nodes that can run, in their order, and the first that cannot."""
        if (found := self._run(len(self.nodes), feed, providers, optimised)) is not None:
            return found, None
        runs, fails = 0, len(self.nodes)
        while fails - runs > 1:
            middle = (runs + fails) // 2
            if self._run(middle, feed, providers, optimised) is None:
                fails = middle
            else:
                runs = middle
        return self._run(runs, feed, providers, optimised) or {}, self.nodes[runs]

    def _run(
        self, count: int, feed: dict[str, Array], providers: Providers, optimised: bool
    ) -> dict[str, Array] | None:
        """Run the first nodes only, which come before all that need them."""
        part = onnx.ModelProto()
        part.CopyFrom(self._model)
        # The shapes that are noted are those of the whole graph as it was exported.
        for field in ("value_info", "output"):
            part.graph.ClearField(field)
        del part.graph.node[count:]
        names = [name for node in part.graph.node for name in node.output if name and node.op_type != "Constant"]
        part.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.add_session_config_entry("session.load_model_format", "ONNX")
        if not optimised:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            session = ort.InferenceSession(
                part.SerializeToString(), options, providers=list(providers), enable_fallback=0
            )
            found = dict(zip(names, session.run(names, feed) if names else [], strict=True))
        except Exception:  # onnxruntime raises its own types
            return None
        return {
            name: value
            for name, value in found.items()
            if isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.ndim
        }

    def between(self, name: str, agreed: set[str]) -> list[int]:
        """Return the places of the nodes from which a value comes, back to values that agree."""
        seen: set[int] = set()
        waiting = [name]
        while waiting:
            name = waiting.pop()
            place = self.maker.get(name)
            if place is None or place in seen or name in agreed:
                continue
            seen.add(place)
            waiting.extend(self.nodes[place].input)
        return sorted(seen)

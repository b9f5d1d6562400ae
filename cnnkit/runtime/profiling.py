"""Where onnxruntime spends its time: its own profile of some runs, node by node."""

import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as ort

from cnnkit.errors import OnnxError, UsageError
from cnnkit.runtime.guard import Checked
from cnnkit.runtime.libraries import PROVIDER_NAMES
from cnnkit.runtime.providers import parse_device
from cnnkit.runtime.results import GraphProfile, NodeTime
from cnnkit.runtime.session import open_session

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

_WARM_UP_SECONDS = 0.3
_SECONDS = 1.0
_RUNS = 10
"""At least, of the warm-up as of the measurement."""
_MOST_EVENTS = 500_000
"""onnxruntime keeps a million, and what comes later is lost."""
_TIME_SUFFIX = "_kernel_time"


def profile(checked: Checked, name: str, sizes: Mapping[str, tuple[int, ...]], *, device: str = "auto") -> GraphProfile:
    """Run a file on noise and return what its nodes took, as onnxruntime's own profiler measures it.

    Args:
        checked: the file.
        name: what to call it in errors.
        sizes: of the inputs by name, with the batch.
        device: as in `open_session`.

    Raises:
        OnnxError: it does not run.
        DeviceError: the device cannot be used here.
        UsageError: not one of these devices, or a batch that does not fit into memory.
    """
    # Where and how this session runs, the profiled one does; but a recorded graph shows no nodes.
    placement = open_session(checked.source, name, device=device).placement
    chosen = replace(placement.options, graph=False)
    kind = next(kind for kind, shown in PROVIDER_NAMES.items() if shown == placement.device)
    providers = chosen.for_provider(kind, parse_device(device)[1], checked.source)
    with tempfile.TemporaryDirectory() as folder:
        options = chosen.for_session(kind)
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = ort.InferenceSession(checked.source, options, providers=providers, enable_fallback=0)
        try:
            warm, runs = _run(session, sizes, len(checked.model.graph.node))
        except UsageError:
            raise
        except Exception as error:  # onnxruntime raises its own types
            reason = " ".join(str(error).split())[:300]
            several = any(size[:1] > (1,) for size in sizes.values())
            hint = ". Its layers may be made for one image at a time: leave out --batch." if several else ""
            raise OnnxError(f"{name} failed on {list(sizes.values())}: {reason}{hint}") from error
        finally:
            written = Path(session.end_profiling())
        events = json.loads(written.read_text("utf-8"))
    return _summarise(events, checked.model, warm, runs)


def _run(session: ort.InferenceSession, sizes: Mapping[str, tuple[int, ...]], nodes: int) -> tuple[int, int]:
    """Run until warm, then measured; return how often each."""
    try:
        feeds = {given.name: _noise(given.type, sizes[given.name]) for given in session.get_inputs()}
    except (MemoryError, ValueError) as error:
        raise UsageError(f"inputs of {list(sizes.values())} do not fit into memory; use a smaller --batch.") from error
    counts = []
    for seconds in (_WARM_UP_SECONDS, _SECONDS):
        end, count = time.perf_counter() + seconds, 0
        most = max(_RUNS, _MOST_EVENTS // (2 * nodes + 2))
        while count < _RUNS or (time.perf_counter() < end and count < most):
            session.run(None, feeds)
            count += 1
        counts.append(count)
    return counts[0], counts[1]


def _noise(kind: str, size: tuple[int, ...]) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(0)
    if kind == "tensor(uint8)":
        return rng.integers(0, 256, size, np.uint8)
    types = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}
    if kind in types:
        return rng.random(size, np.float32).astype(types[kind])
    if kind == "tensor(string)":
        return np.full(size, "", object)
    return np.zeros(size, np.dtype(kind.removeprefix("tensor(").removesuffix(")")))


def _summarise(events: list[dict[str, Any]], model: "ModelProto", warm: int, runs: int) -> GraphProfile:
    """Take the mean over the measured runs.

    Each run is one `model_run` event, which spans those of its nodes; a node in the body of a branch may have run less
    often than the others.
    """
    spans = sorted(
        (event["ts"], event["ts"] + event["dur"])
        for event in events
        if event.get("cat") == "Session" and event["name"] == "model_run"
    )[warm:]
    if not spans:
        raise OnnxError("onnxruntime measured no run; is this build made without its profiler?")
    begin = spans[0][0]
    totals: dict[tuple[str, str], float] = defaultdict(float)
    about: dict[tuple[str, str], dict[str, Any]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(_TIME_SUFFIX) and event["ts"] >= begin:
            key = event["name"].removesuffix(_TIME_SUFFIX), event["args"].get("node_index", "")
            totals[key] += event["dur"]
            about.setdefault(key, event["args"])
    whole = sum(totals.values()) or 1.0
    origins = _origins([(name, about[name, index]["op_name"]) for name, index in totals], model)
    return GraphProfile(
        runs=runs,
        run_ms=sum(end - start for start, end in spans) / len(spans) / 1e3,
        nodes=tuple(
            NodeTime(
                name=key[0] or about[key]["op_name"],
                kind=about[key]["op_name"],
                provider=about[key].get("provider", "").removesuffix("ExecutionProvider"),
                time_ms=total / runs / 1e3,
                share=total / whole,
                file_nodes=files,
            )
            for (key, total), files in zip(totals.items(), origins, strict=True)
        ),
    )


def _origins(ran: list[tuple[str, str]], model: "ModelProto") -> list[tuple[str, ...]]:
    """Find the nodes of the file behind the nodes of a run, given by name and operator.

    Optimised nodes bear the name of a node of the file or of its result, with endings such as `_nchwc`. What was fused
    into them lies before or after them in the file and bears no name of a run.
    """
    by_name = {node.name: node for node in model.graph.node if node.name}
    producers = {output: node for node in model.graph.node for output in node.output if output}
    consumers: dict[str, list[NodeProto]] = defaultdict(list)
    for node in model.graph.node:
        for name in node.input:
            consumers[name].append(node)
    claimed: set[str] = set()

    def key(node: "NodeProto") -> str:
        return str(node.output[0])

    def named(name: str) -> "NodeProto | None":
        while name:
            found: NodeProto | None = by_name.get(name) or producers.get(name)
            if found is not None:
                return found
            name = name.rpartition("_")[0] if "_nchwc" in name or "_fused" in name or "_quant" in name else ""
        return None

    groups: list[list[NodeProto]] = []
    for name, kind in ran:
        node = None if kind.startswith("Reorder") else named(name.removeprefix("fused "))
        group = [node] if node is not None and key(node) not in claimed else []
        claimed.update(map(key, group))
        groups.append(group)
    for group, (_, kind) in zip(groups, ran, strict=True):
        # Before: back to the node that is of the operator that ran.
        while group and group[0].op_type != kind:
            before = [producers[i] for i in group[0].input if i in producers and key(producers[i]) not in claimed]
            if len(before) != 1:
                break
            claimed.add(key(before[0]))
            group.insert(0, before[0])
    for group in groups:
        # After: on while the only user of the result is a node that did not run by itself.
        while group:
            after = consumers[group[-1].output[0]]
            if len(after) != 1 or key(after[0]) in claimed:
                break
            claimed.add(key(after[0]))
            group.append(after[0])
    return [tuple(node.name or key(node) for node in group) for group in groups]

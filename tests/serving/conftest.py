"""A real server in a process of its own."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, build_opener

import httpx
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from cnnkit import zoo
from cnnkit.card import CARD_KEY, ModelCard
from cnnkit.images import Preprocessing

ROOT = Path(__file__).parents[2]

GATED = Path(__file__).with_name("gated.py")

# Quicker than httpx. urllib itself keeps the proxies of its first call, which may be those of a test of being offline.
urlopen = build_opener(ProxyHandler({})).open


@dataclass
class RunningServer:
    """`cnnkit serve` with its log as JSON."""

    process: subprocess.Popen[str]
    events: "queue.Queue[dict[str, Any]]"
    url: str = ""
    log: list[dict[str, Any]] = field(default_factory=list)

    def wait_for(self, event: str, seconds: float = 60) -> dict[str, Any]:
        """Return the next line of the log about an event."""
        deadline = time.monotonic() + seconds
        while True:
            entry = self.events.get(timeout=max(0.01, deadline - time.monotonic()))
            if entry.get("event") == event:
                return entry

    def stop(self, number: int = signal.SIGTERM, seconds: float = 60) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(seconds)


def wait_until(is_so: Callable[[], bool], seconds: float = 60) -> None:
    """Look again and again."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def start_server(*arguments: object, program: Sequence[object] = ("-m", "cnnkit"), **environment: str) -> RunningServer:
    """Start a server on a free port, without waiting for it."""
    given = ["serve", *arguments, "--port", 0, "--log-format", "json"]
    command = [sys.executable, *map(str, [*program, *given])]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env={**os.environ, **environment},
        start_new_session=True,  # as a terminal would have it: `os.killpg` is its Ctrl-C
    )
    events: queue.Queue[dict[str, Any]] = queue.Queue()
    running = RunningServer(process, events)

    def read() -> None:
        with process.stderr as lines:
            for line in lines:
                entry = json.loads(line) if line.startswith("{") else {"event": "text", "message": line}
                running.log.append(entry)
                events.put(entry)
        events.put({"event": "end"})

    threading.Thread(target=read, daemon=True).start()
    return running


@pytest.fixture(scope="session")
def serve_forever() -> Iterator[Callable[..., RunningServer]]:
    """Start servers that all tests of the session may use: `serve_forever("lenet")`."""
    yield from _servers()


@pytest.fixture
def serve() -> Iterator[Callable[..., RunningServer]]:
    """Start servers for one test: `serve("lenet", "--max-batch", 4)`."""
    yield from _servers()


def _servers() -> Iterator[Callable[..., RunningServer]]:
    running: list[RunningServer] = []

    def start(*arguments: object, **options: Any) -> RunningServer:
        server = start_server(*arguments, **options)
        running.append(server)
        server.url = server.wait_for("serving")["url"]
        return server

    yield start
    for server in running:
        server.process.send_signal(signal.SIGINT)
    for server in running:
        try:
            server.process.wait(5)
        except subprocess.TimeoutExpired:
            server.process.kill()
            server.process.wait()


@pytest.fixture(scope="session")
def server(serve_forever: Callable[..., RunningServer]) -> RunningServer:
    """A server of `lenet`, `digits` and `shapes-cnn` with the default settings."""
    return serve_forever("lenet", "digits", "shapes-cnn")


@pytest.fixture
def client(server: RunningServer) -> Iterator[httpx.Client]:
    """An HTTP client of that server."""
    with httpx.Client(base_url=server.url, timeout=20) as made:
        yield made


@pytest.fixture(scope="session")
def hasty(serve_forever: Callable[..., RunningServer]) -> RunningServer:
    """A server that waits half a second for a request, and takes 10 KB."""
    return serve_forever("lenet", "--receive-seconds", 0.5, "--max-body-mb", 0.01)


def make_model(*, seed: int = 0, classes: int = 4, side: int = 16, scale: float = 1.0, divides: bool = False) -> bytes:
    """Return an ONNX file for grey images with one linear layer; one that divides gives NaN for black ones."""
    rng = np.random.default_rng(seed)
    nodes = [
        helper.make_node("Cast", ["image"], ["values"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["values"], ["flat"]),
        helper.make_node("ReduceMax", ["flat"], ["most"], axes=[1], keepdims=1),
        helper.make_node("Div", ["flat", "most"], ["divided"]),
        helper.make_node("MatMul", ["divided" if divides else "flat", "table"], ["logits"]),
    ]
    nodes = nodes if divides else [nodes[0], nodes[1], nodes[-1]]
    table = rng.normal(0, 0.01 * scale, (side * side, classes)).astype(np.float32)
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", side, side, 1])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", classes])
    stored = [numpy_helper.from_array(table, "table")]
    graph = helper.make_graph(nodes, "net", [image], [logits], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    labels = tuple(f"class {index}" for index in range(classes))
    form = Preprocessing(1, side, side, (0.0,), (1.0,), fit="stretch")
    helper.set_model_props(model, {CARD_KEY: ModelCard(model="own:net", labels=labels, preprocessing=form).to_json()})
    return model.SerializeToString()


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """While this file is there, servers of `gated` work on nothing: `gate.unlink()` opens it."""
    path = tmp_path / "gate"
    path.touch()
    return path


@pytest.fixture
def gated(serve: Callable[..., RunningServer], gate: Path) -> Iterator[Callable[..., RunningServer]]:
    """Start servers of a model `slow` behind the gate: `gated("--max-batch", 1)`."""
    model = f"slow={zoo.folder() / 'digits' / 'model.onnx'}"
    yield lambda *arguments: serve(model, *arguments, program=[GATED], GATE=str(gate))
    gate.unlink(missing_ok=True)


@pytest.fixture(scope="session")
def seven() -> bytes:
    """A PNG file of a seven, drawn dark on light."""
    return (ROOT / "docs" / "images" / "seven.png").read_bytes()

"""A real server in a process of its own."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, build_opener

import httpx
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from cnnkit.card import CARD_KEY, ModelCard
from cnnkit.images import Preprocessing

ROOT = Path(__file__).parents[2]

# Quicker than httpx. urllib itself keeps the proxies of its first call, which may be those of a test of being offline.
urlopen = build_opener(ProxyHandler({})).open


@dataclass
class RunningServer:
    """`cnnkit serve` with its log as JSON."""

    process: subprocess.Popen[str]
    events: "queue.Queue[dict[str, Any]]"
    url: str = ""
    log: list[dict[str, Any]] = field(default_factory=list)

    def wait_for(self, event: str, seconds: float = 20) -> dict[str, Any]:
        """Return the next line of the log about an event."""
        deadline = time.monotonic() + seconds
        while True:
            entry = self.events.get(timeout=max(0.01, deadline - time.monotonic()))
            if entry.get("event") == event:
                return entry

    def stop(self, number: int = signal.SIGTERM, seconds: float = 20) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(seconds)


def start_server(*arguments: object, **environment: str) -> RunningServer:
    """Start a server on a free port, without waiting for it."""
    command = [sys.executable, "-m", "cnnkit", "serve", *map(str, arguments), "--port", "0", "--log-format", "json"]
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
        for line in process.stderr:
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

    def start(*arguments: object, **environment: str) -> RunningServer:
        server = start_server(*arguments, **environment)
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
        server.process.stderr.close()


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


def make_model(*, layers: int = 0, seed: int = 0, classes: int = 4, side: int = 16, scale: float = 1.0) -> bytes:
    """Return an ONNX file for grey images: some ms of convolutions for each layer, then a linear one."""
    rng = np.random.default_rng(seed)
    nodes = [
        helper.make_node("Cast", ["image"], ["values"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["values"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Concat", ["planes"] * 16, ["x0"], axis=1),
        *(
            helper.make_node("Conv", [f"x{index}", "kernel"], [f"x{index + 1}"], pads=[1, 1, 1, 1], name=f"conv{index}")
            for index in range(layers)
        ),
        helper.make_node("Flatten", [f"x{layers}"], ["flat"]),
        helper.make_node("MatMul", ["flat", "table"], ["logits"]),
    ]
    table = rng.normal(0, 0.01 * scale, (16 * side * side, classes)).astype(np.float32)
    kernel = rng.normal(0, 0.06, (16, 16, 3, 3)).astype(np.float32)
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", side, side, 1])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", classes])
    stored = [numpy_helper.from_array(table, "table"), numpy_helper.from_array(kernel, "kernel")]
    graph = helper.make_graph(nodes, "net", [image], [logits], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    labels = tuple(f"class {index}" for index in range(classes))
    form = Preprocessing(1, side, side, (0.0,), (1.0,), fit="stretch")
    helper.set_model_props(model, {CARD_KEY: ModelCard(model="own:net", labels=labels, preprocessing=form).to_json()})
    return model.SerializeToString()


@pytest.fixture
def slow(tmp_path: Path) -> Path:
    """A file whose network takes about half a second for an image."""
    path = tmp_path / "slow.onnx"
    path.write_bytes(make_model(layers=2000, side=96))
    return path


@pytest.fixture(scope="session")
def seven() -> bytes:
    """A PNG file of a seven, drawn dark on light."""
    return (ROOT / "docs" / "images" / "seven.png").read_bytes()

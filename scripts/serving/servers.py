"""Servers as processes of their own, on ports of their own: cnnkit's, LitServe's, and a bare function on uvicorn."""

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import psutil  # type: ignore[import-untyped]
from PIL import Image

import cnnkit
from cnnkit import images, zoo

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0
READY = "/v2/health/ready"
LENET = zoo.folder() / zoo.entry("lenet").name / "model.onnx"


class ServerError(Exception):
    """A server that did not start."""


@dataclass(frozen=True)
class Server:
    """A running server; `log` is where its output goes, `started` when its process was, by `time.perf_counter`."""

    name: str
    process: psutil.Popen
    port: int
    log: Path
    started: float

    def get(self, path: str) -> tuple[int, bytes]:
        """Return the status and the body that a GET is answered with."""
        return self.ask("GET", path)

    def ask(self, method: str, path: str, body: bytes | None = None, kind: str = "image/png") -> tuple[int, bytes]:
        """Return the status and the body that one request on a connection of its own is answered with."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, body, {"Content-Type": kind} if body is not None else {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def memory_mib(self) -> float:
        """Return the resident memory of the process and of those that it started."""
        found = 0
        for process in (self.process, *self.process.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                found += int(process.memory_info().rss)
        return found / 2**20

    def cpu_seconds(self) -> float:
        """Return the processor time of the process and of those that it started."""
        times = [process.cpu_times() for process in (self.process, *self.process.children(recursive=True))]
        return float(sum(each.user + each.system for each in times))

    def stop(self, patience: float = PATIENCE) -> int:
        """Send SIGTERM and return the exit code; who does not heed it for so many seconds is killed, children too."""
        with suppress(psutil.NoSuchProcess):
            family = [self.process, *self.process.children(recursive=True)]
            self.process.terminate()
            for process in psutil.wait_procs(family, timeout=patience)[1]:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
        return int(self.process.wait())

    def tail(self) -> str:
        """Return the end of what it printed."""
        return self.log.read_text("utf-8", "replace")[-3000:]


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def launch(name: str, command: Sequence[str], folder: Path, ready: str = READY) -> Server:
    """Start a server whose command has `{port}` in it, and wait until `GET ready` gives 200.

    Raises:
        ServerError: it ends, or is not ready within `PATIENCE` seconds.
    """
    port = free_port()
    log = folder / f"{name.split(maxsplit=1)[0]}-{port}.log"
    arguments = [part.format(port=port) for part in command]
    variables = {"PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}", "PYTHONUNBUFFERED": "1"}
    with log.open("wb") as output:
        started = time.perf_counter()
        process = psutil.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env={**os.environ, **variables}
        )
    server = Server(name, process, port, log, started)
    wait_until_ready(server, ready)
    return server


def wait_until_ready(server: Server, path: str) -> float:
    """Poll every millisecond; return the seconds from the start of the process to the first answer 200."""
    until = server.started + PATIENCE
    while time.perf_counter() < until:
        if server.process.poll() is not None:
            raise ServerError(f"{server.name} ended with exit code {server.process.returncode}:\n{server.tail()}")
        with suppress(OSError, http.client.HTTPException):
            if server.get(path)[0] == 200:
                return time.perf_counter() - server.started
        time.sleep(0.001)
    server.process.kill()
    raise ServerError(f"{server.name} is not ready after {PATIENCE:.0f} s:\n{server.tail()}")


@contextmanager
def running(
    name: str, command: Sequence[str], folder: Path, ready: str = READY, *, patience: float = PATIENCE
) -> Iterator[Server]:
    """Start a server, and stop it in the end."""
    server = launch(name, command, folder, ready)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.stop(patience)


def cnnkit_command(*arguments: str | Path) -> list[str]:
    """Return the command line of `cnnkit serve` on a port that `launch` fills in."""
    return [sys.executable, "-m", "cnnkit", "serve", *map(str, arguments), "--port", "{port}"]


def contender_command(module: str, *arguments: str | Path) -> list[str]:
    """Return the command line of one of the other servers in this folder."""
    return [sys.executable, str(Path(__file__).with_name(f"{module}.py")), *map(str, arguments), "--port", "{port}"]


def digit() -> bytes:
    """Return the PNG file that all servers are asked about: a drawn seven in MNIST's form, 28×28 and grey."""
    drawing = ROOT / "docs" / "images" / "seven.png"
    pixels = images.prepare(drawing, cnnkit.load("lenet").card.preprocessing).pixels
    file = BytesIO()
    Image.fromarray(pixels[..., 0]).save(file, "PNG")
    return file.getvalue()


def post(path: str, body: bytes, kind: str, *headers: str) -> bytes:
    """Return the bytes of a POST request."""
    lines = (f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Type: {kind}", f"Content-Length: {len(body)}")
    return "\r\n".join((*lines, *headers, "", "")).encode() + body


def label_of(body: bytes) -> str:
    """Return the label in an answer of any of the servers."""
    return str(json.loads(body)["label"])

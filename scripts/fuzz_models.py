"""Hostile ONNX files through `predict` and through the reload of a running server: no crash, and no hang.

    python scripts/fuzz_models.py --mutants 40000 --built 10000          (hours)
    python scripts/fuzz_models.py --mutants 4000 --start 8000 --seed 0   (a part of the same files)

Each file is opened by a process that opens one after the other as `cnnkit predict` does, with the real trial in another
one, and then put in place of the file of a running server, which is asked to reload it. A crash is an end of either; a
hang is more than --seconds for one of the two, three times. Such files are saved. Exit code 1: there were some.
"""

import argparse
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from random import Random

from random_models import built, classifier, mutated
from serving.figures import headline
from serving.servers import Server, cnnkit_command, launch

OPENER = """
import sys, numpy as np
from pathlib import Path
import cnnkit
from cnnkit.errors import CnnkitError
image = np.arange(108, dtype=np.uint8).reshape(6, 6, 3)
for line in sys.stdin:
    try:
        cnnkit.load(Path(line.strip()), device="cpu").predict([image])
        said = "opened"
    except CnnkitError as error:
        text = str(error)
        ended = ("ends onnxruntime", "s of a processor", "takes more than")
        said = next((each for each in ended if each in text), "refused")
    print(said, flush=True)
"""
_WORST = 60.0
"""Seconds after which what hangs is given up."""


class Opener:
    """A process that opens files."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", OPENER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            text=True,
        )  # fmt: skip
        self._said: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self.process.stdout or ():
            self._said.put(line.strip())
        self._said.put("")

    def open(self, path: Path) -> str:
        """Return what became of a file; `crash` or `hang` for the worst."""
        try:
            assert self.process.stdin is not None  # noqa: S101
            self.process.stdin.write(f"{path}\n")
            self.process.stdin.flush()
            return self._said.get(timeout=_WORST) or "crash"
        except OSError:
            return "crash"
        except queue.Empty:
            return "hang"


def reload(server: Server) -> str:
    """Ask a server to reload its file, and see that it still answers."""
    try:
        status, body = server.ask("POST", "/admin/reload", json.dumps({"model": "net"}).encode(), "application/json")
        if status not in {200, 422} or server.get("/v2/health/ready")[0] != 200:
            return f"status {status}: {body[:200]!r}"
    except OSError as error:
        return "crash" if server.process.poll() is not None else f"no answer ({error})"
    return "reloaded" if status == 200 else "kept"


def main() -> None:
    """Make the files, open each, and count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutants", type=int, default=0, help="mutated files")
    parser.add_argument("--built", type=int, default=0, help="graphs built at random")
    parser.add_argument("--start", type=int, default=0, help="number of the first file of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=5.0, help="longer than this is a hang")
    parser.add_argument("--save", type=Path, default=Path("fuzz-failures"), help="folder for what fails")
    given = parser.parse_args()
    todo = [("mutant", mutated, number) for number in range(given.start, given.start + given.mutants)]
    todo += [("built", built, number) for number in range(given.start, given.start + given.built)]
    with tempfile.TemporaryDirectory() as name:
        os.environ["XDG_CACHE_HOME"] = name
        trials = Trials(Path(name), given.seconds, given.save)
        for count, (kind, make, number) in enumerate(todo, 1):
            trials.open(f"{kind}-{given.seed}-{number}", make(Random(f"{kind}-{given.seed}-{number}")))  # noqa: S311
            if count % 500 == 0:
                print(f"{count:,} files, {len(trials.bad)} failures", flush=True)
        status = trials.close()
    print(headline(["cnnkit", "onnxruntime", "onnx"]))
    for what, count in sorted(trials.counts.items()):
        print(f"{count:>7,}  {what}")
    print(f"{len(todo):,} files, slowest {trials.slowest:.1f} s: {len(trials.bad)} failures, exit code {status}")
    sys.exit(1 if trials.bad or status else 0)


class Trials:
    """A process that opens files and a server that reloads them, and what became of each file."""

    def __init__(self, folder: Path, seconds: float, save: Path) -> None:
        self.counts: Counter[str] = Counter()
        self.bad: list[str] = []
        self.slowest = 0.0
        self._folder, self._seconds, self._save = folder, seconds, save
        self._start_server()
        self._opener = Opener()

    def _start_server(self) -> None:
        self._served = self._folder / "net.onnx"
        self._served.write_bytes(classifier().SerializeToString())
        command = cnnkit_command(self._served, "--admin", "--no-watch", "--device", "cpu")
        self._server = launch("cnnkit", command, self._folder)

    def open(self, name: str, content: bytes) -> None:
        """Open a file in both, and count what happens."""
        for _ in range(3):  # what is slow on a busy machine once is no hang
            said, then, seconds = self._open(content)
            if seconds <= self._seconds or said == "hang":
                break
        self.slowest = max(self.slowest, seconds)
        kind = name.partition("-")[0]
        self.counts.update([f"{kind}: predict {said}", f"{kind}: server {then.partition(':')[0]}"])
        if said in {"crash", "hang"} or then not in {"reloaded", "kept"} or seconds > self._seconds:
            self.bad.append(f"{name}: predict {said}, server {then}, {seconds:.1f} s")
            self._save.mkdir(parents=True, exist_ok=True)
            (self._save / f"{name}.onnx").write_bytes(content)
            print(self.bad[-1], flush=True)
        if said in {"crash", "hang"}:
            self._opener.process.kill()
            self._opener = Opener()
        if self._server.process.poll() is not None:
            self._start_server()

    def _open(self, content: bytes) -> tuple[str, str, float]:
        file = self._folder / "file.onnx"
        file.write_bytes(content)
        started = time.perf_counter()
        said = self._opener.open(file)
        middle = time.perf_counter()
        file.replace(self._served)
        then = reload(self._server)
        return said, then, max(middle - started, time.perf_counter() - middle)

    def close(self) -> int:
        """End both; return the server's exit code."""
        self._opener.process.kill()
        return self._server.stop()


if __name__ == "__main__":
    main()

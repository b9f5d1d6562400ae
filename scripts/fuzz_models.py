"""Hostile ONNX files through `predict` and through the reload of a running server: no crash, and no hang.

    python scripts/fuzz_models.py --mutants 40000 --built 10000          (about three hours on one core)
    python scripts/fuzz_models.py --mutants 4000 --start 8000 --seed 0   (a part of the same files)

Each file is opened by a process that opens one after the other as `cnnkit predict` does, with the real trial in a child
process, and then put in place of the file of a running server, which is asked to reload it. A crash is an end of either
process; a hang is more than --seconds for one of the two. Files that did that are saved. Exit code 1: there were some.
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
    os.nice(10) if hasattr(os, "nice") else None
    todo = [("mutant", mutated, n) for n in range(given.start, given.start + given.mutants)]
    todo += [("built", built, n) for n in range(given.start, given.start + given.built)]
    counts: Counter[str] = Counter()
    bad, slowest, began = [], 0.0, time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["XDG_CACHE_HOME"] = name
        served, file = folder / "net.onnx", folder / "file.onnx"
        served.write_bytes(classifier().SerializeToString())
        command = cnnkit_command(served, "--admin", "--no-watch", "--device", "cpu")
        opener, server = Opener(), launch("cnnkit", command, folder)
        for kind, make, number in todo:
            content = make(Random(f"{kind}-{given.seed}-{number}"))  # noqa: S311
            file.write_bytes(content)
            started = time.perf_counter()
            said = opener.open(file)
            middle = time.perf_counter()
            beside = folder / ".net"
            beside.write_bytes(content)
            beside.replace(served)
            then = reload(server)
            seconds = max(middle - started, time.perf_counter() - middle)
            slowest = max(slowest, seconds)
            counts.update([f"{kind}: predict {said}", f"{kind}: server {then.partition(':')[0]}"])
            if said in {"crash", "hang"} or then not in {"reloaded", "kept"} or seconds > given.seconds:
                bad.append(f"{kind} {number}: predict {said}, server {then}, {seconds:.1f} s")
                given.save.mkdir(parents=True, exist_ok=True)
                (given.save / f"{kind}-{given.seed}-{number}.onnx").write_bytes(content)
                print(bad[-1], flush=True)
            if said in {"crash", "hang"}:
                opener.process.kill()
                opener = Opener()
            if server.process.poll() is not None:
                served.write_bytes(classifier().SerializeToString())
                server = launch("cnnkit", command, folder)
            if (number + 1) % 500 == 0:
                print(f"{kind} {number + 1}: {time.perf_counter() - began:.0f} s", flush=True)
        opener.process.kill()
        status = server.stop()
    print(headline(["cnnkit", "onnxruntime", "onnx"]))
    for what, count in sorted(counts.items()):
        print(f"{count:>7,}  {what}")
    print(f"{len(todo):,} files in {time.perf_counter() - began:.0f} s; slowest {slowest:.1f} s; {len(bad)} failures; "
          f"the server's exit code is {status}")  # fmt: skip
    sys.exit(1 if bad or status else 0)


if __name__ == "__main__":
    main()

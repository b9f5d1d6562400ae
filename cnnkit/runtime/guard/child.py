"""The process that opens a file first: it may crash, hang or run out of memory, and nobody else is hurt.

It is started by its path, without site-packages' start-up code and without cnnkit: it needs numpy and onnxruntime.
Its standard input brings one line of JSON and the file; its standard output takes one line of JSON.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

_MEMORY = ("bad_alloc", "allocat", "memory", "Alloc")
"""What onnxruntime and numpy say of memory that they did not get."""
_MOST_IMAGES = 64
"""That are run at a time: no more ever run together (see `cnnkit.runtime.classifier.OnnxNetwork`)."""
_KINDS = {
    "float": "float32",
    "float16": "float16",
    "double": "float64",
    "uint8": "uint8",
    "int8": "int8",
    "bool": "bool",
}
_KINDS |= {kind: kind for kind in ("int32", "int64")}


def main() -> None:
    """Read a request, obey its limits, run the file, and say what happened."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answer:
        os.dup2(2, 1)  # native code may print
        request = json.loads(sys.stdin.buffer.readline())
        sys.path[:] = request["path"]
        import onnxruntime as ort

        content = sys.stdin.buffer.read(request["bytes"])
        threading.Thread(target=_end_with_parent, daemon=True).start()
        _limit(request["memory"], request["seconds"])
        found: dict[str, Any] = {"failed": "", "memory": False, "most": 0}
        try:
            sizes, batched = request["sizes"], request["batched"]
            found["most"] = _run(ort, content, sizes, batched, 0.3 * request["seconds"])
        except Exception as error:
            text = " ".join(str(error).split())[:300] or type(error).__name__
            found |= {"failed": text, "memory": any(word in repr(error) for word in ("MemoryError", *_MEMORY))}
        answer.write(json.dumps(found))
    os._exit(0)  # nothing else of the file's runs


def _end_with_parent() -> None:
    sys.stdin.buffer.read()  # ends when the other end is closed, whatever became of it
    os._exit(1)


def _limit(memory: int, seconds: int) -> None:
    """Limit what this process may take from here on, where the system can."""
    with suppress(OSError):  # Linux: when memory runs out, this process goes first
        Path("/proc/self/oom_score_adj").write_text("1000", "ascii")
    with suppress(ImportError):  # Windows
        import resource

        with suppress(OSError):  # Linux: what is mapped now is no memory of the file
            memory += int(Path("/proc/self/statm").read_text("ascii").split()[0]) * resource.getpagesize()
        for kind, most in (("AS", memory), ("CPU", int(time.process_time()) + seconds), ("CORE", 0)):
            with suppress(OSError, ValueError):  # a lower limit is set, or macOS knows none
                limit = getattr(resource, f"RLIMIT_{kind}")
                hard = resource.getrlimit(limit)[1]
                resource.setrlimit(limit, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _run(ort: Any, content: bytes, sizes: dict[str, list[int]], batched: str, seconds: float) -> int:
    """Run the file on one image, on extreme ones, and on several at a time, each for so many seconds at most.

    Returns:
        the most images that ran at a time.
    """
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.load_model_format", "ONNX")
    session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    began = time.process_time()
    feeds = _feeds(session, sizes)
    for feed in islice(feeds, 1):  # that must work
        session.run(None, feed)
    took = time.process_time() - began
    for feed in feeds:
        if time.process_time() - began + took > seconds:
            break
        session.run(None, feed)
    most = 1
    try:
        for count in (2, _largest(seconds, took)) if batched else ():
            if count > most:
                for feed in islice(_feeds(session, {**sizes, batched: [count, *sizes[batched][1:]]}), 1):
                    session.run(None, feed)
                most = count
    except Exception as error:  # layers may be made for one image, and what they say then is no fault
        if any(word in repr(error) for word in _MEMORY):
            raise
    return most


def _largest(seconds: float, took: float) -> int:
    """Return a power of two: images that are quick enough together."""
    images = int(min(_MOST_IMAGES, max(1.0, seconds / max(took, 1e-9))))
    return 1 << (images.bit_length() - 1)


def _feeds(session: Any, size: dict[str, list[int]]) -> Iterator[dict[str, Any]]:
    """Yield inputs of one size: noise, zeros, the largest and smallest values, and what is no number."""
    import numpy as np

    kinds = {each.name: _KINDS.get(each.type.removeprefix("tensor(").rstrip(")"), "") for each in session.get_inputs()}
    if "" in kinds.values() or kinds.keys() != size.keys():
        return  # no numbers that images have: it is opened, and not run
    rng = np.random.default_rng(0)
    values = ("noise", 0, "max", "min", np.nan, np.inf)
    for start in range(0, len(values), max(1, min((shape or [1])[0] for shape in size.values()))):
        feed = {}
        for name, kind in kinds.items():
            array = np.zeros(size[name], kind)
            floating, rows = array.dtype.kind == "f", array.reshape((*array.shape, 1)[0], -1)
            for place, row in enumerate(rows):
                value = values[(start + place) % len(values)]
                if value == "noise":
                    row[:] = rng.random(row.size) * (1 if floating else 127)
                elif isinstance(value, str) and kind != "bool":
                    row[:] = getattr(np.finfo(kind) if floating else np.iinfo(kind), value)
                elif floating:
                    row[:] = value
            feed[name] = array
        yield feed


if __name__ == "__main__":
    main()

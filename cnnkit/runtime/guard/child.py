"""The process that opens a file first: it may crash, hang or run out of memory, and nobody else is hurt.

It is started by its path, without site-packages' start-up code and without cnnkit, and needs only numpy and onnxruntime.
Its standard input brings one line of JSON and the file; its standard output takes one line of JSON.
"""

import json
import os
import sys
import threading
import time
from contextlib import suppress
from typing import Any

_MEMORY = ("bad_alloc", "allocat", "memory", "Alloc")
"""What onnxruntime and numpy say of memory that they did not get."""


def main() -> None:
    """Read a request, obey its limits, run the file, and say what happened."""
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # native code may print
    request = json.loads(sys.stdin.buffer.readline())
    sys.path[:] = request["path"]
    import onnxruntime  # noqa: F401

    content = sys.stdin.buffer.read(request["bytes"])
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _limit(request["memory"], request["seconds"])
    answer.write(json.dumps(_tried(content, request["sizes"], 0.4 * request["seconds"])))
    answer.flush()
    os._exit(0)


def _end_with_parent() -> None:
    sys.stdin.buffer.read()  # ends when the other end is closed, whatever became of it
    os._exit(1)


def _limit(memory: int, seconds: int) -> None:
    """Limit what this process may take from here on, where the system can."""
    with suppress(OSError):  # Linux: when memory runs out, this process goes first
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write("1000")
    try:
        import resource
    except ImportError:  # Windows
        return
    with suppress(OSError, ValueError):
        with open("/proc/self/statm", encoding="ascii") as file:
            memory += int(file.read().split()[0]) * resource.getpagesize()
    used = int(time.process_time())
    for kind, most in (("AS", memory), ("CPU", used + seconds), ("CORE", 0)):
        with suppress(OSError, ValueError):  # a lower limit is set, or macOS knows none
            limit = getattr(resource, f"RLIMIT_{kind}")
            _, hard = resource.getrlimit(limit)
            resource.setrlimit(limit, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _tried(content: bytes, sizes: list[dict[str, list[int]]], seconds: float) -> dict[str, Any]:
    """Run the file on inputs of all sizes until the time is used up; only the first size must work."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.load_model_format", "ONNX")
    runs = 0
    try:
        session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        for number, size in enumerate(sizes):
            try:
                for feed in _feeds(session, size):
                    if runs and time.process_time() > seconds:
                        return {"runs": runs}
                    session.run(None, feed)
                    runs += 1
                    if number == 0 and len(sizes) > 1:
                        break  # the others go in pairs
            except Exception as error:
                if number == 0 or _is_memory(error):
                    raise
                sizes = sizes[:1]
        if len(sizes) == 1:
            for feed in _feeds(session, sizes[0]):
                if time.process_time() > seconds:
                    break
                session.run(None, feed)
                runs += 1
    except Exception as error:
        return {"failed": " ".join(str(error).split())[:300] or type(error).__name__, "memory": _is_memory(error)}
    return {"runs": runs}


def _is_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or any(word in str(error) for word in _MEMORY)


def _feeds(session: Any, size: dict[str, list[int]]) -> Any:
    """Yield inputs of one size: noise, zeros, the largest and smallest values, what is no number."""
    import numpy as np

    kinds = {"float": "float32", "float16": "float16", "double": "float64", "bool": "bool"}
    given = {each.name: each.type.removeprefix("tensor(").rstrip(")") for each in session.get_inputs()}
    kind = {name: np.dtype(kinds.get(text, text)) for name, text in given.items() if text != "string"}
    rng = np.random.default_rng(0)
    rows = max(1, next(((*shape, 1)[0] for shape in size.values()), 1))
    floating = any(each.kind == "f" for each in kind.values())
    values = ["noise", "zero", "most", "least", *(["nan", "inf"] if floating else [])]
    for start in range(0, len(values), rows):
        feed = {name: np.full(size[name], "", object) for name, text in given.items() if text == "string"}
        for name, dtype in kind.items():
            limits: Any = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype) if dtype.kind in "iu" else None
            array = np.zeros(size[name], dtype)
            table = array.reshape(array.shape[0] if array.ndim else 1, -1)
            for place in range(len(table)):
                value = values[(start + place) % len(values)]
                if value == "noise":
                    table[place] = (rng.random(table.shape[1]) * (1 if dtype.kind == "f" else 256)).astype(dtype)
                elif value in {"nan", "inf"} and dtype.kind == "f":
                    table[place] = float(value)
                elif limits is not None and value in {"most", "least"}:
                    table[place] = limits.max if value == "most" else limits.min
            feed[name] = array
        yield feed


if __name__ == "__main__":
    main()

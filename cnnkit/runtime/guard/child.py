"""The process that parses and opens a file first: it may crash, hang or run out of memory, and nobody else is hurt.

It is started by its path, without site-packages' start-up code. Its standard input brings a line of JSON and the
file; its standard output takes one line for each stage, and one with what was found.
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
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cnnkit.runtime.guard.preparing import Checked

_PARSED_BYTES, _RUN_BYTES = 2**29, 2**32
"""Of memory that a file may take while it is checked and while it runs, beside a few times its own size."""
_RUN_SECONDS = 1
"""Of the time that a file has, what is left for the run at least."""
_MEMORY = ("bad_alloc", "allocat", "memory", "Alloc")
"""What onnxruntime and numpy say of memory that they did not get."""
_MOST_IMAGES = 64
"""That are run at a time: no more ever run together (see `cnnkit.runtime.classifier.OnnxNetwork`)."""
_SHARE = 0.15
"""Of the time that a file has, what extreme images may take, and half of what several at a time may."""
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
    """Read a request, obey its limits, check and run the file, and say what happened."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answer:
        os.dup2(2, 1)  # native code may print
        request = json.loads(sys.stdin.buffer.readline())
        sys.path[:] = request["path"]
        import onnxruntime as ort

        from cnnkit.errors import CnnkitError
        from cnnkit.runtime.guard.preparing import prepare
        from cnnkit.runtime.guard.reading import parse
        from cnnkit.runtime.guard.trial import seconds_for

        content = sys.stdin.buffer.read(request["bytes"])
        began = int(time.process_time())
        threading.Thread(target=_end_with_parent, daemon=True).start()

        def say(**found: object) -> None:
            answer.write(json.dumps(found) + "\n")
            answer.flush()

        def allow(size: int, memory: int = _PARSED_BYTES, less: int = _RUN_SECONDS) -> None:
            _limit(memory + 8 * size, began + seconds_for(size) - less)
            say(seconds=seconds_for(size))

        file = None if request["file"] is None else Path(request["file"])
        try:
            allow(len(content))
            checked = prepare(parse(content, file, allow).model, **request["wanted"])
            allow(len(checked.content), _RUN_BYTES, 0)
            say(**_tried(ort, checked, seconds_for(len(checked.content)), run=request["wanted"]["run"]))
        except CnnkitError as error:
            say(refused=type(error).__name__, because=str(error), memory="bad_alloc" in str(error))
        except MemoryError:
            say(memory=True)
        except Exception as error:  # numbers, types and names that are none
            say(refused="OnnxError", because=f"it is damaged ({type(error).__name__}: {str(error)[:300]}).")
    os._exit(0)  # nothing else of the file's runs


def _end_with_parent() -> None:
    sys.stdin.buffer.read()  # ends when the other end is closed, whatever became of it
    os._exit(1)


def _limit(memory: int, seconds: int) -> None:
    """Limit the memory that this process may take from here on, and its processor time, where the system can."""
    with suppress(OSError):  # Linux: when memory runs out, this process goes first
        Path("/proc/self/oom_score_adj").write_text("1000", "ascii")
    with suppress(ImportError):  # Windows
        import resource

        with suppress(OSError):  # Linux: what is mapped now is no memory of the file
            memory += int(Path("/proc/self/statm").read_text("ascii").split()[0]) * resource.getpagesize()
        for kind, most in (("AS", memory), ("CPU", seconds), ("CORE", 0)):
            with suppress(OSError, ValueError):  # a lower limit is set, or macOS knows none
                limit = getattr(resource, f"RLIMIT_{kind}")
                hard = resource.getrlimit(limit)[1]
                resource.setrlimit(limit, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _tried(ort: Any, checked: "Checked", seconds: int, *, run: bool) -> dict[str, Any]:
    """Open and run a file, and return what is to be said of it."""
    from cnnkit.files import sha256

    found = {"sha256": sha256(checked.content), "failed": "", "most": 1}
    try:
        if run:
            found["most"] = _run(ort, checked, _SHARE * seconds)
    except Exception as error:
        if any(word in repr(error) for word in ("MemoryError", *_MEMORY)):
            raise MemoryError from error
        found["failed"] = " ".join(str(error).split())[:300] or type(error).__name__
    return found


def _run(ort: Any, checked: "Checked", seconds: float) -> int:
    """Run a file on one image, on extreme ones, and on two, four and so on at a time, as long as there is time.

    Returns:
        the most images that ran at a time.
    """
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.load_model_format", "ONNX")
    session = ort.InferenceSession(checked.content, options, providers=["CPUExecutionProvider"])
    sizes: dict[str, tuple[int, ...]] = dict(checked.sizes)
    began = time.process_time()
    feeds = _feeds(session, sizes)
    for feed in islice(feeds, 1):  # that must work
        session.run(None, feed)
    took = time.process_time() - began
    for feed in feeds:
        if time.process_time() - began + took > 2 * seconds:
            break
        session.run(None, feed)
    most = 1
    try:
        while checked.batched and 2 * most <= _MOST_IMAGES and 2 * most * took < 2 * seconds:
            sizes[checked.batched] = (2 * most, *sizes[checked.batched][1:])
            for feed in islice(_feeds(session, sizes), 1):
                session.run(None, feed)
            most *= 2
    except Exception as error:  # layers may be made for one image, and what they say then is no fault
        if any(word in repr(error) for word in _MEMORY):
            raise
    return most


def _feeds(session: Any, size: dict[str, tuple[int, ...]]) -> Iterator[dict[str, Any]]:
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

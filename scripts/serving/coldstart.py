"""From the start of the process to the first answer that says ready, and what of it is Python and its imports."""

import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from serving.figures import Figure, Part
from serving.servers import cnnkit_command, launch

BAR_SECONDS = 1.0
IMPORTS = {
    "python -c pass": "pass",
    "its imports of numpy, Pillow, onnxruntime and uvicorn": "import numpy, PIL.Image, onnxruntime, uvicorn",
}


def cold_start(folder: Path, rounds: int) -> Part:
    """Measure all in turn; the first round, which warms the file cache, does not count."""
    times: dict[str, list[float]] = {}
    command = cnnkit_command("lenet", "--workers", "1")
    for turn in range(rounds + 1):
        found = {}
        for name, code in IMPORTS.items():
            began = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            found[name] = time.perf_counter() - began
        server = launch("cnnkit", command, folder)
        found["cold start to ready, lenet"] = time.perf_counter() - server.started
        server.stop()
        for name, seconds in found.items() if turn else ():
            times.setdefault(name, []).append(seconds)
    figures = []
    for name, values in times.items():
        ours = name.startswith("cold")
        text = f"{median(values):.2f} s ({min(values):.2f}–{max(values):.2f})"
        figures.append(
            Figure(name, text, f"< {BAR_SECONDS:.0f} s" if ours else "", not ours or median(values) < BAR_SECONDS)
        )
    return Part("cold start", figures, {"seconds": times})

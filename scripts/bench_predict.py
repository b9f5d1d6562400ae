"""Cold start: `cnnkit predict IMAGE` against the shortest script that does the same, and `cnnkit --help`.

    python scripts/bench_predict.py IMAGE [--rounds 15]

The script is a bare onnxruntime session and Pillow on the same file. The two run in turn, whole processes, and the
ratio is taken round by round.
"""

import argparse
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

import onnxruntime

from cnnkit import zoo

BARE = """
import sys
import numpy as np
import onnxruntime as ort
from PIL import Image
image = Image.open(sys.argv[2]).convert("L").resize((28, 28))
session = ort.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
logits, probabilities = session.run(None, {"image": np.asarray(image)[None, :, :, None]})
print(probabilities.argmax(), probabilities.max())
"""


def seconds(command: list[str]) -> float:
    """Run a command and return its wall time in seconds."""
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    """Measure and print medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", type=Path)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    model = zoo.folder() / zoo.DEFAULT_CLASSIFIER / "model.onnx"
    console_script = str(Path(sys.executable).with_name("cnnkit"))
    commands = {
        "bare script": [sys.executable, "-c", BARE, str(model), str(arguments.image)],
        "cnnkit predict": [console_script, "predict", str(arguments.image)],
        "cnnkit --help": [console_script, "--help"],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(arguments.rounds + 1):
        for name, command in commands.items():
            taken = seconds(command)
            if turn:  # the first round warms the file cache
                times[name].append(taken)
    for name, taken_all in times.items():
        print(f"{name:16} median {statistics.median(taken_all) * 1e3:7.1f} ms   min {min(taken_all) * 1e3:7.1f} ms")
    ratios = [a / b for a, b in zip(times["cnnkit predict"], times["bare script"], strict=True)]
    print(f"predict / bare   median {statistics.median(ratios):.2f} ×   ({arguments.rounds} rounds)")
    print(f"Python {platform.python_version()}, onnxruntime {onnxruntime.__version__}")


if __name__ == "__main__":
    main()

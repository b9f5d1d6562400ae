"""Measure how long `cnnkit train` takes before its first step, on an image folder that is cached already.

    python scripts/bench_start.py [--files 50000] [--rounds 7] [--against TREE]

The folder is made in a temporary place, with a cache folder of its own. `--against` names another checkout of cnnkit:
the two take turns, and the ratio of their medians is printed, with the bar that it must not exceed.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

BAR = 1.1
"""Most that a start may take of the other checkout's time."""

# Both checkouts have these names. The first epoch is not waited for.
PROGRAM = """
import sys, tempfile, time
began = time.perf_counter()
from pathlib import Path
import cnnkit
from cnnkit.training.results import TrainingStarted
from cnnkit.training.loop import train_events
recipe = cnnkit.default_recipe("softmax-regression", data=sys.argv[1], epochs=1)
with tempfile.TemporaryDirectory() as runs:
    for event in train_events(recipe, runs_dir=Path(runs), device="cpu"):
        if isinstance(event, TrainingStarted):
            print(time.perf_counter() - began)
            break
"""


def make_folder(folder: Path, files: int) -> None:
    """Write so many small images of ten classes, each of another content."""
    rng = np.random.default_rng(0)
    for label in range(10):
        (folder / f"class-{label}").mkdir(parents=True)
    for index in range(files):
        pixels = rng.integers(0, 256, (8, 8), np.uint8)
        Image.fromarray(pixels).save(folder / f"class-{index % 10}" / f"{index:06}.png", compress_level=1)


def start(tree: Path, folder: Path, cache: Path) -> float:
    """Return the seconds that a checkout takes from the start of its imports to its first step."""
    variables = {"PYTHONPATH": str(tree), "XDG_CACHE_HOME": str(cache), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder)],
        env={**os.environ, **variables},
        cwd=folder.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)


def main() -> None:
    """Measure, and compare with the bar."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--against", type=Path)
    arguments = parser.parse_args()
    trees = [Path(__file__).parent.parent, *([arguments.against] if arguments.against else [])]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "images"
        make_folder(folder, arguments.files)
        caches = [Path(scratch) / f"cache-{number}" for number in range(len(trees))]
        times: list[list[float]] = [[] for _ in trees]
        for turn in range(arguments.rounds + 1):
            for tree, cache, found in zip(trees, caches, times, strict=True):
                seconds = start(tree.resolve(), folder, cache)
                found.extend([seconds] if turn else [])  # the first turn fills the cache
    for tree, found in zip(("this checkout", "the other one"), times, strict=False):
        least, middle, most = min(found), statistics.median(found), max(found)
        print(f"{tree}: {middle:.2f} s ({least:.2f}–{most:.2f}) for {arguments.files:,} files")
    if len(times) == 2:
        ratio = statistics.median(times[0]) / statistics.median(times[1])
        print(f"ratio of the medians: {ratio:.2f}, must be at most {BAR}")
        sys.exit(ratio > BAR)


if __name__ == "__main__":
    main()

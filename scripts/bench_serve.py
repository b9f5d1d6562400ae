"""The figures of `cnnkit serve`: speed against LitServe and a bare ASGI function, latency, overload, cold start.

    python scripts/bench_serve.py [--parts contest,latency,overload,coldstart] [--rounds 5] [--seconds 10]
        [--overload-seconds 60] [--heavy alexnet.onnx] [--output docs/serve-figures]

All servers run on this machine, in processes of their own, with the zoo's lenet file and the same PNG of a digit.

    contest    wrk, 32 connections, the three in turn, each round in new processes; LitServe at its best of the settings
               in `serving/contest.py`. Medians of rates, and of the ratios of each round
    latency    half of the server's peak rate, constant, on it and on the bare function; latency from when one was due
    overload   ten times the connections on lenet, half of them with a pause of a second after a refusal; ten times the
               peak rate on AlexNet; each request is accounted for
    coldstart  process start to ready, median of 9

Exit code 1: a figure is not what it must be. The table goes to --output as .md, all numbers as .json.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from serving.coldstart import cold_start
from serving.contest import contest, half_load
from serving.figures import Part, headline, report
from serving.pressure import overload

PACKAGES = ("onnxruntime-gpu", "onnxruntime", "uvicorn", "uvloop", "httptools", "litserve", "numpy", "pillow")
PARTS = ("contest", "latency", "overload", "coldstart")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--overload-seconds", type=float, default=60)
    parser.add_argument("--starts", type=int, default=9)
    parser.add_argument("--heavy", type=Path, help="AlexNet's file; without it, it is exported with random weights")
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    wanted = given.parts.split(",")
    if unknown := set(wanted) - set(PARTS):
        parser.error(f"unknown parts {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    found: list[Part] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "contest" in wanted:
            found.append(contest(folder, given.rounds, given.seconds))
        if "latency" in wanted:
            found.append(half_load(folder, given.rounds, given.seconds))
        if "overload" in wanted:
            found.append(overload(folder, given.overload_seconds, heavy=given.heavy))
        if "coldstart" in wanted:
            found.append(cold_start(folder, given.starts))
    sys.exit(report(headline(PACKAGES), found, given.output))


if __name__ == "__main__":
    main()

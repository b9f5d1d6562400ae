"""What `cnnkit benchmark` measures, and how fast the exported files are.

    python scripts/bench_onnx.py [--seconds 5] [--rounds 11]

own figure  the mean that `cnnkit benchmark lenet` gives on one thread, at batch 1, 32 and 256, against the mean of bare
            loops of `session.run` before and after it in the same process; the ratio is the median over the rounds
alexnet     at 224×224 on the CPU, batch 1 and 32, against PyTorch eager and compiled, in one interleaved run
GPU         lenet and alexnet on the CUDA provider from batch 1 to 1024, against PyTorch eager and compiled; skipped,
            with the reason, where there is none

Exit code 1: the own figure is off by more than 5%, or PyTorch is faster on AlexNet.
"""

import argparse
import platform
import sys
import time
from statistics import median

import numpy as np
import onnxruntime

import cnnkit
from cnnkit import zoo
from cnnkit.errors import DeviceError
from cnnkit.render import benchmarks
from cnnkit.runtime.candidates import cores

OWN_BATCHES, OWN_BAR = (1, 32, 256), 0.05
ALEXNET_BATCHES = (1, 32)
GPU_BATCHES = (1, 4, 16, 64, 256, 1024)


def bare_ms(session: onnxruntime.InferenceSession, batch: int, seconds: float) -> float:
    """Return the mean time of a run in milliseconds, in a loop of nothing but runs."""
    feed = {"image": np.random.default_rng(0).integers(0, 256, (batch, 28, 28, 1), np.uint8)}
    count, started, end = 0, time.perf_counter(), 0.0
    while (end := time.perf_counter()) - started < seconds:
        for _ in range(10):
            session.run(None, feed)
        count += 10
    return (end - started) / count * 1e3


def own_figure(rounds: int, seconds: float) -> bool:
    """Print the benchmark's mean against that of a bare loop; return whether all are within the bar."""
    model = zoo.read("lenet", "model.onnx")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    print("\nThe benchmark's own mean against a bare loop of session.run, lenet on the CPU provider, 1 thread")
    good = True
    for batch in OWN_BATCHES:
        bare_ms(session, batch, seconds)  # warms up
        bare, own = [], []
        for _ in range(rounds):
            before = bare_ms(session, batch, seconds / 2)
            found = cnnkit.benchmark("lenet", devices=["cpu"], batches=[batch], threads=[1], seconds=seconds)
            own.append(found.measurements[0].latency_mean_ms)
            bare.append((before + bare_ms(session, batch, seconds / 2)) / 2)
        ratios = sorted(a / b for a, b in zip(own, bare, strict=True))
        ratio = median(ratios)
        reached = abs(ratio - 1) <= OWN_BAR
        good &= reached
        print(
            f"  batch {batch:4}: {median(own):8.4f} ms, bare {median(bare):8.4f} ms, ratio {ratio:.3f} "
            f"({ratios[0]:.2f} to {ratios[-1]:.2f} over {rounds} rounds): {'reached' if reached else 'NOT REACHED'}"
        )
    return good


def alexnet(seconds: float) -> bool:
    """Print AlexNet on the CPU against PyTorch; return whether PyTorch is nowhere faster."""
    print("\nAlexNet at 224×224 on the CPU provider against PyTorch eager and compiled\n")
    found = cnnkit.benchmark("alexnet", devices=["cpu"], batches=ALEXNET_BATCHES, torch=True, seconds=seconds)
    benchmarks.tables(found)
    engines = {(row.engine, row.batch) for row in found.measurements}
    complete = len(engines) == 3 * len(ALEXNET_BATCHES)
    good = complete and not any(row.verdict == "faster" for row in found.measurements)
    print(f"\nat least as fast as PyTorch: {'reached' if good else 'NOT REACHED'}")
    return good


def gpu(seconds: float) -> None:
    """Print both networks on the CUDA provider against PyTorch, or why not."""
    print("\nlenet and alexnet on the CUDA provider against PyTorch eager and compiled\n")
    try:
        found = [
            cnnkit.benchmark(name, devices=["cuda"], batches=GPU_BATCHES, torch=True, seconds=seconds)
            for name in ("lenet", "alexnet")
        ]
    except DeviceError as error:
        print(f"skipped: {error}")
        return
    for one in found:
        benchmarks.tables(one)


def main() -> None:
    """Measure, print, and say by the exit code whether the required figures are reached."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=11)
    arguments = parser.parse_args()
    print(
        f"cnnkit {cnnkit.__version__}, onnxruntime {onnxruntime.__version__}, Python {platform.python_version()}, "
        f"{platform.system()} {platform.machine()}, {cores()} cores"
    )
    good = own_figure(arguments.rounds, arguments.seconds / 5)
    good &= alexnet(arguments.seconds)
    gpu(arguments.seconds)
    sys.exit(not good)


if __name__ == "__main__":
    main()

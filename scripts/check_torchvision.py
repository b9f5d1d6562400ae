"""`summary` of every classification network of torchvision, against what torchvision says of it, and beside torchinfo.

    python scripts/check_torchvision.py [NAME ...] [--json FILE]

Each network is taken at the image size of its default weights. Parameters must be those of the weights' `num_params`,
multiply-adds within 1% of their `_ops` (thousand millions, three decimals) or within its rounding. Exit code 3 where
one differs.

The reference of inception_v3 has its auxiliary head, which plays no part at inference and which cnnkit builds without;
its parameters are compared with the head, all else without. That of googlenet has none.

All networks go through cnnkit alone first, for the time and the peak memory of the whole process. Then both take each
network in turn, torchinfo on the meta device as well; where a builder cannot work there, as RegNet's, it builds for
torchinfo with weights. PyTorch keeps to the threads that OMP_NUM_THREADS says.
"""

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import psutil  # type: ignore[import-untyped]
import torch
import torchinfo
import torchvision
from torch import nn

from cnnkit.inspection import building, summary
from cnnkit.sources import create_model, find

T = TypeVar("T")


def main() -> int:
    """Check, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    arguments = parser.parse_args()
    names = arguments.names or torchvision.models.list_models(module=torchvision.models)
    started, started_cpu = time.perf_counter(), time.process_time()
    for name in names:
        summary.summarize_network(f"torchvision/{name}")
    alone, alone_cpu = time.perf_counter() - started, time.process_time() - started_cpu
    peak_mb = _peak_mb()
    rows = [_row(name, turn) for turn, name in enumerate(names)]
    print(f"{'network':20} {'pixels':>6} {'parameters':>12} {'GMAC':>9} {'reference':>9} {'torchinfo':>9}  result")
    for row in rows:
        print(
            f"{row['name']:20} {row['side']:6} {row['parameters']:12,} {row['gmac']:9.3f} {row['reference_gmac']:9.3f} "
            f"{row['torchinfo_gmac']:9.3f}  {'' if row['passed'] else 'DIFFERS'}"
        )
    passed = sum(row["passed"] for row in rows)
    by_torchinfo = sum(_close(row["torchinfo_gmac"], row["reference_gmac"]) for row in rows)
    sums = {key: sum(row[key] for row in rows) for key in ("build_s", "summary_s", "torchinfo_build_s", "torchinfo_s")}
    print(
        f"parameters and multiply-adds as the reference: {passed} of {len(rows)}; torchinfo's multiply-adds: ", end=""
    )
    print(f"{by_torchinfo} of {len(rows)}")
    print(f"all in one process: {alone:.1f} s ({alone_cpu:.1f} s of processor time), peak memory {peak_mb:,.0f} MB")
    for engine, build, run in (("cnnkit", "build_s", "summary_s"), ("torchinfo", "torchinfo_build_s", "torchinfo_s")):
        whole = sums[build] + sums[run]
        print(f"in turn, processor time: {engine:9} {whole:5.1f} s, {sums[build]:.1f} s of them to build the networks")
    versions = {module.__name__: module.__version__ for module in (torch, torchvision, torchinfo)}
    print(f"{', '.join(f'{k} {v}' for k, v in versions.items())}, Python {platform.python_version()}, ", end="")
    print(f"{torch.get_num_threads()} threads")
    if arguments.json:
        found = {"networks": rows, "alone_s": alone, "alone_cpu_s": alone_cpu, "peak_mb": peak_mb, "sums": sums}
        found["versions"] = versions
        arguments.json.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    return 0 if passed == len(rows) else 3


def _row(name: str, turn: int) -> dict[str, Any]:
    weights = torchvision.models.get_model_weights(name).DEFAULT
    side = weights.transforms.keywords["crop_size"]
    ref = f"torchvision/{name}"
    meta = weights.meta

    def ours() -> tuple[Any, float, float]:
        (network, own), build_s = _timed(lambda: building.build(find(ref)))
        found, summary_s = _timed(lambda: summary.summarize_module(network, own or (3, side, side), name=ref))
        return found, build_s, summary_s

    def theirs() -> tuple[Any, float, float]:
        network, build_s = _timed(lambda: _on_meta(ref))
        found, summary_s = _timed(
            lambda: torchinfo.summary(network, (1, 3, side, side), depth=100, verbose=0, device="meta")
        )
        return found, build_s, summary_s

    # Neither is always the first to find memory and caches cold.
    if turn % 2:
        other = theirs()
        found, build_s, summary_s = ours()
    else:
        found, build_s, summary_s = ours()
        other = theirs()
    parameters = found.parameters
    if name == "inception_v3":
        whole = building.without_weights(lambda: torchvision.models.inception_v3(aux_logits=True, init_weights=False))
        parameters = sum(p.numel() for p in whole.parameters())
    gmac = found.multiply_adds / 1e9
    return {
        "name": name,
        "side": side,
        "weights": weights.name,
        "parameters": parameters,
        "reference_parameters": meta["num_params"],
        "gmac": gmac,
        "reference_gmac": meta["_ops"],
        "passed": parameters == meta["num_params"] and _close(gmac, meta["_ops"]),
        "torchinfo_gmac": other[0].total_mult_adds / 1e9,
        "build_s": build_s,
        "summary_s": summary_s,
        "torchinfo_build_s": other[1],
        "torchinfo_s": other[2],
    }


def _on_meta(ref: str) -> nn.Module:
    try:
        with torch.device("meta"):
            return create_model(ref)
    except (NotImplementedError, RuntimeError):
        return create_model(ref).to("meta")


def _close(gmac: float, reference: float) -> bool:
    """Within 1%, or what rounding to three decimals may hide."""
    return abs(gmac - reference) <= max(0.01 * reference, 0.0005)


def _timed(call: Callable[[], T]) -> tuple[T, float]:
    """Return a result, and the processor time that it took, which other programs on the machine do not lengthen."""
    started = time.process_time()
    result = call()
    return result, time.process_time() - started


def _peak_mb() -> float:
    if sys.platform == "win32":
        return float(psutil.Process().memory_info().peak_wset / 1e6)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


if __name__ == "__main__":
    sys.exit(main())

"""`cnnkit.benchmark`: latency and throughput of networks, measured against each other."""

from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

from cnnkit import registry, zoo
from cnnkit.arguments import Shape, TrustCode
from cnnkit.errors import UsageError
from cnnkit.operation import operation
from cnnkit.options import COUNTS, Option, as_count
from cnnkit.results import Benchmark, BenchmarkStep
from cnnkit.runtime import contenders
from cnnkit.runtime.benchmark import benchmark_steps, choose_batches
from cnnkit.runtime.timing import check_seconds

if TYPE_CHECKING:
    from cnnkit.runtime.guard import Checked


@operation
def benchmark(
    *refs: str | Path,
    devices: Annotated[
        Sequence[str],
        Option(
            "Devices to run on: auto, cpu, cuda, cuda:N, tensorrt, or several: cpu,cuda.",
            flag="--device",
            several=True,
            suggest="devices",
        ),
    ] = ("auto",),
    batches: Annotated[
        Sequence[int] | None,
        Option(
            "Batch sizes. Default: 1,8,32,256, or the one that a file fixes.",
            flag="--batch",
            metavar="N,N…",
            several=True,
            parse=as_count,
            expects=COUNTS,
        ),
    ] = None,
    threads: Annotated[
        Sequence[int] | None,
        Option(
            "Threads inside an operator, on the CPU. Default: one a core.",
            metavar="N,N…",
            several=True,
            parse=as_count,
            expects=COUNTS,
        ),
    ] = None,
    torch: Annotated[bool, Option("Measure PyTorch as well, eager and compiled.")] = False,
    seconds: Annotated[float, Option("Seconds to spend on each contender at each batch size.")] = 1.0,
    shape: Shape = None,
    trust_code: TrustCode = False,
) -> Generator[BenchmarkStep, None, Benchmark]:
    """Measure latency and throughput on onnxruntime, all networks, devices and numbers of threads in turn.

    Everything that can be wrong with files, devices and numbers is found before the first measurement. PyTorch is
    imported only where it is measured, or makes the ONNX file.

    Args:
        refs: ONNX files and zoo entries, which need no PyTorch; anything else is exported first, as `export` does.
        devices: `auto`, `cpu`, `cuda`, `cuda:N` or `tensorrt`.
        batches: sizes; None for 1, 8, 32 and 256, or the one that a file fixes.
        threads: inside an operator, on the CPU; None for as many as there are cores.
        torch: measure the PyTorch networks as well, eager and compiled.
        seconds: to spend on each at each batch size, after its warm-up.
        shape: channels, height and width for an architecture that does not say its input.
        trust_code: import the network that a card names as `module:factory`.

    Raises:
        DeviceError: a device is unavailable.
        OnnxError: a file that onnxruntime cannot run.
        UsageError: numbers that make no sense.

    >>> import cnnkit
    >>> found = cnnkit.benchmark("lenet", devices=["cpu"], batches=[1, 8], threads=[1], seconds=0.1)
    >>> [(row.engine, row.device, row.batch) for row in found.measurements]
    [('onnxruntime', 'CPU', 1), ('onnxruntime', 'CPU', 8)]
    """
    names = list(dict.fromkeys(map(str, refs)))
    if not names or not devices:
        raise UsageError("say what to measure, and on which device.")
    counts = list(dict.fromkeys(threads or [contenders.cores()]))
    contenders.check_threads(counts)
    check_seconds(seconds)
    targets, notes = [], []
    for name in names:
        model, checked, made = _onnx_of(name, shape, trust_code=trust_code)
        targets.append(contenders.examine(name, model, devices, checked))
        notes += [*made, *targets[-1].assumptions]
    sizes = choose_batches(batches, targets)
    racing = [one for target in targets for one in contenders.onnx_contenders(target, counts)]
    versions: dict[str, str] = {}
    restored: AbstractContextManager[None] = nullcontext()
    if torch:
        from cnnkit.inspection import torch_contenders as pytorch

        racing += [one for target in targets for one in pytorch.torch_contenders(target, counts, trust_code=trust_code)]
        versions, restored = pytorch.versions(), pytorch.threads_kept()
    with restored:
        result = yield from benchmark_steps(
            targets, racing, batches=sizes, seconds=seconds, versions=versions, notes=notes
        )
    return result


def _onnx_of(
    ref: str, shape: tuple[int, int, int] | None, *, trust_code: bool
) -> "tuple[Path | bytes, Checked | None, tuple[str, ...]]":
    """Return the ONNX file of a reference, made now where there is none, what is known of it, and what was done."""
    reference = registry.resolve(ref)
    in_zoo = reference.kind == "zoo" or (reference.kind == "architecture" and zoo.has(ref))
    if shape is not None and in_zoo:
        raise UsageError(f"the input of {ref} is fixed; leave out --input.")
    if in_zoo:
        return zoo.read(ref, "model.onnx"), None, ()
    if reference.kind == "onnx" and reference.path is not None:
        from cnnkit.runtime import guard  # takes the onnx library

        checked, _ = guard.check_with_card(reference.path, ref, shape=shape)
        return checked.source, checked, ()
    from cnnkit.exporting.export import export

    with TemporaryDirectory() as folder:
        result = export(ref, Path(folder) / "model.onnx", shape=shape, trust_code=trust_code)
        weights = "" if result.trained else ", with random weights,"
        return result.path.read_bytes(), None, (f"{ref}{weights} was exported for this benchmark",)

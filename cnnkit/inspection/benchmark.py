"""`cnnkit.benchmark`: latency and throughput of networks, measured against each other."""

from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

from cnnkit.arguments import Shape, TrustCode
from cnnkit.errors import UsageError
from cnnkit.operation import operation
from cnnkit.options import COUNTS, Option, as_count
from cnnkit.runtime import candidates
from cnnkit.runtime.benchmark import benchmark_steps, choose_batches
from cnnkit.runtime.results import Benchmark, BenchmarkStep
from cnnkit.runtime.timing import check_seconds
from cnnkit.sources import Ref, Source, find

if TYPE_CHECKING:
    from cnnkit.runtime.guard import Checked


@operation
def benchmark(
    *refs: Ref,
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
    seconds: Annotated[float, Option("Seconds to spend on each candidate at each batch size.")] = 1.0,
    shape: Shape = None,
    trust_code: TrustCode = False,
) -> Generator[BenchmarkStep, None, Benchmark]:
    """Measure latency and throughput on onnxruntime, all networks, devices and numbers of threads in turn.

    Everything that can be wrong with files, devices and numbers is found before the first measurement. PyTorch is
    imported only where it is measured, or makes the ONNX file.

    Args:
        refs: ONNX files and zoo entries, which need no PyTorch; any other model reference or `nn.Module` is exported
            first, as `export` does.
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
        UsageError: numbers out of range.

    >>> import cnnkit
    >>> found = cnnkit.benchmark("lenet", devices=["cpu"], batches=[1, 8], threads=[1], seconds=0.1)
    >>> [(row.engine, row.device, row.batch) for row in found.measurements]
    [('onnxruntime', 'CPU', 1), ('onnxruntime', 'CPU', 8)]
    """
    wanted = [str(ref) if isinstance(ref, Path) else ref for ref in refs]
    given = [find(ref) for at, ref in enumerate(wanted) if ref not in wanted[:at]]
    names = [source.text for source in given]
    # Two modules of one class are two networks.
    names = [f"{name} {names[:at].count(name) + 1}" if name in names[:at] else name for at, name in enumerate(names)]
    sources = dict(zip(names, given, strict=True))
    if not sources or not devices:
        raise UsageError("say what to measure, and on which device.")
    counts = list(dict.fromkeys(threads or [candidates.cores()]))
    candidates.check_threads(counts)
    check_seconds(seconds)
    targets, notes = [], []
    for name, source in sources.items():
        model, checked, made = _onnx_of(source, shape, trust_code=trust_code)
        targets.append(candidates.examine(name, model, devices, checked))
        notes += [*made, *targets[-1].assumptions]
    sizes = choose_batches(batches, targets)
    racing = [one for target in targets for one in candidates.onnx_candidates(target, counts)]
    versions: dict[str, str] = {}
    restored: AbstractContextManager[None] = nullcontext()
    if torch:
        from cnnkit.inspection import torch_candidates as pytorch

        racing += [one for target in targets for one in pytorch.torch_candidates(target, counts, trust_code=trust_code)]
        versions, restored = pytorch.versions(), pytorch.threads_kept()
    with restored:
        result = yield from benchmark_steps(
            targets, racing, batches=sizes, seconds=seconds, versions=versions, notes=notes
        )
    return result


def _onnx_of(
    source: Source, shape: tuple[int, int, int] | None, *, trust_code: bool
) -> "tuple[Path | bytes, Checked | None, tuple[str, ...]]":
    """Return the ONNX file of a source, made now where there is none, what is known of it, and what was done."""
    file = source.exported()
    if file is not None and file.verified:
        if shape is not None:
            raise UsageError(f"the input of {source.text} is fixed; leave out --input.")
        return file.model, None, ()
    if file is not None:
        from cnnkit.runtime import guard  # takes the onnx library

        checked, _ = guard.check_with_card(file.model, source.text, shape=shape)
        return checked.source, checked, ()
    from cnnkit.exporting.export import export

    with TemporaryDirectory() as folder:
        result = export(source, Path(folder) / "model.onnx", shape=shape, trust_code=trust_code)
        weights = "" if result.trained else ", with random weights,"
        return result.path.read_bytes(), None, (f"{source.text}{weights} was exported for this benchmark",)

"""From model references to a benchmark. PyTorch is imported only where it is measured, or makes the ONNX file."""

from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from cnnkit import registry, zoo
from cnnkit.errors import UsageError
from cnnkit.results import Benchmark, BenchmarkStep
from cnnkit.runtime import benchmark, contenders
from cnnkit.runtime.timing import check_seconds

if TYPE_CHECKING:
    from cnnkit.runtime.guard import Checked


def benchmark_steps(
    refs: Sequence[str],
    *,
    devices: Sequence[str] = ("auto",),
    batches: Sequence[int] | None = None,
    threads: Sequence[int] | None = None,
    torch: bool = False,
    seconds: float = 1.0,
    shape: tuple[int, int, int] | None = None,
    trust_code: bool = False,
) -> Generator[BenchmarkStep, None, Benchmark]:
    """Measure networks against each other, see `cnnkit.benchmark`; yield what is measured now.

    Everything that can be wrong with files, devices and numbers is found before the first measurement.
    """
    names = list(dict.fromkeys(refs))
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
    sizes = benchmark.choose_batches(batches, targets)
    racing = [one for target in targets for one in contenders.onnx_contenders(target, counts)]
    versions: dict[str, str] = {}
    restored: AbstractContextManager[None] = nullcontext()
    if torch:
        from cnnkit.inspection import torch_contenders as pytorch

        racing += [one for target in targets for one in pytorch.torch_contenders(target, counts, trust_code=trust_code)]
        versions, restored = pytorch.versions(), pytorch.threads_kept()
    with restored:
        result = yield from benchmark.benchmark_steps(
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
    from cnnkit.exporting.onnx import export_onnx

    with TemporaryDirectory() as folder:
        result = export_onnx(ref, Path(folder) / "model.onnx", shape=shape, trust_code=trust_code)
        weights = "" if result.trained else ", with random weights,"
        return result.path.read_bytes(), None, (f"{ref}{weights} was exported for this benchmark",)

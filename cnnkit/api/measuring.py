"""Measuring networks: layers, accuracy, speed."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnkit import registry, zoo
from cnnkit.errors import UsageError
from cnnkit.operation import result_of

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from cnnkit.results import (
        Benchmark,
        BenchmarkStep,
        GraphSummary,
        ModelSummary,
        TuningResult,
    )


def summarize(
    ref: str | Path,
    *,
    batch: int = 1,
    shape: "tuple[int, ...] | Sequence[tuple[int, ...]] | None" = None,
    depth: int | None = None,
    fold: bool = False,
    trust_code: bool = False,
    compare: str | Path | None = None,
    profile: bool = False,
    device: str = "auto",
) -> "ModelSummary | GraphSummary":
    """Return the layers of a network, or the nodes of an ONNX file.

    `compare`, `profile` and `device` are for ONNX files; `depth`, `fold` and several shapes are for PyTorch networks;
    see `cnnkit.inspection.summary.summarize` and `cnnkit.inspection.graph.summarize_file`.

    >>> import cnnkit
    >>> [layer.output_shape for layer in cnnkit.summarize("lenet").layers if layer.kind == "MaxPool2d"]
    [(6, 14, 14), (16, 5, 5)]
    """
    text = str(ref)
    reference = registry.resolve(text)
    if device != "auto" and not profile:
        raise UsageError("--device says where --profile runs a file; nothing else of summary runs.")
    if reference.kind == "onnx" and reference.path is not None:
        if depth is not None:
            raise UsageError(f"{text} is an ONNX file, whose nodes have no levels; leave out --depth.")
        if fold:
            raise UsageError(f"{text} is an ONNX file, whose nodes are no blocks; leave out --fold.")
        from cnnkit.inspection import graph

        image = None if shape is None else _image_shape(shape)
        against = None if compare is None else str(compare)
        return graph.summarize_file(
            reference.path,
            text,
            batch=batch,
            shape=image,
            against=against,
            profile=profile,
            device=device,
            trust_code=trust_code,
        )
    if compare is not None or profile:
        raise UsageError(
            f"{text} is a PyTorch network; --compare and --profile are for ONNX files. Export it: cnnkit export {text} "
            "--onnx"
        )
    from cnnkit.inspection import summary

    return summary.summarize(text, batch=batch, shape=shape, depth=depth, fold=fold, trust_code=trust_code)


def _image_shape(given: "Sequence[Any]") -> tuple[int, int, int]:
    """Return the only shape that was given, as channels, height and width."""
    found = given[0] if len(given) == 1 else given
    if not isinstance(found, list | tuple) or [type(size) for size in found] != [int] * 3:
        raise UsageError("an ONNX file takes one --input of channels × height × width, as in 3x32x32.")
    channels, height, width = found
    return channels, height, width


def benchmark(
    *refs: str | Path,
    devices: "Sequence[str]" = ("auto",),
    batches: "Sequence[int] | None" = None,
    threads: "Sequence[int] | None" = None,
    torch: bool = False,
    seconds: float = 1.0,
    shape: tuple[int, int, int] | None = None,
    trust_code: bool = False,
) -> "Benchmark":
    """Measure latency and throughput on onnxruntime, all networks, devices and numbers of threads in turn.

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
    return result_of(
        benchmark_steps(
            refs,
            devices=devices,
            batches=batches,
            threads=threads,
            torch=torch,
            seconds=seconds,
            shape=shape,
            trust_code=trust_code,
        )
    )


def benchmark_steps(refs: "Sequence[str | Path]", **options: Any) -> "Generator[BenchmarkStep, None, Benchmark]":
    """Do what `benchmark` does, and yield what is measured now."""
    from cnnkit.inspection import benchmark

    return benchmark.benchmark_steps([str(ref) for ref in refs], **options)


def tune(ref: str | Path, *, device: str = "auto", batch: int = 32, seconds: float = 1.0) -> "TuningResult":
    """Try provider options on an exported file, and store the winner in its card; see `cnnkit.runtime.tuning.tune`.

    Later sessions on the same hardware use it. Where nothing beats the default options beyond the noise nothing is
    stored, and what the card held for this hardware is taken out.

    Args:
        ref: an ONNX file with a card.
        device: as in `load`, and `tensorrt` or `tensorrt:N`.
        batch: images in each run.
        seconds: spent on each set of options.

    Raises:
        UsageError: not an exported file, or one of the zoo.
        OnnxError: it has no card, or gives other logits on this device.
        DeviceError: the device is unavailable.
        OutputError: the file cannot be written; it is untouched.
    """

    from cnnkit.files import require_writable
    from cnnkit.runtime import guard, tuning
    from cnnkit.runtime.providers import ProviderOptions, as_stored

    reference = registry.resolve(str(ref))
    path = reference.path
    # The zoo's files are known by their hashes.
    of_zoo = path is not None and path.resolve().is_relative_to(zoo.folder().resolve())
    if reference.kind == "zoo" or of_zoo or (reference.kind == "architecture" and zoo.has(str(ref))):
        copied = "" if of_zoo else f" Tune a copy: cnnkit export {ref} --onnx"
        raise UsageError(f"{ref} belongs to the zoo, whose files stay as they are.{copied}")
    if reference.kind != "onnx" or path is None:
        raise UsageError(f"{ref} is not an ONNX file. Export it first: cnnkit export {ref} --onnx")
    require_writable(path.parent)
    checked, _ = guard.check_with_card(path, str(ref))
    result, card = tuning.tune(checked.source, str(ref), device=device, batch=batch, seconds=seconds)
    stored = {key: entry for key, entry in (card.tuning or {}).items() if key != result.hardware}
    removed = len(stored) < len(card.tuning or {})
    if result.winner is not None and result.speed_up is not None:
        options = ProviderOptions.from_stored(result.options)
        stored[result.hardware] = as_stored(options, batch=batch, speed_up=result.speed_up[0])
    elif not removed:
        return result
    from cnnkit.exporting.carding import replace_card

    replace_card(path, replace(card, tuning=stored or None))
    won = result.winner is not None
    return replace(result, stored_in=path if won else None, removed=removed and not won)

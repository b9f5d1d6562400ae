"""`cnnkit.summarize`: the layers of a network, or the nodes of an ONNX file."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

from cnnkit.arguments import Device, TrustCode
from cnnkit.errors import UsageError
from cnnkit.options import Option, parse_sides
from cnnkit.sources import Ref, find

if TYPE_CHECKING:
    from cnnkit.inspection.results import GraphSummary, ModelSummary


def summarize(
    ref: Ref,
    *,
    batch: Annotated[int, Option("Batch size that multiply-adds and memory are for.", ge=1)] = 1,
    shape: Annotated[
        tuple[int, ...] | Sequence[tuple[int, ...]] | None,
        Option(
            "Input shape, as in 3x32x32; once for each input. Default: the network's own.",
            flag="--input",
            metavar="CxHxW",
            repeated=True,
            parse=parse_sides,
        ),
    ] = None,
    depth: Annotated[int | None, Option("Levels of modules to list. Default: all.", ge=1)] = None,
    fold: Annotated[bool, Option("Show layers alike, one after another, as one.")] = False,
    trust_code: TrustCode = False,
    compare: Annotated[
        "Ref | None",
        Option("PyTorch network to show beside an ONNX file.", metavar="MODEL", suggest="model"),
    ] = None,
    profile: Annotated[bool, Option("Run an ONNX file, and show the time of each node.")] = False,
    device: Device = "auto",
) -> "ModelSummary | GraphSummary":
    """Return the layers of a network, or the nodes of an ONNX file.

    No weights are loaded. A network is built and run on the meta device, which has shapes and no memory; only one that
    goes by the values it sees is run for real, on zeros.

    Args:
        ref: a model reference, or an `nn.Module`.
        batch: images in the batch that the multiply-adds, the memory and the profile are for.
        shape: of the input, without the batch: channels, height and width, where the file leaves them open; one for
            each of several inputs of a PyTorch network. None for the network's own.
        depth: of a PyTorch network, how many levels of modules to list; None for all.
        fold: of a PyTorch network, tell layers alike, one after another, as one.
        trust_code: import the network that a checkpoint's card names as `module:factory`.
        compare: PyTorch network to set beside an ONNX file; of files only this imports PyTorch.
        profile: run an ONNX file, and measure the time of each node.
        device: to measure on: `auto`, `cpu`, `cuda` or `cuda:N`.

    Raises:
        UnknownNameError: no such network.
        CheckpointError: a file that is no checkpoint, or of another network than its card says.
        OnnxError: the file is refused (see `cnnkit.runtime.guard`), or does not run.
        UsageError: an option that does not go with the kind of network, or a shape that it does not take or lacks.
        ForwardError: a layer refuses what it gets; `result` has the rows up to it.
        DeviceError: the device is unavailable.

    >>> import cnnkit
    >>> [layer.output_shape for layer in cnnkit.summarize("lenet").layers if layer.kind == "MaxPool2d"]
    [(6, 14, 14), (16, 5, 5)]
    """
    source = find(ref)
    text = source.text
    if device != "auto" and not profile:
        raise UsageError("--device says where --profile runs a file; nothing else of summary runs.")
    if not source.has_layers:
        if depth is not None:
            raise UsageError(f"{text} is an ONNX file, whose nodes have no levels; leave out --depth.")
        if fold:
            raise UsageError(f"{text} is an ONNX file, whose nodes are no blocks; leave out --fold.")
        image = None if shape is None else _image_shape(shape)
        from cnnkit.inspection.graph import read_graph, require_memory
        from cnnkit.runtime.guard import check

        checked = check(source.require_exported().model, text, shape=image, run=profile, batch=batch)
        graph = read_graph(checked, text, batch=batch)
        found = graph.summary
        if compare is not None:
            from cnnkit.inspection import comparison

            found = replace(found, comparison=comparison.compare(graph, compare, trust_code=trust_code))
        if profile:
            from cnnkit.runtime import profiling

            require_memory(graph)
            found = replace(found, profile=profiling.profile(checked, text, graph.sizes, device=device))
        return found
    if compare is not None or profile:
        raise UsageError(
            f"{text} is a PyTorch network; --compare and --profile are for ONNX files. Export it: cnnkit export {text} "
            "--onnx"
        )
    from cnnkit.inspection import summary

    return summary.summarize_network(source, batch=batch, shape=shape, depth=depth, fold=fold, trust_code=trust_code)


def _image_shape(given: Sequence[Any]) -> tuple[int, int, int]:
    """Return the only shape that was given, as channels, height and width."""
    found = given[0] if len(given) == 1 else given
    if not isinstance(found, list | tuple) or [type(size) for size in found] != [int] * 3:
        raise UsageError("an ONNX file takes one --input of channels × height × width, as in 3x32x32.")
    channels, height, width = found
    return channels, height, width

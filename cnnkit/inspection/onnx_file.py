"""The nodes of an ONNX file, beside the PyTorch network that it was made of and the time that they take."""

from dataclasses import replace
from math import prod

import psutil  # type: ignore[import-untyped]

from cnnkit.errors import UsageError
from cnnkit.inspection.graph import Graph, read_graph
from cnnkit.results import GraphSummary
from cnnkit.runtime import guard
from cnnkit.sources import Exported, Ref


def _require_memory(graph: Graph) -> None:
    """Refuse to run a batch whose largest result, and what it was made from, would take all the memory that is free.

    Raises:
        UsageError: it would; the system would end the process without a word.
    """
    results = [*(row.output_shape for row in graph.summary.layers), *(size[1:] for size in graph.sizes.values())]
    needed = 2 * 4 * graph.summary.batch * max(map(prod, results))
    free = psutil.virtual_memory().available
    if needed > free / 2:
        raise UsageError(
            f"a batch of {graph.summary.batch:,} would take {needed / 1e9:.0f} GB or more; {free / 1e9:.0f} GB "
            "are free. Use a smaller --batch."
        )


def summarize_file(
    file: Exported,
    *,
    batch: int = 1,
    shape: tuple[int, int, int] | None = None,
    against: "Ref | None" = None,
    profile: bool = False,
    device: str = "auto",
    trust_code: bool = False,
) -> GraphSummary:
    """Summarise an ONNX file; the options and errors are those of `cnnkit.summarize`, `against` is its `compare`."""
    checked = guard.check(file.model, file.name, shape=shape, run=profile)
    graph = read_graph(checked, file.name, batch=batch)
    summary = graph.summary
    if against is not None:
        from cnnkit.inspection.comparison import compare

        summary = replace(summary, comparison=compare(graph, against, trust_code=trust_code))
    if profile:
        from cnnkit.runtime.profiling import profile as measure

        _require_memory(graph)
        summary = replace(summary, profile=measure(checked, file.name, graph.sizes, device=device))
    return summary

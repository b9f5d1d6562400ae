"""`cnnkit summary`."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from cnnkit.cli.common import Json, ModelArgument, emit, require_suffix
from cnnkit.cli.completion import offer_several
from cnnkit.cli.fields import OptionsOf
from cnnkit.errors import ForwardError, UsageError
from cnnkit.files import require_writable
from cnnkit.inspection.results import GraphSummary, ModelSummary
from cnnkit.inspection.summarize import summarize


def _complete_columns(incomplete: str) -> list[str]:
    from cnnkit.render.summaries import COLUMNS

    return offer_several("all", *COLUMNS)(incomplete)


def command(
    context: typer.Context,
    model: ModelArgument,
    *,
    summarized: Annotated[partial[ModelSummary | GraphSummary], OptionsOf(summarize)],
    columns: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,…",
            help="Columns to show: all, or of kernel, input, output, parameters, trainable, multiply-adds, memory, "
            "receptive-field.",
            autocompletion=_complete_columns,
        ),
    ] = None,
    tree: Annotated[bool, typer.Option("--tree", help="Draw the lines of the tree of modules.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print comma-separated values instead of tables.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print a Markdown table.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Draw parameters and multiply-adds by layer to this PNG.")] = None,
    json: Json = False,
) -> None:
    """Show the layers of a network, or the nodes of an ONNX file: shapes, parameters, multiply-adds.

    No weights are loaded, and nothing is computed where shapes are enough.
    """
    from cnnkit.render import console, graphs, layer_bars, plots, summaries
    from cnnkit.sources import find

    if sum((tree, csv, markdown, context.obj["json"])) > 1:
        raise UsageError("--tree, --csv, --markdown and --json are ways to show one result; give one of them.")
    of_file = not find(model).has_layers
    if of_file and tree:
        raise UsageError(f"{model} is an ONNX file, whose nodes are no tree; leave out --tree.")
    chosen = summaries.columns_of(columns, summaries.OF_FILES if of_file else summaries.COLUMNS)
    require_suffix(plot, ".png", "--plot")
    if plot is not None:
        require_writable(plot.parent)
        plots.require_matplotlib()

    def draw(result: ModelSummary | GraphSummary) -> None:
        if csv:
            summaries.write_csv(result, chosen)
        elif markdown:
            summaries.write_markdown(result, chosen)
        elif isinstance(result, GraphSummary):
            graphs.summary(result, chosen or summaries.DEFAULT)
        else:
            summaries.summary(result, chosen or summaries.DEFAULT, tree=tree)

    try:
        result = summarized(model)
    except ForwardError as error:
        reached = error.result
        if isinstance(reached, ModelSummary) and reached.layers and not context.obj["json"]:
            draw(reached)
        raise
    if plot is not None:
        layer_bars.draw(result, plot)
        console.undrawn([result.model, *(row.name for row in result.layers)])
        console.note(f"plot: {plot}")
    emit(context, result, draw)

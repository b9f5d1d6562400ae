"""`cnnkit summary`."""

from pathlib import Path
from typing import Annotated

import typer

from cnnkit.cli.common import Device, Json, ModelArgument, TrustCode, complete_model, emit, require_suffix
from cnnkit.errors import ForwardError, UsageError
from cnnkit.files import require_writable


def command(
    context: typer.Context,
    model: ModelArgument,
    *,
    batch: Annotated[int, typer.Option(help="Batch size that multiply-adds and memory are for.", min=1)] = 1,
    input: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CxHxW", help="Input shape, as in 3x32x32; once for each input. Default: the network's own."
        ),
    ] = None,
    depth: Annotated[int | None, typer.Option(help="Levels of modules to list. Default: all.", min=1)] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,…",
            help="Columns to show: all, or of kernel, input, output, parameters, trainable, multiply-adds, memory, "
            "receptive-field.",
        ),
    ] = None,
    fold: Annotated[bool, typer.Option("--fold", help="Show layers alike, one after another, as one.")] = False,
    tree: Annotated[bool, typer.Option("--tree", help="Draw the lines of the tree of modules.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print comma-separated values instead of tables.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print a Markdown table.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Draw parameters and multiply-adds by layer to this PNG.")] = None,
    compare: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL", help="PyTorch network to show beside an ONNX file.", autocompletion=complete_model
        ),
    ] = None,
    profile: Annotated[
        bool, typer.Option("--profile", help="Run an ONNX file, and show the time of each node.")
    ] = False,
    device: Device = "auto",
    trust_code: TrustCode = False,
    json: Json = False,
) -> None:
    """Show the layers of a network, or the nodes of an ONNX file: shapes, parameters, multiply-adds.

    No weights are loaded, and nothing is computed where shapes are enough.
    """
    from cnnkit.inspection.summarize import summarize
    from cnnkit.render import console, graphs, layer_bars, plots, summaries
    from cnnkit.results import GraphSummary, ModelSummary

    if sum((tree, csv, markdown, context.obj["json"])) > 1:
        raise UsageError("--tree, --csv, --markdown and --json are ways to show one result; give one of them.")
    of_file = model.lower().endswith(".onnx")
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
        result = summarize(
            model,
            batch=batch,
            shape=[parse_input(text) for text in input] if input else None,
            depth=depth,
            fold=fold,
            trust_code=trust_code,
            compare=compare,
            profile=profile,
            device=device,
        )
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


def parse_input(text: str) -> tuple[int, ...]:
    """Parse `3x32x32`, or as many dimensions as an input has."""
    parts = text.lower().replace("×", "x").split("x")
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise typer.BadParameter(f"{text!r} is not channels × height × width, as in 3x32x32")
    return tuple(map(int, parts))

"""`cnnkit attack`."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from cnnkit.cli.common import Json, ModelArgument, emit, require_suffix
from cnnkit.cli.fields import OptionsOf
from cnnkit.cli.signals import StopRequest, name_of
from cnnkit.errors import StoppedError, UsageError
from cnnkit.files import require_writable
from cnnkit.progress import Steps
from cnnkit.robustness.attack import attack
from cnnkit.robustness.results import Robustness


def command(
    context: typer.Context,
    model: ModelArgument,
    *,
    attacked: Annotated[partial[Steps[Robustness]], OptionsOf(attack.steps)],
    plot: Annotated[Path | None, typer.Option(help="Draw the curves to this PNG.")] = None,
    json: Json = False,
) -> None:
    """Measure how easily a network is fooled.

    Accuracy under eight corruptions in five severities each; upper bounds of the robust accuracy by radius, under FGSM
    and PGD, counted on whole pixels read back from PNG; the smallest corruption that flips each image; and an image of
    nothing for each class. Images are changed as the network sees them. ONNX files do all that needs no gradients.
    """
    from cnnkit.render import console, plots, progress, robustness

    output: Path | None = attacked.keywords.get("output")
    require_suffix(plot, ".png", "--plot")
    if plot is not None:
        require_writable(plot.parent)
    if plot is not None or output is not None:
        plots.require_matplotlib()
    if plot is not None and attacked.keywords.get("only") == ("fooling",):
        raise UsageError("--plot draws curves, and fooling has none; -o DIR writes its images.")
    with StopRequest() as stop:
        result = progress.follow(attacked(model, stop=stop.wanted), f"attacking {model}")
    if not context.obj["json"]:
        # Before the files, so that one that cannot be written takes nothing with it.
        robustness.show(result)
    if output is not None:
        sheets = robustness.write_sheets(result, output)
        console.undrawn(robustness.captions(result))
        if sheets:
            console.note(f"images: {output}; at a glance: {', '.join(path.name for path in sheets)}")
    if plot is not None and (result.corruptions or result.attacks or result.flips):
        robustness.plot(result, plot)
        console.note(f"plot: {plot}")
    if stop.signal:
        raise StoppedError(f"stopped by {name_of(stop.signal)}", signal=stop.signal, result=result)
    if context.obj["json"]:
        emit(context, result, robustness.show)
